"""An event loop whose time passes only while nothing else is left to do: an hour of pauses takes no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from stager.testing.fakes.clock import START

T = TypeVar("T")

BUSY = 50_000
"""So many turns of the loop without a pause are no work any more."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Where others sleep until the next timer, this one moves its time on to it."""

    def __init__(self) -> None:
        self.passed = 0.0
        super().__init__(_ImpatientSelector(self))

    def time(self) -> float:
        return self.passed

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run it at once: a thread would take real time, in which this loop has nothing to do."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done


class _ImpatientSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, Any]]:
        ready = super().select(0)
        self._turns += 1
        if self._turns > BUSY:
            self._turns = 0
            raise RuntimeError("something is busy for ever")
        if ready or timeout == 0:
            return ready
        self._turns = 0
        if timeout is None:
            raise RuntimeError("everybody waits, and nothing will ever happen")
        self._loop.passed += timeout
        return []


class LoopClock:
    """A `stager.ports.clock.Clock` by the running loop's time."""

    def now(self) -> datetime:
        return START + timedelta(seconds=asyncio.get_running_loop().time())
