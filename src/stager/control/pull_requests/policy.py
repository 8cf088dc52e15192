"""Whether a change may have a preview: the decision of the event listeners, configured rules, forks, and the
checks of its commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from stager.control.forges import Forges
from stager.control.plugins.invoker import Invoker
from stager.domain.application import Application
from stager.domain.environment import Environment, Suspension, SuspensionReason
from stager.domain.errors import Retry, StagerError, sentences
from stager.domain.pull_requests.comment_command import PREFIX, Verb
from stager.domain.pull_requests.events import ChangeEvent, Decision, Skip
from stager.domain.pull_requests.rules import FORKS_ARE_OFF, is_approved, refusal, refusal_by_paths
from stager.domain.source import Change, Trust
from stager.ports.forge import Checks, Forge
from stager.ports.handlers import EventListener

log = structlog.get_logger(__name__)

SHORT = 7
"""Digits of a commit id in texts where the id decides nothing."""

_CHECKS: dict[Checks, str] = {
    "none": "the commit has no checks yet",
    "pending": "the commit's checks are running",
    "failure": "the commit's checks failed",
}
LATER = "Stager decides as soon as the forge answers."
LONGEST_REASON = 500
"""Characters of a `Skip`'s reason that are shown."""


class Policy:
    """Decides whether changes get previews."""

    def __init__(self, forges: Forges) -> None:
        self._forges = forges

    async def suspension(
        self,
        application: Application,
        change: Change,
        before: Environment | None,
        by_listener: Suspension | None = None,
    ) -> Suspension | None:
        """Why this change gets no preview in its current state; None when it does.

        A commit that somebody with push access has let run is only suspended when forks are off.

        Args:
            before: its environment, where there is one.
            by_listener: why a listener skips it.
        """
        fork = _fork_suspension(application, change)
        if fork != FORKS_ARE_OFF and is_approved(before, change):
            return None
        # Forks first: what only rules suspend may be launched manually.
        cheap = fork or by_listener or refusal(application.rules, change)
        if cheap is not None or _was_allowed(before, change):
            return cheap
        return await self._by_forge(application, change)

    async def _by_forge(self, application: Application, change: Change) -> Suspension | None:
        """The decision that needs the forge. While it doesn't answer, the change waits, and each event and
        resync asks again."""
        rules = application.rules
        if not rules.paths and not rules.wait_for_checks:
            return None
        forge = self._forges.of(change.repository.id)
        if forge is None:
            message = "No preview: the rules need data from the forge, and Stager has no access to it."
            hint = "Configure credentials for the forge."
            return Suspension(SuspensionReason.RULES, message, hint, rule="forge-not-connected")
        try:
            return await self._by_paths_and_checks(forge, application, change)
        except Retry as error:
            log.warning("policy_postponed", reason=error.reason, error=error.message)
            message = "No preview yet: the forge doesn't answer."
            return Suspension(SuspensionReason.RULES, message, LATER, rule="forge-unavailable")

    @staticmethod
    async def _by_paths_and_checks(
        forge: Forge, application: Application, change: Change
    ) -> Suspension | None:
        rules = application.rules
        if rules.paths:
            paths = await forge.people.paths(change.repository, change.number)
            found = refusal_by_paths(rules, paths)
            if found is not None:
                return found
        if not rules.wait_for_checks:
            return None
        checks = await forge.people.checks(
            change.repository, change.head_sha, status_context(application.name)
        )
        return _checks_suspension(checks)


def status_context(app: str) -> str:
    """The name of Stager's own commit status."""
    return f"stager/{app}"


def _fork_suspension(application: Application, change: Change) -> Suspension | None:
    if change.trust is Trust.TRUSTED or application.forks == "open":
        return None
    if application.forks == "off":
        return FORKS_ARE_OFF
    return Suspension(
        SuspensionReason.APPROVAL,
        "No preview yet: this pull request comes from a fork, and its newest commit isn't approved.",
        "After reading the commit, someone with push access can comment "
        f"`{PREFIX} {Verb.APPROVE} {change.head_sha}`.",
    )


def _checks_suspension(checks: Checks) -> Suspension | None:
    if checks == "success":
        return None
    return Suspension(
        SuspensionReason.CHECKS,
        f"No preview yet: {_CHECKS[checks]}.",
        "The preview starts once they have passed.",
        rule=f"checks-{checks}",
    )


def _was_allowed(before: Environment | None, change: Change) -> bool:
    """Whether this commit was allowed before, so that the forge needn't be asked again."""
    if before is None:
        return False
    desired = before.desired
    return (desired.keeps_instances or desired.is_queued) and desired.revision.sha == change.head_sha


@dataclass(frozen=True, slots=True)
class ListenerDecision:
    """What the listeners decided, and what policy makes of it.

    Args:
        decision: None when no listener took the event.
        listener: the class name of the listener that decided.
        failures: of listeners that failed or returned something invalid, a sentence each.
        suspension: why the preview may not run, by policy; None when it may.
    """

    decision: Decision | None = None
    listener: str = ""
    failures: tuple[str, ...] = ()
    suspension: Suspension | None = None

    @property
    def reason(self) -> str:
        """Why the preview is skipped, on one line and without a full stop; empty when it isn't."""
        text = self.decision.reason if isinstance(self.decision, Skip) else ""
        return " ".join(text.split())[:LONGEST_REASON].rstrip(".")

    @property
    def skip(self) -> Suspension | None:
        """Why the preview is skipped; None when it isn't."""
        if not isinstance(self.decision, Skip):
            return None
        message = f"No preview: {self.reason}."
        hint = f"The listener {self.listener} decided that."
        return Suspension(SuspensionReason.RULES, message, hint, rule="listener")


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
