"""The parts that make images, composed."""

from __future__ import annotations

from datetime import timedelta

from stager.control.builds.code import CodeReader
from stager.control.builds.gc import GarbageCollection
from stager.control.builds.images import ImageResolver
from stager.control.builds.queue import BuildQueue
from stager.control.environments.records import Records
from stager.control.loops import Loop
from stager.control.ports import Ports

GC_INTERVAL = timedelta(minutes=10)


class Builds:
    """Images of deployments: `images` resolves them, `code` reads the commits, `queue` builds them, `gc`
    removes what is left over. `queue` and `gc` are None if no application is built."""

    def __init__(self, ports: Ports, records: Records) -> None:
        builds = ports.builds
        self.queue = (
            BuildQueue(builds.sources, builds.builder, builds.logs, at_once=builds.at_once)
            if builds
            else None
        )
        self.gc = GarbageCollection(ports.store, builds, self.queue) if builds and self.queue else None
        self.code = CodeReader(ports, records)
        self.images = ImageResolver(ports, records, self.code, self.queue)

    def loops(self) -> list[Loop]:
        """Garbage collection, if images are built."""
        return [Loop("gc", self.gc.collect, GC_INTERVAL, after_adoption=True)] if self.gc else []

    async def drain(self) -> None:
        """Start no further builds, and wait for those that run."""
        if self.queue:
            await self.queue.drain()

    async def close(self) -> None:
        """Cancel builds that run."""
        if self.queue:
            await self.queue.close()
