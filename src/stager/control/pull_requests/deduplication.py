"""Events that must take effect only once: comment commands, and reopened changes.

A redelivery has the same delivery id and is recognised by it. But the id isn't signed: a copy of a delivery
can be sent with another id, at any time. Therefore the events themselves are recorded, and events older than
forges redeliver are ignored.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from stager.domain.pull_requests.events import ChangeEvent, CommentAdded
from stager.ports.clock import Clock
from stager.ports.store import Store, Transaction

OLDEST: Final = timedelta(days=4)
"""GitHub redelivers up to three days (GitHub docs, Redelivering webhooks). Records of events are kept for
longer."""


class Deduplication:
    """Records the events that took effect."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def repeated(self, event: CommentAdded | ChangeEvent) -> str:
        """Why the event must be ignored; empty when it mustn't."""
        repository, name, at = _identity(event)
        if at is not None and at < self._clock.now() - OLDEST:
            return f"it is older than {OLDEST.days} days"
        known = await self._store.read(lambda tx: tx.is_processed(repository, name))
        return "it took effect before" if known else ""

    def remember(self, tx: Transaction, event: CommentAdded | ChangeEvent) -> None:
        """Record that the event took effect."""
        repository, name, _ = _identity(event)
        tx.mark_processed(repository, name, self._clock.now())


def _identity(event: CommentAdded | ChangeEvent) -> tuple[str, str, datetime | None]:
    """The repository's id, the event's name within the repository, and its time."""
    if isinstance(event, CommentAdded):
        return event.repository.id, f"comment:{event.comment}", event.created_at
    change = event.change
    stamp = change.updated_at.isoformat()
    return change.repository.id, f"{event.action}:{change.number}:{stamp}", change.updated_at
