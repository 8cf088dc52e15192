"""Events of the front: instances that it can't reach, previews that stopped answering, its restarts."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from stager.control.environments.change_feed import ChangeFeed
from stager.control.loops import Troubles
from stager.control.ports import Ports
from stager.control.reconciler.liveness import Liveness
from stager.control.routing.route_table import Routes
from stager.domain.errors import StagerError

log = structlog.get_logger(__name__)


class FrontEvents:
    """Follows the front's events and reads its health.

    Args:
        wake: wakes the worker of an environment.
    """

    def __init__(
        self,
        ports: Ports,
        routes: Routes,
        change_feed: ChangeFeed,
        troubles: Troubles,
        wake: Callable[[str], None],
    ) -> None:
        self._store, self._router = ports.store, ports.router
        self._routes = routes
        self._change_feed = change_feed
        self._troubles = troubles
        self._wake = wake
        self._liveness = Liveness(ports.store)

    async def follow(self) -> None:
        """React to events until the stream ends."""
        async for host in self._router.unreachable():
            try:
                await self._react(host)
            except StagerError as error:
                log.warning("event_failed", source="front", reason=error.reason, error=error.message)

    async def _react(self, host: str) -> None:
        """React to the host of an instance that can't be reached; empty after a restart of the front."""
        if not host:
            await self._routes.resend()
            await self.read_health()
            return
        await self.read_health()
        found = await self._store.read(lambda tx: tx.environment_by_host(host))
        if found is not None:
            self._wake(found.id)

    async def read_health(self) -> None:
        """Report how the front is, and store which previews stopped answering."""
        health = await self._router.health()
        self._troubles.report("routes", health.trouble)
        for environment_id in await self._liveness.compare(health.unresponsive):
            self._change_feed.changed(environment_id)
