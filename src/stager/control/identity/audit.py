"""The audit log: who did what, when, from where, and with what result. Append-only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

import structlog

from stager.control.identity.refusals import Refusal, Refusals
from stager.domain.errors import Refused, StagerError
from stager.domain.identity.accounts import AuditFilter, AuditRecord
from stager.domain.identity.actor import Actor
from stager.domain.unexpected import ending_of
from stager.ports.accounts import EVERY
from stager.ports.clock import Clock
from stager.ports.store import Store

log = structlog.get_logger(__name__)

SIGN_IN = "sign-in"
ANONYMOUS = "anonymous"
"""The actor of unauthenticated requests in the log."""

DONE, REFUSED, FAILED = "done", "refused", "failed"
LONGEST_SUBJECT = 300
"""Characters, so that unauthenticated requests can't fill the disk."""


class Audit:
    """Writes and reads the audit log."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._refusals = Refusals(self._write_refusal, clock.now)

    async def record(
        self, actor: Actor, action: str, *, app: str = "", subject: str = "", result: str, detail: str = ""
    ) -> None:
        """Add a record. Raises as the store does: an action that can't be recorded isn't done."""
        await self._write(
            AuditRecord(self._clock.now(), str(actor), actor.address, action, app, subject, result, detail)
        )

    async def _write(self, entry: AuditRecord) -> None:
        entry = replace(entry, app=entry.app[:100], subject=entry.subject[:LONGEST_SUBJECT])
        await self._store.write(lambda tx: tx.append_audit_record(entry))
        facts = {name: getattr(entry, name) for name in ("actor", "action", "app", "subject", "result")}
        log.info("audit", **facts)

    def refused(
        self, actor: Actor, action: str, *, app: str = "", subject: str = "", reason: str = ""
    ) -> None:
        """Count a refused request. One record per minute and kind is written, because anyone can send any
        number."""
        self._refusals.add(
            Refusal(actor.name[:100], actor.by, actor.address, action, app[:100], subject[:100], reason)
        )

    async def _write_refusal(self, refusal: Refusal, since: datetime, count: int) -> None:
        detail = refusal.reason if count == 1 else f"{refusal.reason} ({count} times)"
        scope = (refusal.address, refusal.action, refusal.app, refusal.subject)
        await self._write(AuditRecord(since, str(refusal.actor), *scope, REFUSED, detail))

    async def flush(self) -> None:
        """Write the records of refused requests that were counted so far."""
        await self._refusals.flush()

    @asynccontextmanager
    async def recorded(
        self, actor: Actor, action: str, app: str = "", subject: str = ""
    ) -> AsyncIterator[None]:
        """Record the `async with` body with its result, also when it raises."""
        try:
            yield
        except Exception as error:
            known = ending_of(error)
            result = result_of(known)
            await self.record(actor, action, app=app, subject=subject, result=result, detail=known.reason)
            raise
        await self.record(actor, action, app=app, subject=subject, result=DONE)

    async def entries(
        self, *, limit: int, before: int | None = None, only: AuditFilter = EVERY
    ) -> list[AuditRecord]:
        """Return matching records, newest first, including the refused requests of the last minute."""
        await self.flush()
        return await self._store.read(lambda tx: tx.audit_records(limit=limit, before=before, only=only))


def result_of(error: StagerError) -> str:
    """Return the result to record for an error."""
    return REFUSED if isinstance(error, Refused) else FAILED
