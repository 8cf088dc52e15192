"""Retention: deletes records of removed environments and of old deliveries."""

from __future__ import annotations

from datetime import timedelta

import structlog

from stager.ports.clock import Clock
from stager.ports.store import Store

log = structlog.get_logger(__name__)

MIN_DELIVERY_RETENTION = timedelta(days=7)
"""Deliveries are kept at least this long, whatever is configured for previews: one that is sent again within
this time isn't processed twice."""


class Retention:
    """Deletes old records.

    Args:
        keep_gone: how long records of removed environments are kept.
    """

    def __init__(self, store: Store, clock: Clock, keep_gone: timedelta) -> None:
        self._store = store
        self._clock = clock
        self._keep_gone = keep_gone

    async def delete_old(self) -> None:
        """Delete what is older than its retention."""
        now = self._clock.now()
        deliveries_before = now - max(self._keep_gone, MIN_DELIVERY_RETENTION)
        rows = await self._store.write(
            lambda tx: tx.delete_expired(now - self._keep_gone, deliveries_before=deliveries_before)
        )
        if rows:
            log.info("retention_deleted", rows=rows)
