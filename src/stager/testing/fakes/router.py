"""A fake data plane: a route table, and requests that a test sends through it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from stager.domain.errors import Retry
from stager.domain.route import Endpoint, Health, RouteTable, Target, normalise_host
from stager.testing.fakes.feed import Feed

Key = TypeVar("Key", str, int)
Value = TypeVar("Value")


@dataclass(eq=False, slots=True)
class Visit:
    """An open request.

    Args:
        target: its target; None for an unknown host.
        cut: set when a drain closed it.
    """

    target: Target | None
    cut: asyncio.Event = field(default_factory=asyncio.Event)


class FakeRouter:
    """See `stager.ports.router.Router`.

    Attributes:
        table: the current table.
        refusing: endpoints that refuse connections.
        delay: seconds per change of the table.
        taken: ports that other programs use.
        state: the result of `health`.
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
        self._requests = Feed()
        self._away = False

    # Called by tests.

    def leave(self) -> None:
        """Make every call fail until `come_back`. Requests are still served."""
        self._away = True
        self._feed.interrupt()

    def come_back(self) -> None:
        """Answer again, with the same table."""
        self._away = False
        self._feed.resume()

    def change(self, state: Health) -> None:
        """Set the state, and report the hosts whose responsiveness changed."""
        before, self.state = self.state, state
        for host in before.unresponsive ^ state.unresponsive:
            self._feed.tell(host)

    def request_certificate(self, host: str) -> None:
        """A client waits for the certificate of this host."""
        self._requests.tell(host)

    @asynccontextmanager
    async def visit(self, host: str) -> AsyncIterator[Visit]:
        """A request to this host, open during the block."""
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

    # The port.

    async def current(self) -> RouteTable:
        await self._turn()
        return self.table

    async def apply(self, table: RouteTable) -> Mapping[int, str]:
        await self._turn()
        self.table = table
        return self._closed()

    async def update(self, before: RouteTable, after: RouteTable) -> Mapping[int, str]:
        """See `Router.update`. Only the difference is applied, so that tests notice a wrong `before`."""
        await self._turn()
        now = self.table
        frame = now if (before.domain, before.home) == (after.domain, after.home) else after
        self.table = RouteTable(
            _updated(now.routes, before.routes, after.routes),
            frame.domain,
            frame.home,
            _updated(now.ports, before.ports, after.ports),
            _updated(now.policies, before.policies, after.policies),
        )
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

    async def certificate_requests(self) -> AsyncIterator[str]:
        async for host in self._requests.follow():
            if host:
                yield host

    def _closed(self) -> dict[int, str]:
        return {port: "Another program has it." for port in self.table.ports if port in self.taken}

    def _open(self, endpoint: Endpoint) -> list[Visit]:
        return [visit for visit in self._visits if visit.target == endpoint]

    async def _turn(self) -> None:
        await asyncio.sleep(self.delay)
        if self._away:
            raise Retry("The data plane doesn't answer.", reason="front-away")


def _updated(
    now: Mapping[Key, Value], before: Mapping[Key, Value], after: Mapping[Key, Value]
) -> dict[Key, Value]:
    """The mapping with the entries that differ between `before` and `after`."""
    kept = {key: value for key, value in now.items() if key in after or key not in before}
    return kept | {key: value for key, value in after.items() if before.get(key) != value}
