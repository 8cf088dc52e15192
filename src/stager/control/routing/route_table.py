"""The route table as it should be served, and the one place from which it is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace

import structlog

from stager.control.routing.edge_proxy import EdgeProxies
from stager.domain.identity.access_policy import AccessPolicy
from stager.domain.route import Endpoint, RouteDiff, RouteTable, Target, needs_ingress_port
from stager.ports.router import Router

log = structlog.get_logger(__name__)

AskTerms = Callable[[], Awaitable[AccessPolicy | None]]
"""The terms on which a host is served now; None for the usual ones. Asked when no other change is under way,
so that what was withdrawn meanwhile doesn't come back."""
AskAllTerms = Callable[[], Awaitable[Mapping[str, AccessPolicy | None]]]


class Routes:
    """Holds the table that the router serves by. A change is remembered only once the router has it.

    Args:
        edge_proxies: what stands before the router, and hears of each change after it.
    """

    def __init__(self, router: Router, edge_proxies: EdgeProxies | None = None) -> None:
        self._router = router
        self._edge_proxies = edge_proxies
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
        await _to_the_end(self._apply(lambda _: table))

    async def again(self) -> None:
        """Send the whole table once more, to a router that may have missed something."""
        await _to_the_end(self._apply(lambda table: table))

    async def frame(self, domain: str, home: Endpoint) -> None:
        """Set the domain of the previews, and Stager's own endpoint."""
        await _to_the_end(self._apply(lambda table: self._tidied(replace(table, domain=domain, home=home))))

    async def tidy(self) -> None:
        """Give each host its door, take back those that nothing leads to any more, and have what stands
        before the router look again. No effect where nothing does."""
        if self._edge_proxies:
            await _to_the_end(self._apply(self._tidied))

    async def show(self, host: str, target: Target, terms: AskTerms | None = None) -> None:
        """Have `host` lead to `target` on these terms; no effect when it does.

        What stands before the router is waited for where people are told next, and not for long.
        """
        await _to_the_end(self._set(host, target, terms))
        if self._edge_proxies and (isinstance(target, Endpoint) or not needs_ingress_port(target)):
            await self._edge_proxies.caught_up(host)

    async def drop(self, host: str) -> None:
        """Forget `host`."""
        await _to_the_end(self._set(host, None))

    async def guard(self, terms: AskAllTerms) -> None:
        """Have these hosts served on these terms, as far as they are in the table; no effect when they are.
        When it returns, every new request is."""
        await _to_the_end(self._guard(terms))

    async def drain(self, endpoint: Endpoint, timeout: float) -> int:
        """See `ports.router.Router.drain`."""
        return await self._router.drain(endpoint, timeout)

    # What is under way is never cancelled half-way: the router would know what we don't.

    async def _apply(self, change: Callable[[RouteTable], RouteTable]) -> None:
        async with self._lock:
            table = change(self._table)
            closed = await self._router.apply(table)
            await self._remember(table, closed, anyway=True)

    async def _set(self, host: str, target: Target | None, ask: AskTerms | None = None) -> None:
        async with self._lock:
            before, terms = self._table, await ask() if ask else None
            if before.routes.get(host) == target and before.policies.get(host) == terms:
                return
            table = before.upsert(host, target, terms) if target else before.delete(host)
            table = self._edge_proxies.ports.give(table, host) if self._edge_proxies else table
            changes = RouteDiff(
                {host: target} if target else {},
                frozenset(() if target else {host}),
                frame=False,
                ports={p: h for p, h in table.ports.items() if p not in before.ports},
                policies={host: terms} if target and before.policies.get(host) != terms else {},
            )
            closed = await self._router.update(changes, table)
            await self._remember(table, closed)

    async def _guard(self, ask: AskAllTerms) -> None:
        async with self._lock:
            table = self._table.with_policies(await ask())
            changes = self._table.changes_to(table)
            if changes:
                await self._remember(table, await self._router.update(changes, table))

    async def _remember(self, table: RouteTable, closed: Mapping[int, str], *, anyway: bool = False) -> None:
        """The router has this table; give other doors to those whose port it can't have, then pass it on."""
        self._table = table
        while closed and self._edge_proxies:
            log.warning("ports_taken", ports=dict(closed))
            table = self._edge_proxies.ports.replaced(self._table, closed)
            closed = await self._router.update(self._table.changes_to(table), table)
            self._table = table
        if self._edge_proxies:
            self._edge_proxies.follow(self._table, anyway=anyway)

    def _tidied(self, table: RouteTable) -> RouteTable:
        if self._edge_proxies is None:
            return replace(table, ports={})
        return self._edge_proxies.ports.tidied(table, self._edge_proxies.leads_to)


async def _to_the_end(work: Coroutine[object, object, None]) -> None:
    """Do it all, even when whoever waits for it is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    # Without a listener, a failure isn't asyncio's to report: whoever comes next meets it too.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.shield(task)
