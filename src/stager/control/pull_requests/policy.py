"""Whether a change may have a preview: the configuration's rules, forks, and the checks of its commit."""

from __future__ import annotations

import structlog

from stager.control.forges import Forges
from stager.domain.application import Application
from stager.domain.environment import Environment, Suspension, SuspensionReason
from stager.domain.errors import Retry
from stager.domain.pull_requests.approval import FORKS_ARE_OFF, is_approved
from stager.domain.pull_requests.comment_command import ADDRESS, Verb
from stager.domain.pull_requests.rules import refusal, refusal_by_paths
from stager.domain.source import Change, Trust
from stager.ports.forge import Checks, Forge

log = structlog.get_logger(__name__)

SHORT = 7
"""Digits of a commit's id that people are shown where nothing is decided by it."""

_CHECKS: dict[Checks, str] = {
    "none": "none of its checks has reported yet",
    "pending": "its checks haven't passed yet",
    "failure": "its checks failed",
}
LATER = "It is decided as soon as the forge answers."


class Policy:
    """Says no, or nothing."""

    def __init__(self, forges: Forges) -> None:
        self._forges = forges

    async def suspension(
        self,
        application: Application,
        change: Change,
        before: Environment | None,
        by_listener: Suspension | None = None,
    ) -> Suspension | None:
        """Why this change may not run as it is now; None when it may.

        What somebody with push access let run, this very commit, isn't held back by anything but that forks
        are off.

        Args:
            before: its environment, where there is one.
            by_listener: why a listener skips it.
        """
        fork = _fork_suspension(application, change)
        if fork != FORKS_ARE_OFF and is_approved(before, change):
            return None
        # Strangers' code first: what only rules hold back may be launched by hand.
        cheap = fork or by_listener or refusal(application.rules, change)
        if cheap is not None or _is_decided(before, change):
            return cheap
        return await self._by_asking(application, change)

    async def _by_asking(self, application: Application, change: Change) -> Suspension | None:
        """What only the forge knows. While it doesn't answer, the change waits: each look asks again."""
        rules = application.rules
        if not rules.paths and not rules.wait_for_checks:
            return None
        forge = self._forges.of(change.repository.id)
        if forge is None:
            message = "No preview: the forge can't be asked what the rules want to know."
            return Suspension(SuspensionReason.RULES, message, "Stager needs credentials for it.")
        try:
            return await self._asked(forge, application, change)
        except Retry as error:
            log.warning("policy_waits", reason=error.reason, error=error.message)
            return Suspension(SuspensionReason.RULES, "No preview yet: the forge doesn't answer.", LATER)

    @staticmethod
    async def _asked(forge: Forge, application: Application, change: Change) -> Suspension | None:
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
    """What our own status is called among a commit's others."""
    return f"stager/{app}"


def _fork_suspension(application: Application, change: Change) -> Suspension | None:
    if change.trust is Trust.TRUSTED or application.forks == "open":
        return None
    if application.forks == "off":
        return FORKS_ARE_OFF
    return Suspension(
        SuspensionReason.APPROVAL,
        "No preview yet: this pull request comes from a fork, and nobody has approved its newest commit.",
        "Someone with push access who has read that commit can comment "
        f"`{ADDRESS} {Verb.APPROVE} {change.head_sha}`.",
    )


def _checks_suspension(checks: Checks) -> Suspension | None:
    if checks == "success":
        return None
    return Suspension(
        SuspensionReason.CHECKS, f"No preview yet: {_CHECKS[checks]}.", "It comes when they have passed."
    )


def _is_decided(before: Environment | None, change: Change) -> bool:
    """Whether this very commit was let run already, so that nobody need be asked again."""
    return before is not None and before.desired.should_run and before.desired.revision.sha == change.head_sha
