"""The event listeners' decision about a pull request's event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from stager.control.plugins.invoker import Invoker
from stager.domain.environment import Suspension, SuspensionReason
from stager.domain.errors import StagerError, sentences
from stager.domain.pull_requests.decisions import Decision, Skip
from stager.domain.pull_requests.events import ChangeEvent
from stager.ports.handlers import EventListener

log = structlog.get_logger(__name__)

LONGEST_REASON = 500
"""Characters of a `Skip`'s reason that are shown."""


@dataclass(frozen=True, slots=True)
class ListenerDecision:
    """What the listeners decided.

    Args:
        decision: None when no listener took the event.
        listener: the class name of the listener that decided.
        failures: of listeners that failed or returned something invalid, a sentence each.
    """

    decision: Decision | None = None
    listener: str = ""
    failures: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """Why the preview is skipped, on one line and without a full stop; empty when it isn't."""
        text = self.decision.reason if isinstance(self.decision, Skip) else ""
        return " ".join(text.split())[:LONGEST_REASON].rstrip(".")

    @property
    def suspension(self) -> Suspension | None:
        """Why the preview is skipped; None when it isn't."""
        if not isinstance(self.decision, Skip):
            return None
        message = f"No preview: {self.reason}."
        return Suspension(SuspensionReason.RULES, message, f"The listener {self.listener} decided that.")


class Listeners:
    """The configured listeners, in the order of the configuration."""

    def __init__(self, listeners: Sequence[EventListener], invoker: Invoker) -> None:
        self._listeners = listeners
        self._invoker = invoker

    async def decide(self, event: ChangeEvent) -> ListenerDecision:
        """The decision of the first listener that takes the event. A listener that fails, hangs or returns
        something invalid is passed over."""
        failures: list[str] = []
        for listener in self._listeners:
            name = type(listener).__name__
            try:
                decision = await self._invoker.decision(listener, event)
            except StagerError as error:
                log.warning("listener_passed_over", listener=name, error=error.message, hint=error.hint)
                failures.append(sentences(error.message, error.hint))
                continue
            if decision is not None:
                return ListenerDecision(decision, name, tuple(failures))
        return ListenerDecision(failures=tuple(failures))
