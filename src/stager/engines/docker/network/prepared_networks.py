"""Networks that are created before their environments' first instances, while the images are built."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from stager.domain.errors import StagerError
from stager.domain.profile import ProfileName
from stager.engines.docker.network.pool import NetworkPool

MAX_PREPARED = 4
"""Maximum number of prepared networks. Docker creates networks one after the other, and starts no container
meanwhile, so with twenty queued builds the first one would wait for the network of the last."""

Predicate = Callable[[], Awaitable[bool]]


class PreparedNetworks:
    """Prepares the networks of environments that will have their first instance soon, in order of request."""

    def __init__(self, networks: NetworkPool) -> None:
        self._networks = networks
        self._slots = asyncio.Semaphore(MAX_PREPARED)
        self._tasks: dict[str, asyncio.Task[str]] = {}

    @asynccontextmanager
    async def prepared(
        self, environment: str, profile: ProfileName, has_none: Predicate
    ) -> AsyncIterator[None]:
        """Within the context, create the environment's network and protect it from garbage collection.

        Args:
            environment: the environment's name.
            profile: the trust profile of its code.
            has_none: returns whether the environment has no network yet.
        """
        keeping = asyncio.create_task(self._keep(environment, profile, has_none))
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def network(self, environment: str) -> str:
        """Return the name of the prepared network once it is created; empty if there is none, or it
        failed."""
        task = self._tasks.get(environment)
        with suppress(StagerError):
            return await asyncio.shield(task) if task else ""
        return ""

    async def _keep(self, environment: str, profile: ProfileName, has_none: Predicate) -> None:
        """Create the network when a slot is free, and keep it until this task is cancelled."""
        async with self._slots:
            task = self._tasks[environment] = asyncio.create_task(
                self._create(environment, profile, has_none)
            )
            try:
                if await asyncio.shield(task):
                    await asyncio.Event().wait()
            finally:
                del self._tasks[environment]
                # A network that it has created already has our label, so the next garbage collection removes
                # it.
                task.cancel()
                [network] = await asyncio.gather(task, return_exceptions=True)
                if isinstance(network, str):
                    self._networks.release(network)

    async def _create(self, environment: str, profile: ProfileName, has_none: Predicate) -> str:
        return await self._networks.create(environment, profile) if await has_none() else ""
