"""Answers that all open streams share."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar, cast

T = TypeVar("T")


class SharedAnswers:
    """Asks once for each key, and uses the answer for some seconds. Those who ask at the same time wait for
    one answer.

    Args:
        seconds: how long an answer is used.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._answers: OrderedDict[Hashable, tuple[float, asyncio.Future[object]]] = OrderedDict()

    async def once(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """Return the answer for a key; `ask` finds it."""
        now = asyncio.get_running_loop().time()
        self._forget_old(now)
        if key not in self._answers:
            self._answers[key] = now, asyncio.ensure_future(ask())
        return cast("T", await asyncio.shield(self._answers[key][1]))

    def _forget_old(self, now: float) -> None:
        while self._answers and now - next(iter(self._answers.values()))[0] >= self._seconds:
            self._answers.popitem(last=False)
