"""What stands before the data plane, without a network: where it leads, and what may be wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from stager.domain.errors import StagerError
from stager.domain.route import RouteTable


class FakeEdgeProxy:
    """See `stager.ports.router.Outpost`.

    Attributes:
        doors: host to port, as it leads now.
        refusing: hosts that it takes nothing for, each with why.
        failing: what every call ends with; None when all is well.
        delay: seconds that it takes.
        told: how often it was told.
    """

    name = "outpost"

    def __init__(self) -> None:
        self.doors: dict[str, int] = {}
        self.refusing: dict[str, str] = {}
        self.failing: StagerError | None = None
        self.delay = 0.0
        self.told = 0

    async def apply(self, table: RouteTable) -> Mapping[str, str]:
        """See `Outpost.apply`. A host that it refuses stays as it was."""
        self.told += 1
        await asyncio.sleep(self.delay)
        if self.failing is not None:
            raise self.failing
        doors = table.ingress_ports()
        kept = {host: port for host, port in self.doors.items() if host in self.refusing}
        self.doors = {host: port for host, port in doors.items() if host not in self.refusing} | kept
        return {host: why for host, why in self.refusing.items() if host in doors}
