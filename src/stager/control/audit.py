"""The audit log: who did what, when, from where, with what result. Only ever added to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from stager.domain.actor import Actor
from stager.domain.errors import Refused, StagerError
from stager.domain.ledger import Entry
from stager.ports.clock import Clock
from stager.ports.store import Store

log = structlog.get_logger(__name__)

DONE, REFUSED, FAILED = "done", "refused", "failed"
LONGEST_SUBJECT = 300
"""Characters; what strangers send mustn't fill the disk."""


class Audit:
    """Writes and reads the log."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def record(
        self, actor: Actor, action: str, *, app: str = "", subject: str = "", result: str, detail: str = ""
    ) -> None:
        """Add a line. Raises as the store does: what can't be written down isn't done."""
        subject = subject[:LONGEST_SUBJECT]
        entry = Entry(
            self._clock.now(), str(actor), actor.address, action, app[:100], subject, result, detail
        )
        await self._store.write(lambda tx: tx.record(entry))
        log.info("audit", actor=entry.actor, action=action, app=app, subject=subject, result=result)

    @asynccontextmanager
    async def of(self, actor: Actor, action: str, app: str = "", subject: str = "") -> AsyncIterator[None]:
        """What happens inside is recorded with how it ended, by itself: also when it is refused."""
        try:
            yield
        except StagerError as error:
            result, why = result_of(error), error.reason
            await self.record(actor, action, app=app, subject=subject, result=result, detail=why)
            raise
        await self.record(actor, action, app=app, subject=subject, result=DONE)

    async def entries(self, *, limit: int, before: int | None = None) -> list[Entry]:
        """See `ports.ledger.Ledger.entries`."""
        return await self._store.read(lambda tx: tx.entries(limit=limit, before=before))


def result_of(error: StagerError) -> str:
    """What the log says of something that ended so."""
    return REFUSED if isinstance(error, Refused) else FAILED
