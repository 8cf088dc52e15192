"""Garbage collection beside builds."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from stager.control.builds.gc import GarbageCollection
from stager.control.builds.queue import BuildQueue
from stager.control.ports import BuildPorts
from stager.testing.fakes.builder import FakeBuilder, Result
from stager.testing.fakes.engine import FakeEngine
from stager.testing.fakes.logs import MemoryLogs
from stager.testing.fakes.sources import FakeSources
from stager.testing.fakes.store import MemoryStore
from tests.unit.control.builds.test_queue import wanted
from tests.unit.control.virtual_time import LoopClock


class SlowSweep(FakeBuilder):
    """Takes a second to remove images."""

    async def sweep(self, keep: Collection[str]) -> int:
        await asyncio.sleep(1)
        return await super().sweep(keep)


async def test_the_log_of_a_build_that_begins_meanwhile_is_kept() -> None:
    builder, sources, logs = SlowSweep(FakeEngine(LoopClock())), FakeSources({"Dockerfile": ""}), MemoryLogs()
    builder.default = Result(seconds=60.0, lines=("#1 FROM base",))
    queue = BuildQueue(sources, builder, logs)
    collecting = asyncio.create_task(
        GarbageCollection(MemoryStore(), BuildPorts(sources, builder, logs), queue).collect()
    )
    await asyncio.sleep(0.5)
    building = asyncio.create_task(queue.image(wanted()))
    await collecting
    assert queue.log_of(wanted().key).startswith("Fetching commit a1\n")
    await building
