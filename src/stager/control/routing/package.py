"""The parts that route requests to previews, composed."""

from __future__ import annotations

from collections.abc import Sequence

from stager.control.diagnostics import Readiness
from stager.control.loops import Loop
from stager.control.ports import Ports
from stager.control.routing.certificates import INTERVAL, CertificateManager
from stager.control.routing.edge_proxy import EdgeProxySync
from stager.control.routing.ingress_ports import IngressPortPool
from stager.control.routing.route_table import Routes
from stager.control.routing.urls import Urls
from stager.control.routing.visitor_access import VisitorAccess
from stager.domain.application import Applications
from stager.domain.route import Endpoint


class Routing:
    """The route table, visitor access and the edge proxy.

    Args:
        key: signs visitor cookies and share links; the front has the same key.
        ingress_ports: the loopback ports that an edge proxy may be given.
    """

    def __init__(
        self,
        ports: Ports,
        urls: Urls,
        applications: Applications,
        *,
        key: bytes,
        ingress_ports: Sequence[int] = (),
    ) -> None:
        self.urls = urls
        proxy = ports.edge_proxy
        self.edge_proxy = EdgeProxySync(proxy, IngressPortPool(ingress_ports)) if proxy else None
        self.routes = Routes(ports.router, self.edge_proxy)
        self._router = ports.router
        self.certificates = (
            CertificateManager(ports.certificates, self.routes, urls, ports.clock)
            if ports.certificates
            else None
        )
        self.visitor_access = VisitorAccess(
            store=ports.store,
            applications=applications,
            urls=urls,
            routes=self.routes,
            clock=ports.clock,
            key=key,
        )

    async def start(self, home: Endpoint) -> None:
        """Adopt the route table of a front that kept running; set its domain and Stager's own endpoint.

        Raises:
            Retry: the front doesn't answer.
        """
        await self.routes.adopt()
        await self.routes.set_home(self.urls.domain, home)
        await self.visitor_access.renew()

    def loops(self, readiness: Readiness) -> list[Loop]:
        """The synchronization of the edge proxy, if there is one, and the orders of certificates."""
        proxy, manager = self.edge_proxy, self.certificates
        loops = [Loop("edge proxy", lambda: proxy.run(readiness.report))] if proxy else []
        if manager is not None:
            loops.append(Loop("certificates", lambda: manager.check(readiness.report), INTERVAL))
            loops.append(Loop("certificate requests", lambda: manager.follow(self._router)))
        return loops

    async def close(self) -> None:
        """Cancel orders of certificates; they are continued after the next start."""
        if self.certificates:
            await self.certificates.close()

    async def learn_domain(self, authority: str) -> None:
        """Use the Host of an authenticated request as the installation's domain, if none is known yet.

        Args:
            authority: host and port, as in the request.
        """
        if await self.urls.learn(authority):
            home = self.routes.table.home
            if home is not None:
                await self.routes.set_home(self.urls.domain, home)
                await self.visitor_access.renew()
