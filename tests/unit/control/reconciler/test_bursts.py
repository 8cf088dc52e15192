"""How many instances start at the same time, and what a burst of deliveries defers."""

from __future__ import annotations

import asyncio

import pytest

from stager.control.bursts import BURST_SECONDS, BURST_SIZE, LONGEST_DEFERRAL, Burst
from stager.control.reconciler.rollout import CONCURRENT_STARTS
from stager.domain.environment import Instance
from tests.unit.control.harness import Harness


class HeldStarts:
    """The engine's starts, which end only after `go_on` is set.

    Attributes:
        begun: their number.
    """

    def __init__(self, harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        self.go_on = asyncio.Event()
        self._start = harness.engine.start
        monkeypatch.setattr(harness.engine, "start", self._held)

    async def _held(self, instance: str) -> Instance:
        self.begun += 1
        await self.go_on.wait()
        return await self._start(instance)


def burst_of(harness: Harness) -> Burst:
    return harness.running.control_plane.pull_requests.inbox.burst


def begin(burst: Burst) -> None:
    for _ in range(BURST_SIZE):
        burst.add()


async def test_a_few_instances_start_at_the_same_time(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = HeldStarts(harness, monkeypatch)
    for number in range(2 * CONCURRENT_STARTS):
        await harness.launch(f"branch-{number}")
    await asyncio.sleep(10)
    assert starts.begun == CONCURRENT_STARTS
    starts.go_on.set()
    await harness.rest()
    assert starts.begun == 2 * CONCURRENT_STARTS


async def test_no_action_begins_during_a_burst(harness: Harness) -> None:
    begin(burst_of(harness))
    await harness.launch()
    await asyncio.sleep(0.9 * BURST_SECONDS)
    assert harness.engine.there() == []
    await harness.rest()
    await harness.assert_live()


async def test_nor_does_a_start_that_waited_for_others(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = HeldStarts(harness, monkeypatch)
    for number in range(CONCURRENT_STARTS + 1):
        await harness.launch(f"branch-{number}")
    await asyncio.sleep(10)
    begin(burst_of(harness))
    starts.go_on.set()
    await asyncio.sleep(0.9 * BURST_SECONDS)
    assert starts.begun == CONCURRENT_STARTS
    await harness.rest()
    assert starts.begun == CONCURRENT_STARTS + 1


async def test_a_burst_without_end_defers_no_preview_for_longer_than_the_limit(harness: Harness) -> None:
    async def deliver() -> None:
        while True:
            burst_of(harness).add()
            await asyncio.sleep(0.01)

    begin(burst_of(harness))
    async with asyncio.TaskGroup() as tasks:
        endless = tasks.create_task(deliver())
        await harness.launch()
        await asyncio.sleep(LONGEST_DEFERRAL + 5)
        await harness.assert_live()
        endless.cancel()
