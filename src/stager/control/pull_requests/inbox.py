"""The queue of deliveries: recorded at once, processed in order, with a time limit.

A delivery that crashes or hangs the process would be first in the queue again after a restart. Therefore each
attempt is recorded before it begins, and after two unfinished attempts the delivery is set aside: `doctor`
lists it, and it is processed again only when the forge redelivers it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from stager.control.bursts import Burst
from stager.control.metrics import Metrics
from stager.domain.pull_requests.events import ChangeEvent, CommentAdded, Delivery
from stager.ports.clock import Clock
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)

MAX_ATTEMPTS: Final = 2
"""Unfinished attempts. A single one may be a power failure."""

LONGEST_SECONDS: Final = 300.0
"""Time limit of one delivery, in seconds. It covers a few requests to the forge, and listeners with 30
seconds each."""

OLDEST: Final = timedelta(days=4)
"""GitHub redelivers up to three days (GitHub docs, Redelivering webhooks). Records of events are kept for
longer."""

LONGEST_OUTCOME: Final = 1_000
"""Characters of an outcome that are recorded. It may contain sentences of plugins."""


@dataclass(frozen=True, slots=True)
class Processed:
    """What became of a delivery.

    Args:
        text: in words, such as `launched`, or `ignored: ` and why.
        about: the repository and pull request, such as `acme/shop#7`; empty if unknown.
    """

    text: str
    about: str = ""


Handle = Callable[[Delivery], Awaitable[Processed]]
"""Processes a delivery."""


class Inbox:
    """Stores deliveries until they are processed, which a burst defers."""

    def __init__(self, store: Store, clock: Clock, metrics: Metrics) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._arrived = asyncio.Event()
        self.burst = Burst()

    async def receive(self, delivery: Delivery) -> bool:
        """Record a verified delivery; once this returns, it can't be lost. False for a repeated one."""
        self.burst.add()
        now = self._clock.now()
        new = await self._store.write(lambda tx: tx.add_delivery(delivery, now))
        self._metrics.delivery("taken" if new else "repeated")
        log.info("delivery", forge=delivery.forge, delivery=delivery.id, kind=delivery.event, new=new)
        self._arrived.set()
        return new

    async def run(self, handle: Handle) -> None:
        """Process the deliveries until cancelled, those left over by an earlier process first."""
        while True:
            await self.burst.over()
            self._arrived.clear()
            delivery = await self._store.read(lambda tx: tx.next_delivery())
            if delivery is None:
                await self._arrived.wait()
            else:
                await self._process(delivery, handle)

    async def _process(self, delivery: Delivery, handle: Handle) -> None:
        attempts = await self._store.write(lambda tx: tx.begin_delivery(delivery))
        if attempts > MAX_ATTEMPTS:
            await self._set_aside(
                delivery, f"Stager crashed or hung {MAX_ATTEMPTS} times while processing this delivery"
            )
            return
        try:
            await self._finish(delivery, handle)
        except BaseException:  # The store failed, or Stager stops: this isn't an attempt.
            await self._store.write(lambda tx: tx.release_delivery(delivery))
            raise

    async def _finish(self, delivery: Delivery, handle: Handle) -> None:
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                outcome = await handle(delivery)
        except TimeoutError:
            await self._set_aside(delivery, f"processing took longer than {LONGEST_SECONDS:g} seconds")
            return
        now = self._clock.now()
        text = outcome.text[:LONGEST_OUTCOME]
        await self._store.write(lambda tx: tx.finish_delivery(delivery, text, now, outcome.about))
        log.info("delivery_done", delivery=delivery.id, outcome=text)

    async def _set_aside(self, delivery: Delivery, why: str) -> None:
        now = self._clock.now()
        await self._store.write(lambda tx: tx.set_delivery_aside(delivery, f"set aside: {why}", now))
        self._metrics.delivery("set_aside")
        log.warning(
            "delivery_set_aside",
            forge=delivery.forge,
            delivery=delivery.id,
            kind=delivery.event,
            why=why,
            hint="Fix the cause, then redeliver it at the forge.",
        )


class Deduplication:
    """Records the events that must take effect only once: comment commands, and reopened changes.

    A redelivery has the same delivery id and is recognised by it. But the id isn't signed: a copy of a
    delivery can be sent with another id, at any time. Therefore the events themselves are recorded, and
    events older than forges redeliver are ignored.
    """

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
