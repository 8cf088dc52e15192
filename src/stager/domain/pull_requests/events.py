"""Events of a forge, parsed from its wire format, and what an event listener decides about them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from stager.domain.identity.actor import Actor
from stager.domain.source import Change, Repository

LONGEST_NAME = 255
"""Characters of a preview's name."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""POSIX names of environment variables (IEEE Std 1003.1, section 8.1), and lower-case letters."""


class ChangeAction(StrEnum):
    """What happened to a change. Other actions have no effect on previews."""

    OPENED = "opened"
    REOPENED = "reopened"
    SYNCHRONIZE = "synchronize"
    """New commits; also the action of a resync's events about open changes."""
    CLOSED = "closed"
    EDITED = "edited"
    """A change of something that rules use: labels, draft state, title, description, base. The head is the
    same, so the preview isn't restarted."""


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """A change was opened, pushed to, edited, reopened or closed.

    Args:
        app: the entry under `images:` that the base repository belongs to; empty until it has been looked up.
        confirmed: whether the state was just read from the forge, so that `updated_at` alone decides how new
        it is.
    """

    action: ChangeAction
    change: Change
    app: str = ""
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class CommentAdded:
    """A comment on a change that begins with `/stager`. The author's permissions aren't checked yet.

    Args:
        author: the login.
        text: the beginning of the comment.
        comment: its id.
        created_at: when it was written; None if unknown.
    """

    repository: Repository
    number: int
    author: str
    text: str
    comment: str
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ChecksCompleted:
    """A check of a commit ended; others may still run."""

    repository: Repository
    sha: str


@dataclass(frozen=True, slots=True)
class MergeQueued:
    """A merge queue created a commit of several changes, and waits for its required checks."""

    repository: Repository
    sha: str


NO_APPLICATION = "ignored: no application is for "
"""How the outcome of a delivery from an unknown repository begins; the repository's name follows."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A delivery without effect, with the reason for its record."""

    reason: str
    repository: Repository | None = None


@dataclass(frozen=True, slots=True)
class AccessGranted:
    """Stager gained access to repositories, which may have open changes: its App was installed."""


Event = ChangeEvent | CommentAdded | ChecksCompleted | MergeQueued | AccessGranted | Ignored


def about_of(event: Event) -> str:
    """What an event is about, such as `acme/shop#7`; empty if it names no repository."""
    match event:
        case ChangeEvent(change=change):
            return f"{change.repository.full_name}#{change.number}"
        case CommentAdded(repository=repository, number=number):
            return f"{repository.full_name}#{number}"
        case ChecksCompleted(repository=repository, sha=sha) | MergeQueued(repository=repository, sha=sha):
            return f"{repository.full_name}@{sha[:7]}"
        case Ignored(repository=Repository() as repository):
            return repository.full_name
        case _:
            return ""


@dataclass(frozen=True, slots=True)
class Call:
    """A request to `/event_receiver` with the parameter `action`, for a listener to answer.

    Args:
        name: the action.
        parameters: all the others.
        actor: the caller; None for a listener that doesn't require authentication.
        method: the request's.
        address: the caller's network address; empty if unknown.
    """

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    actor: Actor | None = None
    method: str = "POST"
    address: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message of a forge, verified but not yet parsed.

    Args:
        id: the forge's id, the same for redeliveries.
        event: the forge's name for the kind of event, such as `pull_request`.
        payload: the body as JSON text.
    """

    id: str
    forge: str
    event: str
    payload: str


@dataclass(frozen=True, slots=True)
class LaunchPreview:
    """Launch the pull request's preview, or refresh it.

    Args:
        name: the preview's name; empty for the name of the branch.
        parameters: environment variables for the instance.
    """

    name: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RemovePreview:
    """Remove the pull request's preview."""


@dataclass(frozen=True, slots=True)
class Skip:
    """No preview of the pull request's current commit; a running one is stopped. After the pull request was
    closed, its preview is left as it is.

    Args:
        reason: shown in the commit status, on the preview's page and in the delivery's outcome.
    """

    reason: str


Decision = LaunchPreview | RemovePreview | Skip


def problem_of(decision: Decision) -> str:
    """What is wrong with the fields of a decision, such as `parameters["PORT"] isn't text`; empty for
    nothing."""
    match decision:
        case LaunchPreview(name, parameters):
            return _problem_of_name(name) or _problem_of_parameters(parameters)
        case RemovePreview():
            return ""
        case Skip(reason):
            return "" if isinstance(reason, str) and reason.strip() else "its reason is missing"


def _problem_of_name(name: object) -> str:
    is_valid = isinstance(name, str) and len(name) <= LONGEST_NAME and name.isprintable()
    return "" if is_valid else f"its name isn't text of at most {LONGEST_NAME} printable characters"


def _problem_of_parameters(parameters: object) -> str:
    if not isinstance(parameters, Mapping):
        return "its parameters aren't a mapping"
    for name, value in parameters.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            return f"{str(name)[:80]!r} isn't the name of an environment variable"
        if not isinstance(value, str) or "\0" in value:
            return f'parameters["{name[:80]}"] isn\'t text'
    return ""
