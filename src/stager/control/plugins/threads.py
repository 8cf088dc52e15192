"""Calls of synchronous functions that may hang: each in a thread of its own, which is abandoned at the time
limit. Hanging calls would exhaust a thread pool, and keep the process from ending."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress

MAX_CALLS = 16
"""Concurrent calls of one class; further ones wait. Also the number of abandoned calls that may still run
before new calls are refused."""


class Threads:
    """The calls of one class.

    Args:
        name: of the threads.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._free = asyncio.Semaphore(MAX_CALLS)
        self._abandoned = 0

    async def call(self, function: Callable[..., object], arguments: tuple[object, ...]) -> object:
        """Call the function in a thread. If this is cancelled, the call continues and its result is dropped.

        Raises:
            RuntimeError: too many abandoned calls still run.
            Exception: raised by the function.
        """
        async with self._free:
            if self._abandoned >= MAX_CALLS:
                raise RuntimeError(f"{self._abandoned} earlier calls still run")
            answer = self._start(function, arguments)
            try:
                return await answer
            finally:
                self._abandoned += answer.cancelled()

    def _start(
        self, function: Callable[..., object], arguments: tuple[object, ...]
    ) -> asyncio.Future[object]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[object] = loop.create_future()
        context = contextvars.copy_context()

        def settle(result: object, error: BaseException | None) -> None:
            if answer.cancelled():
                self._abandoned -= 1
            elif error is None:
                answer.set_result(result)
            else:
                answer.set_exception(_as_exception(error))

        def work() -> None:
            result, failure = None, None
            try:
                result = context.run(function, *arguments)
            except BaseException as error:  # noqa: BLE001 (it is passed to the caller)
                failure = error
            with suppress(RuntimeError):  # the loop is closed: Stager has stopped meanwhile
                loop.call_soon_threadsafe(settle, result, failure)

        threading.Thread(target=work, name=self._name, daemon=True).start()
        return answer


def _as_exception(error: BaseException) -> Exception:
    """An exception that a future accepts and that ends only the call."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
