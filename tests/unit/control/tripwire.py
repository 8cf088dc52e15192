"""Ends a control plane at any line at which it waits for anything outside itself, as `kill -9` would."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

Port = TypeVar("Port")
T = TypeVar("T")


class Tripwire:
    """Counts the points at which a process may end: before and after each call of a port.

    At the chosen one the process stops, and from then on nothing that it calls has any effect or ends.

    Args:
        at: the point, counted from 0 from the moment of `arm`; None to count only.

    Attributes:
        passed: the points, each by its name.
        distinct: those at which the world stands otherwise than at the one before, or other calls are under
            way. A process that is killed at one of the others leaves the same state.
    """

    def __init__(self, at: int | None = None) -> None:
        self.passed: list[str] = []
        self.distinct: list[int] = []
        self.broken: list[str] = []
        self.tripped = asyncio.Event()
        self._buried = asyncio.Event()
        self._at = at
        self._armed = False
        self._checks: list[Callable[[], str]] = []
        self._witness: Callable[[], object] | None = None
        self._last_seen: object = None
        self._under_way: Counter[str] = Counter()

    def arm(self) -> None:
        """Begin to count."""
        self._armed = True

    def disarm(self) -> None:
        """Count no more points."""
        self._armed = False

    def cut(self) -> None:
        """The process was killed."""
        self.tripped.set()

    def bury(self) -> None:
        """Cancel what the killed process still waits for."""
        self._buried.set()

    def check(self, promise: Callable[[], str]) -> None:
        """Ask `promise` at each point whether it is broken; how, or an empty string."""
        self._checks.append(promise)

    def watch(self, witness: Callable[[], object]) -> None:
        """Tell points at which the world stands alike: `witness` says how, in what can be compared."""
        self._witness = witness

    def around(self, port: Port) -> Port:
        """The port, with this wire around each of its coroutine methods."""
        return cast("Port", _Wired(port, self))

    async def point(self, name: str) -> None:
        """The process is at this point."""
        self.broken += [broken for check in self._checks if (broken := check())]
        if self._armed and not self.tripped.is_set():
            if len(self.passed) == self._at:
                self.tripped.set()
            if self._witness is not None:
                self._note(self._witness())
            self.passed.append(name)
        if self.tripped.is_set():
            await self._buried.wait()
            raise asyncio.CancelledError

    def _note(self, ports: object) -> None:
        seen = (ports, +self._under_way)
        if seen != self._last_seen:
            self.distinct.append(len(self.passed))
        self._last_seen = seen

    async def call(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        """Call a port, with a point before it and one after it."""
        if self._is_watching:
            await self.point(f"before {name}")
        self._under_way[name] += 1
        try:
            result = await call()
        finally:
            self._under_way[name] -= 1
        if self._is_watching:
            await self.point(f"after {name}")
        return result

    @property
    def _is_watching(self) -> bool:
        """Whether a point has an effect. Most tests only use the harness, and kill nothing."""
        return self._armed or bool(self._checks) or self.tripped.is_set()


class _Wired:
    def __init__(self, port: object, wire: Tripwire) -> None:
        self._port = port
        self._wire = wire

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*arguments: Any, **named: Any) -> Any:
            return await self._wire.call(name, lambda: getattr(self._port, name)(*arguments, **named))

        setattr(self, name, call)  # it is asked for often, and looking closely takes its time
        return call
