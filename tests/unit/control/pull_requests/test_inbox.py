"""When deliveries are processed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from stager.control.bursts import BURST_SECONDS, BURST_SIZE, LONGEST_DEFERRAL
from stager.control.metrics import Metrics
from stager.control.pull_requests.inbox import Inbox, Processed
from stager.domain.pull_requests.events import Delivery
from stager.testing import MemoryStore
from tests.unit.control.virtual_time import LoopClock, VirtualTimeLoop


@pytest.fixture
def loop() -> Iterator[VirtualTimeLoop]:
    loop = VirtualTimeLoop()
    yield loop
    loop.close()


class Running:
    """An inbox that runs, and when each delivery was processed."""

    def __init__(self) -> None:
        self.inbox = Inbox(MemoryStore(), LoopClock(), Metrics())
        self.processed: dict[str, float] = {}

    async def handle(self, delivery: Delivery) -> Processed:
        self.processed[delivery.id] = asyncio.get_running_loop().time()
        return Processed("done")

    async def arrive(self, count: int, every: float) -> list[float]:
        """Receive deliveries, one after the other; when each arrived."""
        arrivals = []
        for number in range(count):
            arrivals.append(asyncio.get_running_loop().time())
            await self.inbox.receive(Delivery(str(number), "github", "pull_request", "{}"))
            await asyncio.sleep(every)
        await asyncio.sleep(LONGEST_DEFERRAL)
        return arrivals


@asynccontextmanager
async def running() -> AsyncIterator[Running]:
    consumer = Running()
    task = asyncio.create_task(consumer.inbox.run(consumer.handle))
    try:
        yield consumer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_single_deliveries_are_processed_at_once(loop: VirtualTimeLoop) -> None:
    async def measure() -> None:
        async with running() as consumer:
            arrivals = await consumer.arrive(20, every=BURST_SECONDS / (BURST_SIZE - 1))
            assert list(consumer.processed.values()) == arrivals

    loop.run_until_complete(measure())


def test_a_burst_is_processed_when_it_is_over(loop: VirtualTimeLoop) -> None:
    async def measure() -> None:
        async with running() as consumer:
            arrivals = await consumer.arrive(100, every=0.005)
            late = [when for number, when in consumer.processed.items() if int(number) > BURST_SIZE - 2]
            assert len(consumer.processed) == 100
            assert min(late) >= arrivals[-1]
            assert max(late) <= arrivals[-1] + BURST_SECONDS

    loop.run_until_complete(measure())


def test_an_endless_burst_defers_nothing_for_longer_than_the_limit(loop: VirtualTimeLoop) -> None:
    async def measure() -> None:
        async with running() as consumer:
            arrivals = await consumer.arrive(1000, every=0.005)
            waits = [consumer.processed[str(number)] - arrived for number, arrived in enumerate(arrivals)]
            assert max(waits) <= LONGEST_DEFERRAL
            assert max(waits[round(LONGEST_DEFERRAL / 0.005) + 50 :]) == 0

    loop.run_until_complete(measure())
