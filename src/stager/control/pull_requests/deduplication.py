"""What forges tell that is to be acted on once: commands in comments, and that a change was reopened.

A repeated delivery has the same id and is recognised by that. But the id isn't signed: a copy of a delivery
can be sent under another id, at any time. So what it tells is remembered itself, and what is older than what
forges deliver again isn't acted on.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from stager.domain.pull_requests.events import ChangeSeen, CommandSaid
from stager.ports.clock import Clock
from stager.ports.store import Store, Transaction

OLDEST: Final = timedelta(days=4)
"""GitHub delivers again what is up to three days old (GitHub docs, Redelivering webhooks). What was acted on
is remembered for longer."""


class Once:
    """Tells what was acted on."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def repeated(self, event: CommandSaid | ChangeSeen) -> str:
        """Why the event isn't to be acted on any more; empty when it is."""
        repository, name, at = _told(event)
        if at is not None and at < self._clock.now() - OLDEST:
            return f"it is older than {OLDEST.days} days"
        known = await self._store.read(lambda tx: tx.is_processed(repository, name))
        return "it was acted on before" if known else ""

    def remember(self, tx: Transaction, event: CommandSaid | ChangeSeen) -> None:
        """Write down that the event was acted on."""
        repository, name, _ = _told(event)
        tx.mark_processed(repository, name, self._clock.now())


def _told(event: CommandSaid | ChangeSeen) -> tuple[str, str, datetime | None]:
    """The repository's id, what the event is called among its others, and when it happened."""
    if isinstance(event, CommandSaid):
        return event.repository.id, f"comment:{event.comment}", event.said_at
    change = event.change
    stamp = change.updated_at.isoformat()
    return change.repository.id, f"{event.action}:{change.number}:{stamp}", change.updated_at
