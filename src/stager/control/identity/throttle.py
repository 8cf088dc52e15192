"""Throttles failed logins per address (brute-force protection)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from stager.domain.errors import Refused

LIMIT = 10
PER_SECONDS = 60.0
"""Failed attempts per minute: enough for people who mistype, too few for guessing."""
MAX_SOURCES = 10_000
"""Sources that are tracked; the oldest is dropped when there are more, which bounds the memory."""
MAX_WAIT = 10.0
MAX_WAITING = 200
"""Requests of a source that wait while others are being checked, and the seconds they wait. Concurrent
requests with valid credentials all succeed; concurrent requests don't get more failed attempts."""


@dataclass(slots=True)
class Attempt:
    """A check of credentials. It counts as failed unless `is_successful` is set."""

    is_successful: bool = False


@dataclass(slots=True)
class _Source:
    """The state of a source.

    Args:
        failures: times of recent failures.
        requests: waiting requests and those being checked.
    """

    failures: deque[datetime] = field(default_factory=deque)
    requests: int = 0
    in_progress: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Throttle:
    """Counts failed attempts by source, such as a network address.

    Args:
        now: returns the current time.
        limit: allowed failures in `per_seconds`.
    """

    def __init__(
        self, now: Callable[[], datetime], limit: int = LIMIT, per_seconds: float = PER_SECONDS
    ) -> None:
        self._now = now
        self._limit = limit
        self._per_seconds = per_seconds
        self._sources: OrderedDict[str, _Source] = OrderedDict()

    def check(self, name: str) -> None:
        """Raise `Refused` (429) when a source has too many recent failures. Counts nothing."""
        source = self._sources.get(name)
        if source is not None and self._recent_failures(source) >= self._limit:
            raise self._too_many()

    @asynccontextmanager
    async def attempt(self, name: str) -> AsyncIterator[Attempt]:
        """Count the `async with` body as one attempt, before it runs; no longer once it `is_successful`.

        Attempts in progress never exceed the remaining failures: the next one waits for their results.

        Raises:
            Refused: 429, too many recent failures, or too many requests are waiting for too long.
        """
        source = self._track(name)
        source.requests += 1
        try:
            await self._wait_for_turn(source)
            async with self._counted(source) as attempt:
                yield attempt
        finally:
            source.requests -= 1
            if not source.requests and not source.failures:
                self._sources.pop(name, None)

    @asynccontextmanager
    async def _counted(self, source: _Source) -> AsyncIterator[Attempt]:
        attempt = Attempt()
        try:
            yield attempt
        finally:  # also when the request is cancelled: the credentials may have been compared
            source.in_progress -= 1
            if not attempt.is_successful:
                source.failures.append(self._now())
            self._wake_all(source)

    async def _wait_for_turn(self, source: _Source) -> None:
        """Wait until another attempt is allowed, and count it as in progress."""
        try:
            async with asyncio.timeout(MAX_WAIT):
                while not self._has_capacity(source):
                    await self._wait(source)
        except TimeoutError:
            raise self._too_many() from None
        source.in_progress += 1

    def _has_capacity(self, source: _Source) -> bool:
        failures = self._recent_failures(source)
        if failures >= self._limit or len(source.waiting) >= MAX_WAITING:
            raise self._too_many()
        return failures + source.in_progress < self._limit

    async def _wait(self, source: _Source) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        source.waiting.append(turn)
        try:
            await turn
        finally:
            if turn in source.waiting:
                source.waiting.remove(turn)

    def _wake_all(self, source: _Source) -> None:
        """Wake all waiting requests: one can proceed, or none can any more."""
        while source.waiting:
            turn = source.waiting.popleft()
            if not turn.done():
                turn.set_result(None)

    def _track(self, name: str) -> _Source:
        source = self._sources.setdefault(name, _Source())
        self._sources.move_to_end(name)
        if len(self._sources) > MAX_SOURCES:
            self._drop_oldest(name)
        return source

    def _drop_oldest(self, keep: str) -> None:
        """Drop the oldest source without requests, other than `keep`."""
        idle = (n for n, source in self._sources.items() if not source.requests and n != keep)
        if (oldest := next(idle, None)) is not None:
            del self._sources[oldest]

    def _recent_failures(self, source: _Source) -> int:
        failures = source.failures
        while failures and (self._now() - failures[0]).total_seconds() >= self._per_seconds:
            failures.popleft()
        return len(failures)

    def _too_many(self) -> Refused:
        return Refused(
            "Too many failed logins from your address.",
            hint=f"Try again in {self._per_seconds:g} seconds.",
            reason="too-many-tries",
            status=429,
        )
