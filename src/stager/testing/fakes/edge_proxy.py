"""An edge proxy in memory: its upstream ports, and the faults that a test gives it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from stager.domain.errors import StagerError
from stager.domain.route import RouteTable


class FakeEdgeProxy:
    """See `stager.ports.router.EdgeProxy`.

    Attributes:
        upstreams: the ingress port of each host in its present configuration.
        refusing: the hosts that it refuses, with the reason.
        failing: the error that every call raises; None without a fault.
        delay: seconds that a call takes.
        updates: the number of calls.
    """

    name = "edge proxy"

    def __init__(self) -> None:
        self.upstreams: dict[str, int] = {}
        self.refusing: dict[str, str] = {}
        self.failing: StagerError | None = None
        self.delay = 0.0
        self.updates = 0

    async def apply(self, table: RouteTable) -> Mapping[str, str]:
        """See `EdgeProxy.apply`. A refused host keeps its configuration."""
        self.updates += 1
        await asyncio.sleep(self.delay)
        if self.failing is not None:
            raise self.failing
        wanted = table.ingress_ports()
        kept = {host: port for host, port in self.upstreams.items() if host in self.refusing}
        self.upstreams = {host: port for host, port in wanted.items() if host not in self.refusing} | kept
        return {host: why for host, why in self.refusing.items() if host in wanted}
