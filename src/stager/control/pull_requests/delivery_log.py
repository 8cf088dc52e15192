"""The last deliveries and what became of them, for people who look for the reason why nothing happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from stager.control.identity.authorizer import Authorizer
from stager.control.metrics import Metrics
from stager.domain.errors import Refused
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action
from stager.ports.clock import Clock
from stager.ports.store import DeliveryRecord, RefusedDeliveries, Store, Transaction

MAX_LISTED = 200
"""Deliveries in one answer."""

WRITE_INTERVAL = timedelta(seconds=10)
"""Minimum interval between two writes of refused deliveries, of which anyone can send any number."""


@dataclass(frozen=True, slots=True)
class DeliveryOverview:
    """What arrived.

    Args:
        recent: the newest accepted deliveries, the newest first.
        refused: those that weren't accepted, by cause.
    """

    recent: tuple[DeliveryRecord, ...]
    refused: tuple[RefusedDeliveries, ...]


class DeliveryLog:
    """Lists deliveries, and counts those that aren't accepted."""

    def __init__(self, store: Store, clock: Clock, metrics: Metrics, authorizer: Authorizer) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._authorizer = authorizer
        self._unwritten: dict[tuple[str, str], RefusedDeliveries] = {}
        self._written = clock.now() - WRITE_INTERVAL

    async def refused(self, forge: str, error: Refused) -> None:
        """Count a delivery that wasn't accepted."""
        self._metrics.delivery("refused")
        now, key = self._clock.now(), (forge, error.reason)
        before = self._unwritten.get(key)
        count = before.count + 1 if before else 1
        self._unwritten[key] = RefusedDeliveries(forge, error.reason, count, now, error.message, error.hint)
        if now - self._written >= WRITE_INTERVAL:
            await self._write()

    async def recent(self, actor: Actor, limit: int = MAX_LISTED) -> DeliveryOverview:
        """The last deliveries. Raises `Refused` (403) without the permission."""
        await self._authorizer.check(actor, Action.READ_DELIVERIES)
        await self._write()
        recent, refused = await self._store.read(
            lambda tx: (tx.recent_deliveries(min(limit, MAX_LISTED)), tx.refused_deliveries())
        )
        return DeliveryOverview(tuple(recent), tuple(refused))

    async def _write(self) -> None:
        counted, self._unwritten = list(self._unwritten.values()), {}
        self._written = self._clock.now()
        if counted:
            await self._store.write(lambda tx: _count(tx, counted))


def _count(tx: Transaction, counted: Sequence[RefusedDeliveries]) -> None:
    for one in counted:
        tx.count_refused(one)
