"""Events of a forge, parsed from its wire format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from stager.domain.identity.actor import Actor
from stager.domain.source import Change, Repository


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
