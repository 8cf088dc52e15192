"""Networks that are created before their first instances, while the images are built."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from stager.domain.errors import StagerError
from stager.engines.docker.network.pool import NetworkKey, NetworkPool

MAX_PREPARED = 4
"""Maximum number of prepared networks. Docker creates networks one after the other, and starts no container
meanwhile, so with twenty queued builds the first one would wait for the network of the last."""

Predicate = Callable[[], Awaitable[bool]]


class PreparedNetworks:
    """Prepares networks that will have their first instance soon, in order of request."""

    def __init__(self, networks: NetworkPool) -> None:
        self._networks = networks
        self._slots = asyncio.Semaphore(MAX_PREPARED)
        self._tasks: dict[NetworkKey, asyncio.Task[str]] = {}

    @asynccontextmanager
    async def prepared(self, key: NetworkKey, has_none: Predicate) -> AsyncIterator[None]:
        """Within the context, create the network and protect it from garbage collection.

        Args:
            has_none: returns whether the network doesn't exist yet.
        """
        keeping = asyncio.create_task(self._keep(key, has_none))
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def network(self, key: NetworkKey) -> str:
        """Return the name of the prepared network once it is created; empty if there is none, or it
        failed."""
        task = self._tasks.get(key)
        with suppress(StagerError):
            return await asyncio.shield(task) if task else ""
        return ""

    async def _keep(self, key: NetworkKey, has_none: Predicate) -> None:
        """Create the network when a slot is free, and keep it until this task is cancelled."""
        async with self._slots:
            task = self._tasks[key] = asyncio.create_task(self._create(key, has_none))
            try:
                if await asyncio.shield(task):
                    await asyncio.Event().wait()
            finally:
                del self._tasks[key]
                # A network that it has created already has our label, so the next garbage collection removes
                # it.
                task.cancel()
                [network] = await asyncio.gather(task, return_exceptions=True)
                if isinstance(network, str):
                    self._networks.release(network)

    async def _create(self, key: NetworkKey, has_none: Predicate) -> str:
        return await self._networks.create(key) if await has_none() else ""
