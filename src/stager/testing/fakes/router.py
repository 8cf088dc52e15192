"""A fake data plane: a route table, and requests that a test sends through it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

from stager.domain.errors import Retry
from stager.domain.route import Endpoint, Health, RouteTable, Target, is_asleep, normalise_host
from stager.domain.traffic import Activity, FrontEvent, FrontEventKind
from stager.testing.fakes.feed import Feed

_WAKE_SECONDS = 1.0
"""Interval of the events of a held request."""

Key = TypeVar("Key", str, int)
Value = TypeVar("Value")


@dataclass(eq=False, slots=True)
class Visit:
    """An open request.

    Args:
        host: the requested host.
        target: its target; None for an unknown host.
        cut: set when a drain closed it.
    """

    host: str
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
        held: the number of requests that wait for each sleeping host.
    """

    def __init__(self) -> None:
        self.table = RouteTable()
        self.refusing: set[Endpoint] = set()
        self.delay = 0.0
        self.taken: set[int] = set()
        self.state = Health()
        self.held: Counter[str] = Counter()
        self._requested_at: dict[str, float] = {}
        """By the loop's clock, as is `_started`, the time of the first call."""
        self._started: float | None = None
        self._visits: set[Visit] = set()
        self._changed = asyncio.Condition()
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
            self._tell(FrontEventKind.HEALTH, host)

    def request_certificate(self, host: str) -> None:
        """A client waits for the certificate of this host."""
        self._requests.tell(host)

    @asynccontextmanager
    async def visit(self, host: str) -> AsyncIterator[Visit]:
        """A request to this host, open during the block. One to a sleeping host is held first: the block
        begins once the table leads elsewhere."""
        host = normalise_host(host)
        if is_asleep(self.table.routes.get(host)):
            await self._hold(host)
        visit = Visit(host, self.table.routes.get(host))
        if visit.target in self.refusing:
            self._tell(FrontEventKind.UNREACHABLE, host)
        self._visits.add(visit)
        try:
            yield visit
        finally:
            self._note(visit)
            self._visits.discard(visit)
            async with self._changed:
                self._changed.notify_all()

    async def _hold(self, host: str) -> None:
        self.held[host] += 1
        try:
            while is_asleep(self.table.routes.get(host)):
                self._tell(FrontEventKind.WAKE, host)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_WAKE_SECONDS), self._changed:
                        await self._changed.wait()
        finally:
            self.held[host] -= 1

    def _note(self, visit: Visit) -> None:
        if isinstance(visit.target, Endpoint):
            self._requested_at[visit.host] = asyncio.get_running_loop().time()

    def _tell(self, kind: FrontEventKind, host: str) -> None:
        self._feed.tell(f"{kind} {host}")

    # The port.

    async def current(self) -> RouteTable:
        await self._turn()
        return self.table

    async def apply(self, table: RouteTable) -> Mapping[int, str]:
        await self._turn()
        await self._set(table)
        return self._closed()

    async def update(self, before: RouteTable, after: RouteTable) -> Mapping[int, str]:
        """See `Router.update`. Only the difference is applied, so that tests notice a wrong `before`."""
        await self._turn()
        await self._change(before, after)
        return self._closed()

    async def park(self, before: RouteTable, after: RouteTable, hosts: Collection[str], idle: float) -> bool:
        await self._turn()
        activity = self._activity()
        for host in hosts:
            target = self.table.routes.get(host)
            if target == after.routes.get(host):
                continue
            if not isinstance(target, Endpoint) or self._open(target) or activity.idle_of([host]) < idle:
                return False
        await self._change(before, after)
        return True

    async def activity(self) -> Activity:
        await self._turn()
        return self._activity()

    async def _change(self, before: RouteTable, after: RouteTable) -> None:
        now = self.table
        frame = now if (before.domain, before.home) == (after.domain, after.home) else after
        table = RouteTable(
            _updated(now.routes, before.routes, after.routes),
            frame.domain,
            frame.home,
            _updated(now.ports, before.ports, after.ports),
            _updated(now.policies, before.policies, after.policies),
        )
        await self._set(table)

    async def _set(self, table: RouteTable) -> None:
        self.table = table
        async with self._changed:
            self._changed.notify_all()

    def _activity(self) -> Activity:
        for visit in self._visits:
            self._note(visit)
        now = asyncio.get_running_loop().time()
        idle = {host: now - at for host, at in self._requested_at.items()}
        open_hosts = [*(visit.host for visit in self._visits), *(+self.held)]
        idle |= {host: 0.0 for host in open_hosts if host in idle or self.held[host]}
        return Activity(
            {h: s for h, s in idle.items() if h in self.table.routes}, now - (self._started or 0.0)
        )

    async def drain(self, endpoint: Endpoint, timeout: float) -> int:
        await self._turn()
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: not self._open(endpoint))
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

    async def events(self) -> AsyncIterator[FrontEvent]:
        async for event in self._feed.follow():
            kind, _, host = event.partition(" ")
            yield FrontEvent(FrontEventKind(kind), host) if kind else FrontEvent(FrontEventKind.CONNECTED)

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
        if self._started is None:
            self._started = asyncio.get_running_loop().time()
        if self._away:
            raise Retry("The data plane doesn't answer.", reason="front-away")


def _updated(
    now: Mapping[Key, Value], before: Mapping[Key, Value], after: Mapping[Key, Value]
) -> dict[Key, Value]:
    """The mapping with the entries that differ between `before` and `after`."""
    kept = {key: value for key, value in now.items() if key in after or key not in before}
    return kept | {key: value for key, value in after.items() if before.get(key) != value}
