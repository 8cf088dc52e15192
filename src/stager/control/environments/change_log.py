"""A bounded log of changes: which environments have changed since a position.

An environment is in the log at most once, with its latest change. A slow reader therefore needs no queue: it
keeps a position, and reads each environment's current state once, however often that has changed.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from itertools import takewhile

CAPACITY = 10_000
"""Environments in the log."""


@dataclass(frozen=True, slots=True)
class Change:
    """The latest change of an environment.

    Args:
        position: its position in the log.
    """

    position: str
    environment: str


class ChangeLog:
    """Records which environments change.

    Args:
        run: identifies this run of the process: positions of earlier runs are unknown.
    """

    def __init__(self, run: str, capacity: int = CAPACITY) -> None:
        self._run = run
        self._capacity = capacity
        self._latest: OrderedDict[str, int] = OrderedDict()
        self._last = self._dropped = 0
        self._changed = asyncio.Event()
        self.is_closed = False

    def record(self, environment: str) -> None:
        """Record a change of the environment of this id."""
        self._last += 1
        self._latest[environment] = self._last
        self._latest.move_to_end(environment)
        if len(self._latest) > self._capacity:
            self._dropped = self._latest.popitem(last=False)[1]
        self._wake()

    def close(self) -> None:
        """End the waits of all readers: the process stops."""
        self.is_closed = True
        self._wake()

    @property
    def position(self) -> str:
        """The position of the latest change."""
        return self._position(self._last)

    async def wait(self, position: str, seconds: float) -> bool:
        """Wait until there is a change after this position. Returns False after this many seconds, and once
        the log is closed."""
        try:
            async with asyncio.timeout(seconds):
                while position == self.position and not self.is_closed:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return not self.is_closed

    def since(self, position: str, until: str = "") -> list[Change] | None:
        """Return the environments that have changed since this position, each once, the earliest change
        first. None if the position is too old or unknown, as after a restart: the reader must read everything
        again.

        Args:
            until: leave out those that have changed after this position, too, which was this log's once.
        """
        run, _, number = position.rpartition("-")
        if run != self._run or not (number.isascii() and number.isdigit() and len(number) < 20):
            return None
        if not self._dropped <= int(number) <= self._last:
            return None
        last = int(until.rpartition("-")[2]) if until else self._last
        newer = takewhile(lambda item: item[1] > int(number), reversed(self._latest.items()))
        return [Change(self._position(at), environment) for environment, at in newer if at <= last][::-1]

    def _position(self, number: int) -> str:
        return f"{self._run}-{number}"

    def _wake(self) -> None:
        woken, self._changed = self._changed, asyncio.Event()
        woken.set()
