"""The last deliveries and what became of them, for people who look for the reason why nothing happened; and
their replay."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from stager.control.identity.authorizer import Authorizer
from stager.control.metrics import Metrics
from stager.domain.errors import Refused
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action
from stager.domain.pull_requests.events import Delivery
from stager.ports.clock import Clock
from stager.ports.store import DeliveryRecord, RefusedDeliveries, Store, StoredDelivery, Transaction

MAX_LISTED = 200
"""Deliveries in one answer."""

WRITE_INTERVAL = timedelta(seconds=10)
"""Minimum interval between two writes of refused deliveries, of which anyone can send any number."""


SEARCHED = 5_000
"""The newest deliveries, among which those with one effect are looked for."""

REPLAY = "~replay-"
"""Between the id of a delivery and the time of its replay, in the replay's id. GitHub's ids are UUIDs."""

Receive = Callable[[Delivery], Awaitable[bool]]
"""Records a verified delivery."""


class Effect(StrEnum):
    """What a delivery did."""

    DONE = "done"
    """It changed a preview, or answered a command."""
    NONE = "none"
    FAILED = "failed"
    """It failed or was refused, or its processing never ended."""
    PENDING = "pending"


def effect_of(one: DeliveryRecord) -> Effect:
    """What a delivery did, by its outcome."""
    if one.finished_at is None:
        return Effect.PENDING
    if one.is_set_aside or one.outcome.startswith(("refused", "failed", "fault", "retry")):
        return Effect.FAILED
    return Effect.NONE if one.outcome.startswith(("ignored", "nothing", "skipped")) else Effect.DONE


def original_of(delivery_id: str) -> str:
    """The id of the delivery that this one replays; its own if it isn't a replay."""
    return delivery_id.partition(REPLAY)[0]


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

    def __init__(
        self, store: Store, clock: Clock, metrics: Metrics, authorizer: Authorizer, receive: Receive
    ) -> None:
        self._store = store
        self._receive = receive
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

    async def recent(
        self, actor: Actor, limit: int = MAX_LISTED, search: str = "", effect: Effect | None = None
    ) -> DeliveryOverview:
        """The last deliveries. Raises `Refused` (403) without the permission.

        Args:
            search: only those with this text in the id, the event, the outcome, or what they are about.
            effect: only those with this effect.
        """
        await self._authorizer.check(actor, Action.READ_DELIVERIES)
        await self._write()
        limit = min(limit, MAX_LISTED)
        recent, refused = await self._store.read(
            lambda tx: (
                tx.recent_deliveries(limit if effect is None else SEARCHED, search),
                tx.refused_deliveries(),
            )
        )
        found = [one for one in recent if effect is None or effect_of(one) is effect]
        return DeliveryOverview(tuple(found[:limit]), tuple(refused))

    async def one(self, actor: Actor, delivery_id: str, forge: str = "") -> StoredDelivery:
        """A delivery with its content.

        Args:
            forge: empty for the only one that has a delivery of this id.

        Raises:
            Refused: 403 without the permission, 404 for another id, 409 if deliveries of several forges have
                it and none is named.
        """
        await self._authorizer.check(actor, Action.READ_DELIVERIES)
        stored = await self._store.read(lambda tx: tx.stored_deliveries(delivery_id))
        found = [one for one in stored if forge in ("", one.record.forge)]
        if not found:
            raise Refused(f'There is no delivery "{delivery_id}".', reason="delivery-unknown", status=404)
        if len(found) > 1:
            forges = " or ".join(one.record.forge for one in found)
            raise Refused(
                f'Several forges have a delivery "{delivery_id}".',
                hint=f"Name its forge: {forges}.",
                reason="delivery-ambiguous",
                status=409,
            )
        return found[0]

    async def replay(self, actor: Actor, delivery_id: str, forge: str = "") -> str:
        """Process a delivery again, as a new one of the same forge. Returns the new one's id, which contains
        the first one's. A second replay within a second is the same one.

        Args:
            forge: see `one`.

        Raises:
            Refused: 403 without the permission, 404 for an unknown id, 409 while it isn't finished, if its
                content isn't kept, or if its forge must be named.
        """
        async with self._authorizer.authorized(actor, Action.REPLAY_DELIVERIES, "", delivery_id):
            found = await self.one(actor, delivery_id, forge)
            if found.record.finished_at is None:
                raise Refused(
                    "The delivery isn't processed yet.",
                    hint="Wait.",
                    reason="delivery-unfinished",
                    status=409,
                )
            if not found.payload:
                raise Refused(
                    "The content of this delivery isn't kept any more.",
                    hint="Redeliver it on GitHub: the webhook's page has `Redeliver`.",
                    reason="delivery-not-kept",
                    status=409,
                )
            one = found.record
            again = f"{original_of(one.delivery)}{REPLAY}{self._clock.now():%Y%m%dT%H%M%S}"
            await self._receive(Delivery(again, one.forge, one.event, found.payload))
            return again

    async def _write(self) -> None:
        counted, self._unwritten = list(self._unwritten.values()), {}
        self._written = self._clock.now()
        if counted:
            await self._store.write(lambda tx: _count(tx, counted))


def _count(tx: Transaction, counted: Sequence[RefusedDeliveries]) -> None:
    for one in counted:
        tx.count_refused(one)
