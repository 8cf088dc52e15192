"""Calls handlers and strategies, `async` or in a thread, with a time limit.

A handler's failure is logged, counted and listed by `doctor`; it never ends the caller.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import cast, get_args

import structlog

from stager.control.metrics import Metrics
from stager.domain.commands import Command, Kill, Launch
from stager.domain.errors import Fault, StagerError, sentences
from stager.domain.pull_requests.events import Call, ChangeEvent, Decision, problem_of
from stager.ports.diagnostics import Finding, Verdict
from stager.ports.handlers import EventListener, Handler

log = structlog.get_logger(__name__)

HANDLER_SECONDS = 30.0
DECISIONS = "LaunchPreview, RemovePreview, Skip or None"
COMMANDS = "Launch, Kill, Reply or None"
INVALID = "listener-answer-invalid"


class Invoker:
    """Calls handlers' methods.

    Args:
        seconds: the time limit of one call.

    Attributes:
        failures: of the handlers' last calls.
    """

    def __init__(self, metrics: Metrics | None = None, seconds: float = HANDLER_SECONDS) -> None:
        self.failures = HandlerFailures()
        self._metrics = metrics
        self._seconds = seconds
        self._threads: dict[type, Threads] = {}

    async def ask(self, handler: Handler, method: str, *arguments: object) -> object:
        """Call a handler's method and return its result.

        Raises:
            StagerError: raised by the handler as its answer.
            Fault: the handler failed (`handler-failed`) or exceeded the time limit (`handler-hung`).
        """
        name = type(handler).__name__
        try:
            async with asyncio.timeout(self._seconds) as limit:
                answer = await self._call(handler, getattr(handler, method), arguments)
        except StagerError:
            raise
        except Exception as error:
            raise self._failed(name, method, error, self._fault(name, error, limit)) from error
        self.failures.clear(name)
        return answer

    async def decision(self, listener: EventListener, event: ChangeEvent) -> Decision | None:
        """Call a listener with a pull request's event and return its decision. Raises what `ask` does, and
        `Fault` (`listener-answer-invalid`) for anything but a valid decision."""
        answer = await self.ask(listener, "handle", event)
        if answer is not None and not isinstance(answer, get_args(Decision)):
            raise self._invalid(
                listener, f"returned {_described(answer)} for a pull request event", DECISIONS
            )
        decision = cast("Decision | None", answer)
        if decision is not None and (problem := problem_of(decision)):
            raise self._invalid(listener, f"returned a {_described(decision)}, but {problem}", DECISIONS)
        return decision

    async def command(self, listener: EventListener, call: Call) -> Command | None:
        """Call a listener with a call and return its command. Raises what `ask` does, and `Fault`
        (`listener-answer-invalid`) for anything but a command."""
        answer = await self.ask(listener, "handle", call)
        if answer is not None and not isinstance(answer, get_args(Command)):
            raise self._invalid(listener, f"returned {_described(answer)} for a call", COMMANDS)
        return cast("Command | None", answer)

    async def tell(self, handler: Handler, method: str, *arguments: object) -> str:
        """Call a handler's method, ignoring its result. Returns what failed, as a sentence; empty for
        nothing."""
        name = type(handler).__name__
        try:
            await self.ask(handler, method, *arguments)
        except Fault as error:
            if error.reason not in {"handler-hung", "handler-failed"}:
                self._failed(name, method, error, error)
            return sentences(error.message, error.hint)
        except StagerError as error:
            sentence = f"The handler {name} failed: {error}"
            self._failed(name, method, error, Fault(sentence, reason="handler-failed"))
            return sentence
        return ""

    def _fault(self, name: str, error: Exception, limit: asyncio.Timeout) -> Fault:
        if isinstance(error, TimeoutError) and limit.expired():
            return Fault(f"The handler {name} didn't end within {self._seconds:g} s.", reason="handler-hung")
        return Fault(
            f"The handler {name} failed: {type(error).__name__}: {error}".rstrip(": "),
            hint="The traceback is in Stager's log.",
            reason="handler-failed",
        )

    def _invalid(self, listener: EventListener, what: str, allowed: str) -> Fault:
        name = type(listener).__name__
        fault = Fault(f"The listener {name} {what}.", hint=f"It may return {allowed}.", reason=INVALID)
        return self._failed(name, "handle", None, fault)

    def _failed(self, name: str, method: str, error: Exception | None, fault: Fault) -> Fault:
        text = sentences(fault.message, fault.hint) if error is None else str(error)
        log.warning("handler_failed", handler=name, method=method, error=text, exc_info=error)
        self.failures.add(name, fault)
        if self._metrics:
            self._metrics.handler_failed(name)
        return fault

    async def _call(
        self, handler: Handler, method: Callable[..., object], arguments: tuple[object, ...]
    ) -> object:
        if inspect.iscoroutinefunction(method):
            return await method(*arguments)
        threads = self._threads.setdefault(type(handler), Threads(type(handler).__name__))
        answer = await threads.call(method, arguments)
        return await answer if inspect.isawaitable(answer) else answer


def _described(answer: object) -> str:
    """An answer's type, with the names in it but no parameters, which may be secrets."""
    match answer:
        case type():
            return f"the class {answer.__name__} instead of an instance"
        case Launch(image_name, container_name) | Kill(image_name, container_name):
            return f"{type(answer).__name__}(image_name={image_name!r}, container_name={container_name!r})"
        case _:
            return type(answer).__name__


class HandlerFailures:
    """The failure of each handler's last call. A `stager.ports.diagnostics.Check`."""

    subject = "handlers"

    def __init__(self) -> None:
        self._by_handler: dict[str, Finding] = {}

    def add(self, handler: str, error: StagerError) -> None:
        """Record the failure of a handler's last call."""
        self._by_handler[handler] = Finding(self.subject, Verdict.WARNING, error.message, error.hint)

    def clear(self, handler: str) -> None:
        """Forget a handler's failure, after a call that succeeded."""
        self._by_handler.pop(handler, None)

    @property
    def notices(self) -> dict[str, str]:
        """Their number, for `/readyz`, which needs no authentication; empty for none."""
        count = len(self._by_handler)
        if not count:
            return {}
        what = "1 handler" if count == 1 else f"{count} handlers"
        return {self.subject: f"{what} failed at the last call; the log has `handler_failed` with the error."}

    async def run(self) -> Sequence[Finding]:
        """See `Check.run`."""
        ok = Finding(self.subject, Verdict.OK, "No handler failed at its last call.")
        return list(self._by_handler.values()) or [ok]


MAX_CALLS = 16
"""Concurrent calls of one class; further ones wait. Also the number of abandoned calls that may still run
before new calls are refused."""


class Threads:
    """Calls the synchronous methods of one class, each call in a thread of its own, which is abandoned at the
    time limit. Calls that hang would exhaust a thread pool, and keep the process from ending.

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
