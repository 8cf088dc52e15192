"""What a forge tells us, read out of its wire format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from stager.domain.identity.actor import Actor
from stager.domain.source import Change, Repository


class ChangeAction(StrEnum):
    """What happened to a change. What isn't listed has no effect on previews."""

    OPENED = "opened"
    REOPENED = "reopened"
    SYNCHRONIZE = "synchronize"
    """New commits; also what a resync says of an open change that it finds."""
    CLOSED = "closed"
    EDITED = "edited"
    """Something about it changed that rules may look at: labels, draft or not, title, description, base. The
    head is the same, so by itself it asks for nothing new."""


@dataclass(frozen=True, slots=True)
class ChangeSeen:
    """A change was opened, pushed to, edited, reopened or closed.

    Args:
        app: the entry under `images:` that the base repository belongs to; empty until intake has found it.
        confirmed: whether the forge was asked just now, so that its stamp alone says how new this is.
    """

    action: ChangeAction
    change: Change
    app: str = ""
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class CommandSaid:
    """Somebody commented on a change, beginning with `/stager`. What its author may do isn't known yet.

    Args:
        author: the login.
        text: the comment from its first line on, of bounded length.
        comment: its id, to react to.
        said_at: when it was written; None where the forge doesn't tell.
    """

    repository: Repository
    number: int
    author: str
    text: str
    comment: str
    said_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ChecksEnded:
    """Some check of a commit came to its end; whether all of them have, the forge tells who asks."""

    repository: Repository
    sha: str


@dataclass(frozen=True, slots=True)
class MergeQueued:
    """A merge queue made a commit of several changes, and waits for the required checks of it."""

    repository: Repository
    sha: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """A delivery that concerns nothing here, with the reason that its record keeps."""

    reason: str
    repository: Repository | None = None


Event = ChangeSeen | CommandSaid | ChecksEnded | MergeQueued | Ignored


@dataclass(frozen=True, slots=True)
class Call:
    """A request to `/event_receiver` with a parameter `action`, for a listener to answer.

    Args:
        name: the action.
        parameters: all the others.
        actor: who asks; None for a listener that doesn't require authentication.
        method: the request's.
        address: the network address that it came from, as far as that is known.
    """

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    actor: Actor | None = None
    method: str = "POST"
    address: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message of a forge, verified but not yet read.

    Args:
        id: the forge's own, by which repetitions are told; a redelivery bears the same one.
        event: the forge's name for the kind of event, such as `pull_request`.
        payload: the body as JSON text.
    """

    id: str
    forge: str
    event: str
    payload: str
