"""Chooses the ports of nodes under which instances are published."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from stager.domain.errors import Retry
from stager.engines.swarm.manager import Manager

FIRST, LAST = 20_000, 29_999
"""The range that each node's firewall opens to the front only. It is below Linux's range of ephemeral ports
(`ip_local_port_range`, 32768 to 60999), from which Docker would choose."""


class PublishedPorts:
    """Allocates ports. Each is used once in the whole swarm, so that an instance may start on any node. A
    released port is used again last: an outdated route doesn't reach another instance.

    Args:
        manager: the services of the swarm.
        installation: the id of the installation, which the first port depends on.
    """

    def __init__(self, manager: Manager, installation: str) -> None:
        self._manager = manager
        self._lock = asyncio.Lock()
        self._reserved: set[int] = set()
        self._next = FIRST + zlib.crc32(installation.encode()) % (LAST - FIRST + 1)

    @asynccontextmanager
    async def reserved(self) -> AsyncIterator[int]:
        """A port that no service has. Within the context, no other caller gets it.

        Raises:
            Retry: `no-port`: all are taken.
        """
        async with self._lock:
            port = self._choose(await self._taken())
            self._reserved.add(port)
        try:
            yield port
        finally:
            self._reserved.discard(port)

    async def _taken(self) -> set[int]:
        reserved = set(self._reserved)
        services = await self._manager.every_service()
        rows = [
            row for each in services for row in (each["Spec"].get("EndpointSpec") or {}).get("Ports") or ()
        ]
        return reserved | {int(row.get("PublishedPort") or 0) for row in rows}

    def _choose(self, taken: set[int]) -> int:
        for _ in range(FIRST, LAST + 1):
            port, self._next = self._next, FIRST + (self._next + 1 - FIRST) % (LAST - FIRST + 1)
            if port not in taken:
                return port
        raise Retry(f"All ports from {FIRST} to {LAST} of the swarm are taken.", reason="no-port")
