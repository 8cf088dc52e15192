"""What happened to an environment, as its page and the API list it: from its deployments and from the audit
log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import zip_longest

from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.identity.accounts import AuditRecord

ACTION_WORDS = {
    "launch": "Launched",
    "kill": "Removed",
    "redeploy": "Redeployed",
    "roll-back": "Rolled back",
    "approve": "Approved a commit",
    "keep": "Pinned or extended",
    "sleep": "Put to sleep",
    "wake": "Woken",
    "reset": "Reset the data",
    "share": "Created or revoked a share link",
    "exec": "Ran a command",
    "evict": "Removed to make room",
    "rotate": "Removed to make room",
}
"""Of the audit log. Other actions are shown by their names."""


class EventKind(StrEnum):
    """The kinds of events."""

    PUSH = "push"
    """A deployment of another commit than the one before."""
    DEPLOYMENT = "deployment"
    LIVE = "live"
    FAILED = "failed"
    ACTION = "action"
    """Somebody's action, from the audit log."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an environment.

    Args:
        words: a sentence without its full stop.
        generation: of the deployment; 0 for none.
        detail: why it failed, or the reason slug of the audit log; may be empty.
        result: of an action: `done`, `refused` or `failed`.
        seq: of the audit record; 0 for an event of a deployment.
    """

    at: datetime
    kind: EventKind
    words: str
    generation: int = 0
    detail: str = ""
    actor: str = ""
    result: str = ""
    seq: int = 0


def events_of(deployments: Sequence[Deployment]) -> list[Event]:
    """Return the events of an environment's deployments, newest first.

    Args:
        deployments: newest first.
    """
    pairs = zip_longest(deployments, deployments[1:])
    found = (event for newer, older in pairs for event in _events(newer, older))
    return sorted(found, key=lambda event: event.at, reverse=True)


def _events(deployment: Deployment, before: Deployment | None) -> Iterator[Event]:
    number, sha, outcome = deployment.generation, deployment.revision.sha, deployment.attempt.outcome
    if deployment.attempt.final and outcome is not None:
        yield Event(
            _last(deployment), EventKind.FAILED, f"Deployment {number} failed", number, outcome.message
        )
    if deployment.live_at is not None:
        yield Event(deployment.live_at, EventKind.LIVE, f"Deployment {number} became live", number)
    is_push = bool(sha) and (before is None or before.revision.sha != sha)
    kind = EventKind.PUSH if is_push else EventKind.DEPLOYMENT
    of = f" of commit {sha[:7]}" if sha else ""
    yield Event(deployment.created_at, kind, f"Deployment {number}{of} was requested", number)


def _last(deployment: Deployment) -> datetime:
    """The last time that is known of a deployment that failed."""
    stamps = (deployment.building_at, deployment.starting_at, deployment.checking_at, deployment.ended_at)
    return max(filter(None, stamps), default=deployment.created_at)


def concerns(record: AuditRecord, environment: Environment) -> bool:
    """Whether an audit record is about this environment. That of a launch or kill by name has only the
    name."""
    return record.app == environment.app and (
        record.subject == environment.name or record.subject.endswith(f"({environment.id})")
    )


def event_of(record: AuditRecord) -> Event:
    """Return an audit record as an event."""
    words = ACTION_WORDS.get(record.action, record.action)
    return Event(
        record.at,
        EventKind.ACTION,
        words,
        detail=record.detail,
        actor=record.actor,
        result=record.result,
        seq=record.seq,
    )
