"""What people are told of an environment. One table, from which the visitor's page, the pull request and the
API are made, so that they never disagree."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stager.domain.attempts import UNRESPONSIVE
from stager.domain.deployment import Deployment, Phase, phase_of
from stager.domain.environment import BY_POLICY, Environment, Suspension
from stager.domain.errors import Outcome
from stager.domain.route import Page, PageState
from stager.domain.text import lines_on_screen

LINES_SHOWN = 30


class State(StrEnum):
    """An environment's state in one word."""

    STARTING = "starting"
    BUILDING = "building"
    LIVE = "live"
    UNRESPONSIVE = "unresponsive"
    """Live, but its application has stopped answering."""
    UPDATING = "updating"
    """Live with an older revision while a newer one comes up."""
    FAILED = "failed"
    FAILED_UPDATE = "failed-update"
    """Live with an older revision; the newest one failed."""
    STOPPED = "stopped"
    REFUSED = "refused"
    GONE = "gone"


_PAGES: dict[State, PageState] = {
    State.STARTING: "starting",
    State.BUILDING: "starting",
    State.LIVE: "starting",
    State.UNRESPONSIVE: "starting",
    State.UPDATING: "starting",
    State.FAILED: "failed",
    State.FAILED_UPDATE: "failed",
    State.STOPPED: "stopped",
    State.REFUSED: "refused",
    State.GONE: "gone",
}


@dataclass(frozen=True, slots=True)
class Status:
    """The state with its sentence.

    Args:
        reason: a slug where something is the matter, empty otherwise.
        lines: the last lines of the log where they explain the state.
    """

    state: State
    message: str
    hint: str = ""
    reason: str = ""
    lines: tuple[str, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state not in (State.STARTING, State.BUILDING, State.UPDATING)


def status_of(environment: Environment, deployment: Deployment | None) -> Status:
    """The status of an environment.

    Args:
        deployment: of the desired generation; None before its first step.
    """
    desired = environment.desired
    if not desired.is_present:
        return Status(State.GONE, _gone(environment))
    if desired.suspension is not None:
        return _suspended(desired.suspension)
    if deployment is not None and deployment.attempt.final:
        return _failed(environment, deployment)
    return _coming_up(environment, deployment)


def page_of(environment: Environment, status: Status) -> Page:
    """What a visitor of the environment's host sees while nothing serves there."""
    return Page(
        state=_PAGES[status.state],
        name=environment.name,
        app=environment.app,
        message=status.message,
        hint=status.hint,
        lines=status.lines,
        url=environment.change.url if environment.change else "",
    )


def _gone(environment: Environment) -> str:
    if environment.change:
        return f"Pull request #{environment.change.number} is closed, and its preview went with it."
    return "This preview was removed."


def _suspended(suspension: Suspension) -> Status:
    state = State.REFUSED if suspension.reason in BY_POLICY else State.STOPPED
    return Status(state, suspension.message, suspension.hint, suspension.reason.value)


def _failed(environment: Environment, deployment: Deployment) -> Status:
    outcome = deployment.attempt.outcome or Outcome("fault", "cause-unknown", "The deployment failed.")
    state = State.FAILED if environment.serving is None else State.FAILED_UPDATE
    text = outcome.detail or deployment.log
    says_where = outcome.reason == "build-failed"
    return Status(
        state,
        outcome.message if says_where else f"Failed while {deployment.stage}: {outcome.message}",
        outcome.hint,
        outcome.reason,
        tuple(lines_on_screen(text)[-LINES_SHOWN:]),
    )


def _coming_up(environment: Environment, deployment: Deployment | None) -> Status:
    if environment.serving == environment.desired.generation:
        outcome = deployment.attempt.outcome if deployment else None
        if outcome is not None and outcome.reason == UNRESPONSIVE:
            return Status(State.UNRESPONSIVE, outcome.message, outcome.hint, outcome.reason)
        note = deployment.manifest.note if deployment else ""
        return Status(State.LIVE, "The preview is live.", note)
    is_built = deployment is not None and phase_of(deployment, environment) is Phase.BUILDING
    first = State.BUILDING if is_built else State.STARTING
    state = first if environment.serving is None else State.UPDATING
    outcome = deployment.attempt.outcome if deployment else None
    if outcome is not None:
        return Status(state, f"{outcome.message} Trying again.", outcome.hint, outcome.reason)
    return Status(state, "The preview is being built." if is_built else "The preview is starting.")
