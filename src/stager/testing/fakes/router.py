"""A data plane without a network: a table, and visitors that a test sends through it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from stager.domain.errors import Retry
from stager.domain.route import Endpoint, Health, RouteDiff, RouteTable, Target, normalise_host
from stager.testing.fakes.feed import Feed


@dataclass(eq=False, slots=True)
class Visit:
    """One request under way.

    Args:
        target: where it was led; None for a host that isn't in the table.
        cut: set when it was cut short by a drain.
    """

    target: Target | None
    cut: asyncio.Event = field(default_factory=asyncio.Event)


class FakeRouter:
    """See `stager.ports.router.Router`.

    Attributes:
        table: what is served now.
        refusing: endpoints that refuse connections.
        delay: seconds that each change of the table takes.
        taken: ports that other programs have.
        state: what `health` says.
    """

    def __init__(self) -> None:
        self.table = RouteTable()
        self.refusing: set[Endpoint] = set()
        self.delay = 0.0
        self.taken: set[int] = set()
        self.state = Health()
        self._visits: set[Visit] = set()
        self._left = asyncio.Condition()
        self._feed = Feed()
        self._away = False

    # What happens to it.

    def leave(self) -> None:
        """Be away: every call fails until `come_back`. Visitors are served all the same."""
        self._away = True
        self._feed.interrupt()

    def come_back(self) -> None:
        """Be there again, with the table that it had."""
        self._away = False
        self._feed.resume()

    def change(self, state: Health) -> None:
        """Be in this state from now on, and tell of the hosts with which something else is the matter."""
        before, self.state = self.state, state
        for host in before.unresponsive ^ state.unresponsive:
            self._feed.tell(host)

    @asynccontextmanager
    async def visit(self, host: str) -> AsyncIterator[Visit]:
        """A request to this host, open for as long as the block lasts."""
        visit = Visit(self.table.routes.get(normalise_host(host)))
        if visit.target in self.refusing:
            self._feed.tell(normalise_host(host))
        self._visits.add(visit)
        try:
            yield visit
        finally:
            self._visits.discard(visit)
            async with self._left:
                self._left.notify_all()

    # What it is asked.

    async def current(self) -> RouteTable:
        await self._turn()
        return self.table

    async def apply(self, table: RouteTable) -> Mapping[int, str]:
        await self._turn()
        self.table = table
        return self._closed()

    async def update(self, diff: RouteDiff, table: RouteTable) -> Mapping[int, str]:
        """See `Router.update`. Only what `diff` says is changed, so that a wrong one shows."""
        await self._turn()
        kept = {h: t for h, t in self.table.routes.items() if h not in diff.deletes}
        frame = table if diff.frame else self.table
        ports = {port: host for port, host in {**self.table.ports, **diff.ports}.items() if host}
        routes = {**kept, **diff.upserts}
        policies = {h: p for h, p in {**self.table.policies, **diff.policies}.items() if p and h in routes}
        self.table = RouteTable(routes, frame.domain, frame.home, ports, policies)
        return self._closed()

    async def drain(self, endpoint: Endpoint, timeout: float) -> int:
        await self._turn()
        try:
            async with asyncio.timeout(timeout), self._left:
                await self._left.wait_for(lambda: not self._open(endpoint))
        except TimeoutError:
            pass
        cut = self._open(endpoint)
        for visit in cut:
            visit.cut.set()
            self._visits.discard(visit)
        return len(cut)

    async def health(self) -> Health:
        await self._turn()
        return self.state

    def unreachable(self) -> AsyncIterator[str]:
        return self._feed.follow()

    def _closed(self) -> dict[int, str]:
        return {port: "Another program has it." for port in self.table.ports if port in self.taken}

    def _open(self, endpoint: Endpoint) -> list[Visit]:
        return [visit for visit in self._visits if visit.target == endpoint]

    async def _turn(self) -> None:
        await asyncio.sleep(self.delay)
        if self._away:
            raise Retry("The data plane doesn't answer.", reason="front-away")
