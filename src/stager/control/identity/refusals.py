"""Counts refused requests: the audit log gets one record per minute and kind, with the number of requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from stager.domain.errors import StagerError
from stager.domain.identity.actor import Actor

log = structlog.get_logger(__name__)

MINUTE = 60.0
MOST = 1_000
"""Kinds per minute; others are counted together, without an address."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A kind of refused request.

    Args:
        name: the actor's name.
        by: how the actor was identified.
        reason: the slug.
    """

    name: str
    by: str
    address: str
    action: str
    app: str = ""
    subject: str = ""
    reason: str = ""

    @property
    def actor(self) -> Actor:
        return Actor(self.name, self.by, address=self.address)


BEYOND = Refusal("many", "refused", "", "refused", reason="too-many-to-list")
Write = Callable[[Refusal, datetime, int], Awaitable[None]]


class Refusals:
    """Counts refused requests and writes the counts a minute after the first one.

    Args:
        write: writes one record: kind, time of the first request, count.
        now: returns the current time.
    """

    def __init__(self, write: Write, now: Callable[[], datetime]) -> None:
        self._write = write
        self._now = now
        self._counted: dict[Refusal, tuple[datetime, int]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._writing: set[asyncio.Task[None]] = set()

    def add(self, refusal: Refusal) -> None:
        """Count a request."""
        if refusal not in self._counted and len(self._counted) >= MOST:
            refusal = BEYOND
        self._count(refusal, self._now(), 1)

    def _count(self, refusal: Refusal, since: datetime, more: int) -> None:
        first, count = self._counted.get(refusal, (since, 0))
        self._counted[refusal] = min(first, since), count + more
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(MINUTE, self._begin)

    async def flush(self) -> None:
        """Write the counts. Records that can't be written are retried after a minute."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        counted, self._counted = self._counted, {}
        for refusal, (since, count) in counted.items():
            try:
                await self._write(refusal, since, count)
            except StagerError as error:
                log.warning("audit_write_failed", error=error.message)
                self._count(refusal, since, count)

    def _begin(self) -> None:
        self._timer = None
        task = asyncio.get_running_loop().create_task(self.flush())
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
