"""Calls of plain functions that may take long, or never end: each in a thread of its own, which nobody waits
for any more once the time is over. A pool would run out of threads by and by, and keep this process from
ending."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress

MOST = 16
"""How many calls of one kind go on at a time, the next ones wait; and how many that were given up may go on
besides, for ever if they hang, before no more are begun."""


class Threads:
    """The calls of one kind.

    Args:
        name: of the threads.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._free = asyncio.Semaphore(MOST)
        self._given_up = 0

    async def call(self, function: Callable[..., object], arguments: tuple[object, ...]) -> object:
        """What it returns. Cancelled, the call goes on, and nobody hears what comes of it.

        Raises:
            RuntimeError: too many that were given up haven't ended yet.
            Exception: what it raises.
        """
        async with self._free:
            if self._given_up >= MOST:
                raise RuntimeError(f"{self._given_up} earlier calls of it haven't ended yet")
            answer = self._begin(function, arguments)
            try:
                return await answer
            finally:
                self._given_up += answer.cancelled()

    def _begin(
        self, function: Callable[..., object], arguments: tuple[object, ...]
    ) -> asyncio.Future[object]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[object] = loop.create_future()
        context = contextvars.copy_context()

        def settle(result: object, error: BaseException | None) -> None:
            if answer.cancelled():
                self._given_up -= 1
            elif error is None:
                answer.set_result(result)
            else:
                answer.set_exception(_as_exception(error))

        def work() -> None:
            result, failure = None, None
            try:
                result = context.run(function, *arguments)
            except BaseException as error:  # noqa: BLE001 (it is handed on to whoever waits)
                failure = error
            with suppress(RuntimeError):  # the loop is closed: Stager has stopped meanwhile
                loop.call_soon_threadsafe(settle, result, failure)

        threading.Thread(target=work, name=self._name, daemon=True).start()
        return answer


def _as_exception(error: BaseException) -> Exception:
    """An exception that a future can bear, and that ends nothing but the call."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
