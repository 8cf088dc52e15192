"""The queue of deliveries: recorded at once, processed in order, with a time limit.

A delivery that crashes or hangs the process would be first in the queue again after a restart. Therefore each
attempt is recorded before it begins, and after two unfinished attempts the delivery is set aside: `doctor`
lists it, and it is processed again only when the forge redelivers it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from stager.control.metrics import Metrics
from stager.domain.pull_requests.events import Delivery
from stager.ports.clock import Clock
from stager.ports.store import Store

log = structlog.get_logger(__name__)

MAX_ATTEMPTS: Final = 2
"""Unfinished attempts. A single one may be a power failure."""

LONGEST_SECONDS: Final = 300.0
"""Time limit of one delivery, in seconds. It covers a few requests to the forge, and listeners with 30
seconds each."""

Handle = Callable[[Delivery], Awaitable[str]]
"""Processes a delivery and returns its outcome, as text."""


class Inbox:
    """Stores deliveries until they are processed."""

    def __init__(self, store: Store, clock: Clock, metrics: Metrics) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._arrived = asyncio.Event()

    async def receive(self, delivery: Delivery) -> bool:
        """Record a verified delivery; once this returns, it can't be lost. False for a repeated one."""
        now = self._clock.now()
        new = await self._store.write(lambda tx: tx.add_delivery(delivery, now))
        self._metrics.delivery("taken" if new else "repeated")
        log.info("delivery", forge=delivery.forge, delivery=delivery.id, kind=delivery.event, new=new)
        self._arrived.set()
        return new

    async def run(self, handle: Handle) -> None:
        """Process the deliveries until cancelled, those left over by an earlier process first."""
        while True:
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
        await self._store.write(lambda tx: tx.finish_delivery(delivery, outcome, now))
        log.info("delivery_done", delivery=delivery.id, outcome=outcome)

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
