"""Runs strangers' code: handlers and strategies, `async` or in a thread, for a limited time.

What they do wrong is named in the log and counted, and never goes further than whoever asked them.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import cast, get_args

import structlog

from stager.control.metrics import Metrics
from stager.domain.commands import Command
from stager.domain.errors import Fault, StagerError, sentences
from stager.domain.events import Call, ChangeSeen
from stager.ports.handlers import EventListener, Handler

log = structlog.get_logger(__name__)

HANDLER_SECONDS = 30.0
MOST_THREADS = 16
"""How many threads of one handler may run, those among them that hang for ever."""


class Runner:
    """Calls handlers' methods.

    Args:
        seconds: how long one call may take.
    """

    def __init__(self, metrics: Metrics | None = None, seconds: float = HANDLER_SECONDS) -> None:
        self._metrics = metrics
        self._seconds = seconds
        self._threads: Counter[type] = Counter()

    async def ask(self, handler: Handler, method: str, *arguments: object) -> object:
        """What the handler answers.

        Raises:
            StagerError: whatever of this the handler raises, because that is its answer.
            Fault: it failed or hung; names it.
        """
        name = type(handler).__name__
        try:
            async with asyncio.timeout(self._seconds) as limit:
                return await self._call(handler, getattr(handler, method), arguments)
        except StagerError:
            raise
        except Exception as error:
            self._failed(name, method, error)
            if isinstance(error, TimeoutError) and limit.expired():
                raise Fault(
                    f"The handler {name} didn't end within {self._seconds:g} s.", reason="handler-hung"
                ) from error
            raise Fault(
                f"The handler {name} failed: {type(error).__name__}: {error}".rstrip(": "),
                hint="The traceback is in Stager's log.",
                reason="handler-failed",
            ) from error

    async def command(self, listener: EventListener, event: ChangeSeen | Call) -> Command | None:
        """What a listener makes of an event. Raises what `ask` does."""
        answer = await self.ask(listener, "handle", event)
        if answer is None or isinstance(answer, get_args(Command)):
            return cast("Command | None", answer)
        name = type(listener).__name__
        error = TypeError(f"handle returned {type(answer).__name__}, not Launch, Kill, Reply or None")
        self._failed(name, "handle", error)
        raise Fault(f"The handler {name} failed: {error}", reason="handler-failed")

    async def tell(self, handler: Handler, method: str, *arguments: object) -> str:
        """Let the handler know, whatever it makes of that. Returns what went wrong, in a sentence."""
        try:
            await self.ask(handler, method, *arguments)
        except Fault as error:
            if error.reason not in {"handler-hung", "handler-failed"}:
                self._failed(type(handler).__name__, method, error)
            return sentences(error.message, error.hint)
        except StagerError as error:
            self._failed(type(handler).__name__, method, error)
            return f"The handler {type(handler).__name__} failed: {error}"
        return ""

    def _failed(self, name: str, method: str, error: Exception) -> None:
        log.warning("handler_failed", handler=name, method=method, error=str(error), exc_info=error)
        if self._metrics:
            self._metrics.handler_failed(name)

    async def _call(
        self, handler: Handler, method: Callable[..., object], arguments: tuple[object, ...]
    ) -> object:
        if inspect.iscoroutinefunction(method):
            return await method(*arguments)
        answer = await self._in_thread(type(handler), method, arguments)
        return await answer if inspect.isawaitable(answer) else answer

    async def _in_thread(
        self, owner: type, method: Callable[..., object], arguments: tuple[object, ...]
    ) -> object:
        """Call it in a thread of its own, which nobody waits for any more once the time is over: a pool would
        run out of threads by and by, and keep this process from ending."""
        if self._threads[owner] >= MOST_THREADS:
            raise RuntimeError(f"{MOST_THREADS} earlier calls of it haven't ended yet")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[object] = loop.create_future()
        context = contextvars.copy_context()

        def settle(result: object, error: BaseException | None) -> None:
            self._threads[owner] -= 1
            if answer.done():
                return
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(_as_exception(error))

        def work() -> None:
            result, failure = None, None
            try:
                result = context.run(method, *arguments)
            except BaseException as error:  # noqa: BLE001 (it is handed on to whoever waits)
                failure = error
            with suppress(RuntimeError):  # the loop is closed: Stager has stopped meanwhile
                loop.call_soon_threadsafe(settle, result, failure)

        self._threads[owner] += 1
        threading.Thread(target=work, name=owner.__name__, daemon=True).start()
        return await answer


def _as_exception(error: BaseException) -> Exception:
    """An exception that a future can bear, and that ends nothing but the call."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
