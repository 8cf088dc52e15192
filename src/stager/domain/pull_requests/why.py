"""Why a pull request or a branch has no preview: the rule that decides, from what is recorded.

A pure function. The facts are those of one repository and one pull request or branch; what the actor may not
see isn't among them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType

from stager.domain.application import Application
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment, Suspension, SuspensionReason
from stager.domain.errors import Refused
from stager.domain.pull_requests.rules import FORKS_ARE_OFF, refusal
from stager.domain.source import Change, Trust
from stager.domain.status import State, Status, status_of, summary_of

_SETTINGS = MappingProxyType(
    {
        "bot": "pull_requests.bots",
        "author": "pull_requests.authors",
        "base-branch": "pull_requests.bases",
        "draft": "pull_requests.drafts",
        "label-missing": "pull_requests.labels",
        "label-forbidden": "pull_requests.without_labels",
        "title-mismatch": "pull_requests.title",
        "title-forbidden": "pull_requests.without_title",
        "paths": "pull_requests.paths",
        "checks-none": "pull_requests.wait_for_checks",
        "checks-pending": "pull_requests.wait_for_checks",
        "checks-failure": "pull_requests.wait_for_checks",
        "fork": "forks",
        "approval": "forks",
        "expired": "expire_after",
    }
)
"""Where a rule is set, below the application's entry in the configuration."""

_OF_CAPACITY = frozenset({"previews", "running", "memory", "machine-memory", "disk", "machine-disk"})
"""Resources that a preview waits for."""

LONGEST_TARGET, LONGEST_NUMBER = 600, 9
_TARGET = re.compile(
    r"(?:https?://[\w.:-]+/)?(?P<repository>[\w.-]+/[\w.-]+?)(?:/pulls?/(?P<number>\d+)(?:/.*)?|#(?P<last>\S+))",
    re.ASCII,
)
ASK = "Ask an administrator to look at the page Deliveries."


@dataclass(frozen=True, slots=True)
class Why:
    """The answer.

    Args:
        code: a slug that means one thing, such as `base-branch`; `live` if there is a preview.
        message: a sentence.
        hint: what to do; may be empty.
        rule: the setting that decides, such as `images.shop.pull_requests.bases`; empty if none does.
    """

    code: str
    message: str
    hint: str = ""
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A pull request or branch of a repository.

    Args:
        repository: `OWNER/NAME`.
        number: of the pull request; 0 for a branch.
        branch: empty for a pull request.
    """

    repository: str
    number: int = 0
    branch: str = ""

    def __str__(self) -> str:
        return f"{self.repository}#{self.number or self.branch}"


def target_of(text: str) -> Target:
    """Read `OWNER/NAME#NUMBER`, `OWNER/NAME#BRANCH`, or the address of a pull request.

    Raises:
        Refused: `target-invalid`.
    """
    found = _TARGET.fullmatch(text.strip()[:LONGEST_TARGET])
    if found is None:
        raise Refused(
            "That isn't a pull request or a branch.",
            hint="Write it as `acme/shop#7` or `acme/shop#feature-x`, or paste the pull request's address.",
            reason="target-invalid",
        )
    repository, number, last = found["repository"], found["number"], found["last"]
    if number or last.isdecimal():
        return Target(repository, int((number or last)[:LONGEST_NUMBER]))
    return Target(repository, branch=last)


@dataclass(frozen=True, slots=True)
class LastDelivery:
    """The newest delivery about a pull request.

    Args:
        outcome: in words; empty while it waits.
    """

    event: str
    outcome: str
    is_set_aside: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What is recorded about a pull request or branch.

    Args:
        target: what the question is about.
        application: None if no application is for the repository.
        unbound: why the repository belongs to no application, if it is known.
        is_pull_request: False for a branch.
        change: the newest known state of the pull request.
        environment: its preview, also a removed one.
        deployment: of the desired generation.
        serving: the deployment that visitors see, if that is another one.
        delivery: the newest about the pull request.
        has_deliveries: whether any delivery of this repository was accepted.
        refused: the cause for which deliveries were refused since the last accepted one, a sentence; empty
            for none.
        has_forge: whether Stager can ask the forge.
        shows_deliveries: whether the answer may quote deliveries.
    """

    target: Target
    application: Application | None = None
    unbound: str = ""
    is_pull_request: bool = True
    change: Change | None = None
    environment: Environment | None = None
    deployment: Deployment | None = None
    serving: Deployment | None = None
    delivery: LastDelivery | None = None
    has_deliveries: bool = False
    refused: str = ""
    has_forge: bool = True
    shows_deliveries: bool = False


def why(facts: Facts) -> Why:
    """The rule that decides about the preview."""
    environment = facts.environment
    if environment is not None and environment.desired.is_present:
        return _of_environment(facts, environment)
    if facts.application is None:
        return _without_application(facts)
    if facts.change is not None and not facts.change.is_open:
        return _closed(facts)
    return _of_delivery(facts) or _without_environment(facts, facts.application)


def unknown(target: Target) -> Why:
    """The answer about a repository that no application is for, and about one that the actor may not "
    "see."""
    repository = target.repository
    return Why(
        "application-unknown",
        f"No application is for {repository}, or you may not see its previews.",
        f"An administrator adds an entry with `repo: {repository}` under `images:`, or gives you a role.",
        "images",
    )


def _of_environment(facts: Facts, environment: Environment) -> Why:
    suspension = environment.desired.suspension
    if suspension is not None:
        return _suspended(environment, suspension)
    status = status_of(environment, facts.deployment)
    message = summary_of(environment, status, facts.deployment, facts.serving)
    if status.state in (State.FAILED, State.FAILED_UPDATE):
        return Why(status.reason or "failed", _failed(message, status), status.hint)
    return Why(status.state.value, message, status.hint)


def _failed(summary: str, status: Status) -> str:
    return summary if status.message in summary else f"{summary} {status.message}"


def _suspended(environment: Environment, suspension: Suspension) -> Why:
    code = suspension.rule or suspension.reason.value
    if suspension.reason is SuspensionReason.QUEUED:
        place = f" Its place in the queue is {suspension.place}." if suspension.place else ""
        rule = "capacity" if code in _OF_CAPACITY else ""
        return Why(f"queued-{code}", f"{suspension.message}{place}", suspension.hint, rule)
    return Why(code, suspension.message, suspension.hint, _setting(environment.app, code))


def _setting(app: str, code: str) -> str:
    """Where the rule is set; empty if it isn't a setting."""
    key = _SETTINGS.get(code, "")
    return f"images.{app}.{key}" if key else ""


def _without_application(facts: Facts) -> Why:
    if facts.unbound.startswith("refused"):
        return _bound_elsewhere(
            facts.unbound if facts.shows_deliveries else "an entry of images names another one"
        )
    repository = facts.target.repository
    return Why(
        "no-application",
        f"No application is for {repository}.",
        f"Add an entry with `repo: {repository}` under `images:`.",
        "images",
    )


def _bound_elsewhere(outcome: str) -> Why:
    text = outcome.removeprefix("refused: ")
    return Why("repository-bound", f"The repository belongs to no application: {text}.", "", "images")


def _closed(facts: Facts) -> Why:
    merged = facts.change is not None and facts.change.merged
    return Why(
        "merged" if merged else "closed",
        f"{facts.target} is {'merged' if merged else 'closed'}; its preview was removed.",
        "" if merged else "Reopen the pull request to bring the preview back.",
    )


def _of_delivery(facts: Facts) -> Why | None:
    """What the newest delivery about it explains; None if it explains nothing."""
    delivery = facts.delivery
    if delivery is None:
        return None
    what = f"The last delivery about it ({delivery.event})"
    if not delivery.outcome:
        return Why("delivery-waiting", f"{what} isn't processed yet.", "Wait some seconds.")
    detail = f": {delivery.outcome.partition(': ')[2].rstrip('.')}" if facts.shows_deliveries else ""
    if delivery.is_set_aside:
        return Why("delivery-set-aside", f"{what} was set aside{detail}.", f"It can be replayed. {ASK}")
    if delivery.outcome.startswith(("failed", "fault")):
        return Why("delivery-failed", f"{what} failed{detail}.", f"It can be replayed. {ASK}")
    return _of_outcome(delivery.outcome, quotes=facts.shows_deliveries)


def _of_outcome(outcome: str, *, quotes: bool) -> Why | None:
    """What the outcome of a processed delivery explains; None if it explains nothing.

    Args:
        quotes: whether it may be quoted. It may name other applications.
    """
    if outcome.startswith("retry:"):
        return _forge_down(outcome, quotes=quotes)
    if outcome.startswith("ignored: no listener"):
        hint = "Add `LaunchOnGithubPullRequestOpened` to `event_listeners`."
        return Why("no-listener", "No event listener launches pull requests.", hint, "event_listeners")
    if outcome.startswith("refused: images."):
        return _bound_elsewhere(outcome if quotes else "an entry of images names another repository")
    if "skipped by" in outcome:
        return Why("listener", f"The last delivery about it was {outcome.removeprefix('ignored: ')}.")
    return None


def _forge_down(outcome: str, *, quotes: bool) -> Why:
    text = outcome.partition(": ")[2].rstrip(".")
    code = "forge-rate-limit" if "rate limit" in text else "forge-unavailable"
    if not quotes:
        text = (
            "The forge's rate limit is reached" if code == "forge-rate-limit" else "The forge doesn't answer"
        )
    return Why(code, f"{text}.", "Stager tries again by itself; the next comparison finds the pull request.")


def _without_environment(facts: Facts, application: Application) -> Why:
    if facts.change is not None:
        return _unprocessed(facts, application, facts.change)
    if not facts.is_pull_request:
        return Why(
            "branch-without-pull-request",
            f"No open pull request of {facts.target} is known, and the branch wasn't launched by hand.",
            "Open a pull request, or launch the branch.",
        )
    if facts.refused:
        return Why("delivery-refused", facts.refused, "" if facts.shows_deliveries else ASK)
    return _not_received(facts)


def _unprocessed(facts: Facts, application: Application, change: Change) -> Why:
    broken = refusal(application.rules, change)
    if change.trust is Trust.FORK and application.forks == "off":
        setting = _setting(application.name, "fork")
        return Why("fork", FORKS_ARE_OFF.message, FORKS_ARE_OFF.hint, setting)
    if broken is not None:
        return Why(broken.rule, broken.message, broken.hint, _setting(application.name, broken.rule))
    if facts.environment is not None:
        return Why("removed", "The preview was removed.", "Push, reopen the pull request, or launch it.")
    return Why("not-launched", f"{facts.target} is known, and nothing launched it.", "Push, or launch it.")


def _not_received(facts: Facts) -> Why:
    if not facts.has_forge and not facts.has_deliveries:
        return Why(
            "forge-not-connected",
            "Stager isn't connected to GitHub, and no delivery has arrived.",
            "An administrator connects it on the page /setup/github.",
            "github",
        )
    if not facts.has_deliveries:
        return Why(
            "not-received",
            f"No delivery about {facts.target} or its repository has arrived.",
            "Check the webhook or the App's installation on GitHub: its page lists deliveries and answers.",
        )
    return Why(
        "pull-request-unknown",
        f"No delivery about {facts.target} has arrived; others of its repository have.",
        "Check the number. On GitHub, redeliver the newest event of the pull request.",
    )
