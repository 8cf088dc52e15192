"""Networks that are made before the instances that they are for, while images of those are built."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from stager.domain.errors import StagerError
from stager.domain.profile import ProfileName
from stager.engines.docker.network.pool import NetworkPool

MOST = 4
"""Environments of which networks are made ahead at the same time. Docker makes one network after the other,
and starts no container meanwhile: with twenty builds in line, the first would wait for the last one's."""

Asks = Callable[[], Awaitable[bool]]


class NetworksAhead:
    """A network for each environment that expects its first instance, first come first served."""

    def __init__(self, networks: NetworkPool) -> None:
        self._networks = networks
        self._places = asyncio.Semaphore(MOST)
        self._made: dict[str, asyncio.Task[str]] = {}

    @asynccontextmanager
    async def expecting(self, environment: str, profile: ProfileName, has_none: Asks) -> AsyncIterator[None]:
        """Within it, the environment's network is made, and kept from being swept.

        Args:
            has_none: whether the environment has no network yet.
        """
        keeping = asyncio.create_task(self._keep(environment, profile, has_none))
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def network(self, environment: str) -> str:
        """The name of the one that was made, once it is there; empty if none was, or could be."""
        making = self._made.get(environment)
        with suppress(StagerError):
            return await asyncio.shield(making) if making else ""
        return ""

    async def _keep(self, environment: str, profile: ProfileName, has_none: Asks) -> None:
        """Have it made as soon as it is its turn, and kept until this is cancelled."""
        async with self._places:
            making = self._made[environment] = asyncio.create_task(self._make(environment, profile, has_none))
            try:
                if await asyncio.shield(making):
                    await asyncio.Event().wait()
            finally:
                del self._made[environment]
                making.cancel()  # what it has begun has our label, and goes with the next sweep
                [made] = await asyncio.gather(making, return_exceptions=True)
                if isinstance(made, str):
                    self._networks.release(made)

    async def _make(self, environment: str, profile: ProfileName, has_none: Asks) -> str:
        return await self._networks.make(environment, profile) if await has_none() else ""
