"""The route table as it should be served, and the one place from which it is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stager.domain.route import Changes, Endpoint, RouteTable, Target
from stager.ports.router import Router


class Publisher:
    """Holds the table that the router serves by. A change is remembered only once the router has it."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._table = RouteTable()
        self._lock = asyncio.Lock()

    @property
    def table(self) -> RouteTable:
        """The table that is being served."""
        return self._table

    async def adopt(self) -> None:
        """Take over what the router serves by; it outlives us. Raises `Retry` while it is away."""
        self._table = await self._router.current()

    async def apply(self, table: RouteTable) -> None:
        """Serve by this table, whole. Raises `Retry` while the router is away."""
        await asyncio.shield(self._apply(lambda _: table))

    async def again(self) -> None:
        """Send the whole table once more, to a router that may have missed something."""
        await asyncio.shield(self._apply(lambda table: table))

    async def frame(self, domain: str, home: Endpoint) -> None:
        """Set the domain of the previews, and Stager's own endpoint."""
        await asyncio.shield(self._apply(lambda table: RouteTable(table.routes, domain, home)))

    async def show(self, host: str, target: Target) -> None:
        """Have `host` lead to `target`; no effect when it does."""
        await asyncio.shield(self._set(host, target))

    async def drop(self, host: str) -> None:
        """Forget `host`."""
        await asyncio.shield(self._set(host, None))

    async def drain(self, endpoint: Endpoint, timeout: float) -> int:
        """See `ports.router.Router.drain`."""
        return await self._router.drain(endpoint, timeout)

    # What is under way is never cancelled half-way: the router would know what we don't.

    async def _apply(self, change: Callable[[RouteTable], RouteTable]) -> None:
        async with self._lock:
            table = change(self._table)
            await self._router.apply(table)
            self._table = table

    async def _set(self, host: str, target: Target | None) -> None:
        async with self._lock:
            if self._table.routes.get(host) == target:
                return
            table = self._table.upsert(host, target) if target else self._table.delete(host)
            changes = Changes(
                {host: target} if target else {}, frozenset(() if target else {host}), frame=False
            )
            await self._router.update(changes, table)
            self._table = table
