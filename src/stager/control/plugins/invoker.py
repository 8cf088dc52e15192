"""Runs strangers' code: handlers and strategies, `async` or in a thread, for a limited time.

What they do wrong is named in the log and counted, and never goes further than whoever asked them.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import cast, get_args

import structlog

from stager.control.metrics import Metrics
from stager.control.plugins.threads import Threads
from stager.domain.commands import Command
from stager.domain.errors import Fault, StagerError, sentences
from stager.domain.pull_requests.events import Call, ChangeSeen
from stager.ports.handlers import EventListener, Handler

log = structlog.get_logger(__name__)

HANDLER_SECONDS = 30.0


class Invoker:
    """Calls handlers' methods.

    Args:
        seconds: how long one call may take.
    """

    def __init__(self, metrics: Metrics | None = None, seconds: float = HANDLER_SECONDS) -> None:
        self._metrics = metrics
        self._seconds = seconds
        self._threads: dict[type, Threads] = {}

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
        threads = self._threads.setdefault(type(handler), Threads(type(handler).__name__))
        answer = await threads.call(method, arguments)
        return await answer if inspect.isawaitable(answer) else answer
