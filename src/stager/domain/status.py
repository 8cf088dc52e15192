"""The status of an environment for users.

One table, from which the visitor's page, the pull request and the API are made, so that they agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from stager.domain.attempt import UNRESPONSIVE, degraded
from stager.domain.deployment import Deployment, Phase, deployed_sha, phase_of
from stager.domain.environment import BY_POLICY, Environment, Suspension, SuspensionReason
from stager.domain.errors import Outcome
from stager.domain.route import Page, PageState
from stager.domain.service_status import UNREADY, service_statuses
from stager.domain.text import as_on_screen, lines_on_screen

LINES_SHOWN = 30
PLACES = (5, 10, 20, 50, 100, 200, 500)
"""Places in the queue, above which they are approximate in reports."""


class State(StrEnum):
    """An environment's state in one word."""

    QUEUED = "queued"
    """It waits for room on the machine, and starts by itself."""
    STARTING = "starting"
    BUILDING = "building"
    LIVE = "live"
    UNRESPONSIVE = "unresponsive"
    """Live, but its application no longer answers."""
    DEGRADED = "degraded"
    """Live, but a service other than the main one failed."""
    UPDATING = "updating"
    """Live with an older revision while a newer one comes up."""
    FAILED = "failed"
    FAILED_UPDATE = "failed-update"
    """Live with an older revision; the newest one failed."""
    ASLEEP = "asleep"
    """A request wakes it."""
    WAKING = "waking"
    STOPPED = "stopped"
    EXPIRED = "expired"
    """Stopped, after a long time without a visit or a push."""
    REFUSED = "refused"
    GONE = "gone"


_PAGES: dict[State, PageState] = {
    State.QUEUED: "queued",
    State.STARTING: "starting",
    State.BUILDING: "building",
    State.LIVE: "starting",
    State.UNRESPONSIVE: "starting",
    State.DEGRADED: "starting",
    State.UPDATING: "starting",
    State.FAILED: "failed",
    State.FAILED_UPDATE: "failed",
    State.ASLEEP: "asleep",
    State.WAKING: "waking",
    State.STOPPED: "stopped",
    State.EXPIRED: "expired",
    State.REFUSED: "refused",
    State.GONE: "gone",
}
_SUSPENDED_PAGES: dict[str, PageState] = {
    SuspensionReason.APPROVAL.value: "approval",
    SuspensionReason.CHECKS.value: "checks",
}
"""By the reason of a suspension, where that ends without a change of the configuration."""
FINDINGS_TITLE = "What Stager found in the Compose file"
_LINES_TITLES = {
    "compose-refused": FINDINGS_TITLE,
    "repository-file-invalid": "What is wrong in the repository file",
    "build-failed": "Last lines of the build log",
    "build-too-slow": "Last lines of the build log",
    "hook-failed": "Last lines of the hook's output",
    "seed-failed": "Last lines of the seed command's output",
    "restore-failed": "Last lines of the import's output",
    "mask-failed": "Last lines of the masking script's output",
    "image-missing": "Docker's answer",
}
"""By the reason of a failure, where its lines aren't those of a service's log."""
_BUILDING, _STARTING = "The preview is being built.", "The preview is starting."
_ASLEEP, _WAKING = "The preview is asleep.", "The preview is waking up."
_COMING_UP = frozenset({State.QUEUED, State.STARTING, State.BUILDING, State.UPDATING})
"""States in which a deployment is on its way."""
_OF_GIT = ("source-", "repository-missing", "commit-missing")


@dataclass(frozen=True, slots=True)
class Status:
    """The state with a sentence that explains it.

    Args:
        reason: the reason slug of a failure or a suspension, empty otherwise.
        lines: the last lines of the log if they explain the state.
        findings: what may explain why it can't start; see `Manifest.findings`.
        place: the place in the queue, from 1; 0 for none.
    """

    state: State
    message: str
    hint: str = ""
    reason: str = ""
    lines: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    place: int = 0

    @property
    def lines_title(self) -> str:
        """What the lines are."""
        if self.state is State.BUILDING:
            return "Build log"
        if self.reason.startswith(_OF_GIT):
            return "What git printed"
        return _LINES_TITLES.get(self.reason, "Last lines of the log")

    @property
    def settled(self) -> bool:
        """Whether the state changes only by an event from outside."""
        in_progress = (State.QUEUED, State.STARTING, State.BUILDING, State.UPDATING, State.WAKING)
        return self.state not in in_progress


def status_of(environment: Environment, deployment: Deployment | None) -> Status:
    """The status of an environment.

    Args:
        deployment: of the desired generation; None before its first action.
    """
    desired = environment.desired
    if not desired.is_present:
        return Status(State.GONE, _gone(environment))
    if desired.suspension is not None:
        return _suspended(desired.suspension)
    if desired.is_asleep:
        return _asleep(deployment)
    if environment.is_waking:
        return Status(State.WAKING, _WAKING)
    if deployment is not None and deployment.attempt.final:
        return _failed(environment, deployment)
    return _in_progress(environment, deployment)


def status_when_awake(environment: Environment, deployment: Deployment | None) -> Status:
    """The status that an environment which sleeps or wakes has when it is awake; of another one, its own."""
    if environment.desired.is_asleep:
        environment = replace(environment, desired=environment.desired.resumed())
    return status_of(replace(environment, asleep_runs=frozenset()), deployment)


def summary_of(
    environment: Environment, status: Status, deployment: Deployment | None, serving: Deployment | None
) -> str:
    """Which commit is deployed and which one visitors see, in one or two sentences for people.

    Args:
        deployment: of the desired generation.
        serving: of the generation that visitors see, if that is another one.
    """
    if status.state not in _PROGRESS:
        return status.message
    sha = deployed_sha(environment, deployment)
    commit, older = sha[:7], serving.revision.sha[:7] if serving else ""
    progress = _PROGRESS[status.state]
    if status.state is State.DEGRADED and deployment is not None:
        progress = f"is live, but {_failed_services(deployment)}"
    elif status.state in (State.FAILED, State.FAILED_UPDATE) and deployment is not None:
        progress = _FAILURES[deployment.stage]
    elif (
        status.state is State.UPDATING and deployment and phase_of(deployment, environment) is Phase.BUILDING
    ):
        progress = _PROGRESS[State.BUILDING]
    text = f"{f'Commit {commit}' if commit else 'The preview'} {progress}."
    if status.state not in (State.UPDATING, State.FAILED_UPDATE):
        head = environment.desired.revision.sha
        return text if sha == head else f"{text} It was rolled back from {head[:7]}."
    return f"{text} Visitors still see {older if older not in ('', commit) else 'the previous deployment'}."


def _failed_services(deployment: Deployment) -> str:
    """The services that failed, as the words after "is live, but"."""
    names = list(degraded(deployment.attempt))
    return f"the {_listed('service', names)} {'isn' if len(names) == 1 else 'aren'}'t running"


_PROGRESS = {
    State.LIVE: "is live",
    State.DEGRADED: "is live, but degraded",
    State.UNRESPONSIVE: "is live, but the application doesn't respond",
    State.BUILDING: "is being built",
    State.STARTING: "is starting",
    State.UPDATING: "is starting",
    State.FAILED: "failed",
    State.FAILED_UPDATE: "failed",
    State.ASLEEP: "is asleep; the next visit wakes it",
    State.WAKING: "is waking up",
}
_FAILURES = {
    "building": "failed to build",
    "starting": "failed to start",
    "checking": "didn't become healthy",
    "running": "stopped running",
}
"""By the stage that a deployment had reached."""


def page_of(
    environment: Environment, status: Status, log_url: str = "", deployment: Deployment | None = None
) -> Page:
    """The page that visitors of the environment's host see while no instance serves.

    Args:
        log_url: Stager's own page about the environment.
        deployment: of the desired generation; None before its first action.
    """
    change, is_current = environment.change, deployment is not None and _has_stage(status)
    current = deployment if is_current else None
    return Page(
        state=_page_state(status),
        name=environment.name,
        app=environment.app,
        message=_progress(environment, status, current),
        hint=status.hint,
        lines=status.lines,
        url=change.url if change else "",
        log_url=log_url,
        reason=status.reason,
        lines_title=status.lines_title if status.lines else "",
        findings=status.findings,
        stage=_stage(environment, current) if current else "",
        stages=current.stages if current else (),
        place=status.place,
        author=change.author if change else "",
        number=change.number if change else 0,
        since=int(current.created_at.timestamp()) if current and status.state in _COMING_UP else 0,
    )


def _page_state(status: Status) -> PageState:
    if status.place:
        return "queued"
    if status.state is State.REFUSED:
        return _SUSPENDED_PAGES.get(status.reason, "refused")
    return _PAGES[status.state]


def _has_stage(status: Status) -> bool:
    return status.state in _COMING_UP or status.state in (State.FAILED, State.FAILED_UPDATE)


def _stage(environment: Environment, deployment: Deployment) -> str:
    phase = phase_of(deployment, environment)
    if phase is Phase.FAILED:
        return deployment.stage
    return phase.value if phase.value in deployment.stages else ""


def _progress(environment: Environment, status: Status, deployment: Deployment | None) -> str:
    """What the page says about the state, besides its headline: the status's message, or what isn't ready yet
    of a deployment that starts."""
    if status.message not in (_BUILDING, _STARTING, _ASLEEP, _WAKING):
        return status.message
    if deployment is None or status.state is not State.STARTING:
        return ""
    services = service_statuses(environment, deployment)
    others = [each.service.name for each in services if each.state in UNREADY and not each.service.is_main]
    if others:
        return f"The {_listed('service', others)} {'is' if len(others) == 1 else 'are'} starting."
    if phase_of(deployment, environment) is Phase.CHECKING:
        return "The application was started, but doesn't respond yet."
    return ""


def _listed(noun: str, names: Sequence[str]) -> str:
    """The names, after the noun in its right form."""
    if len(names) == 1:
        return f"{noun} {names[0]}"
    return f"{noun}s {', '.join(names[:-1])} and {names[-1]}"


def _gone(environment: Environment) -> str:
    if environment.change:
        return f"Pull request #{environment.change.number} is closed, so its preview was removed."
    return "This preview was removed."


def _asleep(deployment: Deployment | None) -> Status:
    message, hint = _ASLEEP, "The next visit wakes it."
    if deployment is not None and deployment.attempt.final and (outcome := deployment.attempt.outcome):
        message = f"{message} It has the previous commit, because the newest one failed: {outcome.message}"
    return Status(State.ASLEEP, message, hint)


def _suspended(suspension: Suspension) -> Status:
    if suspension.reason is SuspensionReason.QUEUED:
        return _queued(suspension, f"This preview is number {suspension.place} in the queue.")
    state = State.REFUSED if suspension.reason in BY_POLICY else State.STOPPED
    if suspension.reason is SuspensionReason.EXPIRED:
        state = State.EXPIRED
    return Status(state, suspension.message, suspension.hint, suspension.reason.value)


def _queued(suspension: Suspension, place: str) -> Status:
    message = f"{suspension.message} {place}"
    return Status(State.QUEUED, message, suspension.hint, suspension.reason.value, place=suspension.place)


def rarely_changing(environment: Environment, status: Status) -> Status:
    """The status with an approximate place in the queue, for reports that should change rarely: forges limit
    requests, and each preview that leaves the queue changes the places of all behind it."""
    suspension = environment.desired.suspension
    if status.state is not State.QUEUED or suspension is None or suspension.place <= PLACES[0]:
        return status
    passed = max(step for step in PLACES if step < suspension.place)
    return _queued(suspension, f"{passed} or more previews are before this one in the queue.")


def _failed(environment: Environment, deployment: Deployment) -> Status:
    outcome = deployment.attempt.outcome or Outcome("fault", "cause-unknown", "The deployment failed.")
    state = State.FAILED if environment.serving is None else State.FAILED_UPDATE
    text = outcome.detail or deployment.log
    names_stage = outcome.reason == "build-failed"
    return Status(
        state,
        outcome.message if names_stage else f"Failed while {deployment.stage}: {outcome.message}",
        outcome.hint,
        outcome.reason,
        tuple(lines_on_screen(text)[-LINES_SHOWN:]),
        tuple(map(as_on_screen, deployment.manifest.findings)),
    )


def _degraded(failures: list[Outcome]) -> Status:
    """The status of a live preview, some of whose services failed. The first one's log is shown."""
    first = failures[0]
    return Status(
        State.DEGRADED,
        " ".join(failure.message for failure in failures),
        first.hint,
        first.reason,
        tuple(lines_on_screen(first.detail)[-LINES_SHOWN:]),
    )


def _in_progress(environment: Environment, deployment: Deployment | None) -> Status:
    if environment.serving == environment.desired.generation:
        outcome = deployment.attempt.outcome if deployment else None
        if outcome is not None and outcome.reason == UNRESPONSIVE:
            return Status(State.UNRESPONSIVE, outcome.message, outcome.hint, outcome.reason)
        if deployment is not None and (failures := degraded(deployment.attempt)):
            return _degraded(list(failures.values()))
        note = deployment.manifest.note if deployment else ""
        return Status(State.LIVE, "The preview is live.", note)
    is_building = deployment is not None and phase_of(deployment, environment) is Phase.BUILDING
    first = State.BUILDING if is_building else State.STARTING
    state = first if environment.serving is None else State.UPDATING
    outcome = deployment.attempt.outcome if deployment else None
    if outcome is not None:
        return Status(state, f"{outcome.message} Trying again.", outcome.hint, outcome.reason)
    return Status(state, _BUILDING if is_building else _STARTING)
