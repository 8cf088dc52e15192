"""The route table, and the only place that changes it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import replace
from typing import TypeVar

import structlog

from stager.control.routing.edge_proxy import EdgeProxySync
from stager.domain.identity.access_policy import AccessPolicy
from stager.domain.route import Endpoint, RouteTable, Target, needs_ingress_port
from stager.domain.traffic import Activity
from stager.ports.router import Router

log = structlog.get_logger(__name__)

T = TypeVar("T")
ReadPolicy = Callable[[], Awaitable[AccessPolicy | None]]
"""Reads the access policy of a host; None for the default one. Called while the table is locked, so that a
policy that is revoked meanwhile doesn't come back."""
ReadPolicies = Callable[[], Awaitable[Mapping[str, AccessPolicy | None]]]


class Routes:
    """The table that the router serves. A change counts only once the router has it.

    Args:
        edge_proxy: gets each change after the router; None without an edge proxy.
    """

    def __init__(self, router: Router, edge_proxy: EdgeProxySync | None = None) -> None:
        self._router = router
        self._edge_proxy = edge_proxy
        self._table = RouteTable()
        self._is_certain = True
        """Whether the router's table is known to be this one: a change whose reply was lost may have been
        applied."""
        self._lock = asyncio.Lock()

    @property
    def table(self) -> RouteTable:
        """The table that the router serves."""
        return self._table

    async def adopt(self) -> None:
        """Adopt the table of the router, which outlives the control plane. Raises `Retry` while it doesn't
        answer."""
        self._table = await self._router.current()

    async def apply(self, table: RouteTable) -> None:
        """Replace the whole table. Raises `Retry` while the router doesn't answer."""
        await _uninterrupted(self._apply(lambda _: table))

    async def resend(self) -> None:
        """Send the whole table again, to a router that may have missed a change."""
        await _uninterrupted(self._apply(lambda table: table))

    async def set_home(self, domain: str, home: Endpoint) -> None:
        """Set the domain of the previews and the endpoint of Stager's own pages."""
        await _uninterrupted(
            self._apply(lambda table: self._tidy_ports(replace(table, domain=domain, home=home)))
        )

    async def tidy(self) -> None:
        """Assign missing ingress ports, release unused ones, and update the edge proxy. No effect without an
        edge proxy."""
        if self._edge_proxy:
            await _uninterrupted(self._apply(self._tidy_ports))

    async def show(
        self, targets: Mapping[str, Target], policy: ReadPolicy | None = None, *, drop: Collection[str] = ()
    ) -> None:
        """Route these hosts to their targets, all with this access policy, and remove the routes of others,
        in one change; no effect if it is so already.

        Waits for the edge proxy, up to a limit, where the URL is reported to people next.
        """
        await _uninterrupted(self._set(targets, drop, policy))
        for host, target in targets.items():
            if self._edge_proxy and (isinstance(target, Endpoint) or not needs_ingress_port(target)):
                await self._edge_proxy.wait(host)

    async def park(
        self, targets: Mapping[str, Target], policy: ReadPolicy | None = None, idle: float = 0.0
    ) -> bool:
        """Route these hosts to their targets, all with this access policy or else with the one that they
        have, unless they are in use; see `ports.router.Router.park`.

        Args:
            targets: all hosts of an environment, each with a page.
            policy: see `show`.
            idle: seconds without a request after which a host isn't in use.

        Returns:
            Whether they are routed to the pages now; all or none.
        """
        return await _uninterrupted(self._park(targets, policy, idle))

    async def activity(self) -> Activity:
        """See `ports.router.Router.activity`."""
        return await self._router.activity()

    async def drop(self, host: str) -> None:
        """Remove the route of `host`."""
        await _uninterrupted(self._set({}, (host,)))

    async def set_policies(self, policies: ReadPolicies) -> None:
        """Set the access policies of these hosts, if they are in the table; no effect if they are set.
        When this returns, the policies apply to every new request."""
        await _uninterrupted(self._set_policies(policies))

    async def drain(self, endpoint: Endpoint, timeout: float) -> int:
        """See `ports.router.Router.drain`."""
        return await self._router.drain(endpoint, timeout)

    # A change is never cancelled half-way: the router's table would differ from ours.

    async def _apply(self, change: Callable[[RouteTable], RouteTable]) -> None:
        async with self._lock:
            table = change(self._table)
            closed = await self._router.apply(table)
            self._is_certain = True
            await self._applied(table, closed, force=True)

    async def _set(
        self, targets: Mapping[str, Target], drop: Collection[str], read: ReadPolicy | None = None
    ) -> None:
        async with self._lock:
            before, policy = await self._known(), await read() if read else None
            upserts = {
                host: target
                for host, target in targets.items()
                if before.routes.get(host) != target or before.policies.get(host) != policy
            }
            deletes = frozenset(before.routes.keys() & set(drop))
            if not upserts and not deletes:
                return
            table = before
            for host in deletes:
                table = table.delete(host)
            for host, target in upserts.items():
                table = table.upsert(host, target, policy)
                table = self._edge_proxy.ports.assign(table, host) if self._edge_proxy else table
            await self._applied(table, await self._sent(self._router.update(before, table)))

    async def _park(self, targets: Mapping[str, Target], read: ReadPolicy | None, idle: float) -> bool:
        async with self._lock:
            before = table = await self._known()
            policies = dict.fromkeys(targets, await read()) if read else before.policies
            for host, target in targets.items():
                table = table.upsert(host, target, policies.get(host))
            if table == before:
                return True
            is_parked = await self._sent(self._router.park(before, table, targets.keys(), idle))
            if is_parked:
                await self._applied(table, {})
            return is_parked

    async def _set_policies(self, read: ReadPolicies) -> None:
        async with self._lock:
            before = await self._known()
            table = before.with_policies(await read())
            if table != before:
                await self._applied(table, await self._sent(self._router.update(before, table)))

    async def _known(self) -> RouteTable:
        """The router's table, read from it if the result of the last change is unknown."""
        if not self._is_certain:
            self._table = await self._router.current()
            self._is_certain = True
        return self._table

    async def _sent(self, change: Awaitable[T]) -> T:
        """The result of a change of the router's table."""
        self._is_certain = False
        result = await change
        self._is_certain = True
        return result

    async def _applied(self, table: RouteTable, closed: Mapping[int, str], *, force: bool = False) -> None:
        """Store the table that the router has applied; reassign the ingress ports that it couldn't open."""
        self._table = table
        while closed and self._edge_proxy:
            log.warning("ports_taken", ports=dict(closed))
            table = self._edge_proxy.ports.reassign(self._table, closed)
            closed = await self._router.update(self._table, table)
            self._table = table
        if self._edge_proxy:
            self._edge_proxy.follow(self._table, force=force)

    def _tidy_ports(self, table: RouteTable) -> RouteTable:
        if self._edge_proxy is None:
            return replace(table, ports={})
        return self._edge_proxy.ports.tidy(table, self._edge_proxy.may_serve)


async def _uninterrupted(work: Coroutine[object, object, T]) -> T:
    """Run it to its end, even if the caller is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    # Retrieves the exception, which asyncio would log otherwise: the next caller gets the same failure.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(task)
