"""Keeps what stands before the front in step with the route table.

The front comes first: it has each change before an outpost hears of it, and what goes wrong here costs nobody
the preview through the front. An outpost such as nginx must be told seldom, so changes are gathered.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import structlog

from stager.control.routing.ingress_ports import IngressPortPool
from stager.domain.errors import StagerError, sentences
from stager.domain.route import RouteTable
from stager.ports.router import EdgeProxy

log = structlog.get_logger(__name__)

APART = 1.0
"""Seconds between two tellings at least: each reload of nginx closes idle connections of all previews."""
LONGEST_PAUSE = 30.0
"""Seconds between two tries in the end, while the outpost can't be told."""
PATIENCE = 5.0
"""Seconds that a step waits for an outpost to follow. After that the preview is as live as it can be."""

Report = Callable[[str, str], None]
"""Takes the name of an outpost and a sentence on what is the matter with it; empty when nothing is."""


class EdgeProxies:
    """Tells one outpost, again and again until it follows.

    Args:
        edge_proxy: whom to tell.
        ports: the ports of its doors.
    """

    def __init__(self, edge_proxy: EdgeProxy, ports: IngressPortPool) -> None:
        self.ports = ports
        self._edge_proxy = edge_proxy
        self._table = RouteTable()
        self._doors: dict[str, int] = {}
        self._lacking: list[str] = []
        self._told: dict[str, int] | None = None
        self._tried: dict[str, int] = {}
        self._woken = asyncio.Event()
        self._begun = self._ended = 0
        self._turn = asyncio.Condition()

    def follow(self, table: RouteTable, *, anyway: bool = False) -> None:
        """Have the outpost follow this table. It is told only when that makes a difference to it, or
        `anyway`: it may have been changed behind our back."""
        doors, lacking = table.ingress_ports(), self.ports.lacking(table)
        if anyway or (doors, lacking, table.domain) != (self._doors, self._lacking, self._table.domain):
            self._woken.set()
        self._table, self._doors, self._lacking = table, doors, lacking

    def leads_to(self, host: str) -> bool:
        """Whether the outpost may lead to this host. Before it was told anything, nobody knows."""
        return self._told is None or host in self._told

    async def caught_up(self, host: str) -> None:
        """Wait until the outpost does with this host as it should, or has failed to, or takes too long."""
        if self._tried.get(host) == self._doors.get(host):
            return
        wanted = self._begun + 1
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE), self._turn:
                await self._turn.wait_for(lambda: self._ended >= wanted)

    async def run(self, report: Report) -> None:
        """Tell, whenever there is something new; until cancelled."""
        pause: float | None = None
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()
            self._woken.clear()
            trouble = await self._tell()
            report(self._edge_proxy.name, trouble)
            pause = min(LONGEST_PAUSE, 2 * (pause or APART)) if trouble else None
            await asyncio.sleep(APART)

    async def _tell(self) -> str:
        """Tell once; what is the matter, or nothing."""
        self._begun += 1
        table = self._table
        try:
            return await self._apply(table)
        except StagerError as error:
            log.warning(
                "outpost_lags", edge_proxy=self._edge_proxy.name, reason=error.reason, error=str(error)
            )
            return str(error)
        except Exception:
            log.exception("outpost_failed", edge_proxy=self._edge_proxy.name)
            return "It could not be told, by a fault of Stager's own; the log has more."
        finally:
            self._tried, self._ended = table.ingress_ports(), self._begun
            async with self._turn:
                self._turn.notify_all()

    async def _apply(self, table: RouteTable) -> str:
        before, doors = self._told, table.ingress_ports()
        if before is not None:
            # Until it is known what came of it, the outpost may lead to the old ones and to the new ones.
            self._told = {**doors, **before}
        problems = dict(await self._edge_proxy.apply(table))
        # What it can't be told about stays as it was, whatever that is.
        self._told = {**doors, **dict.fromkeys(problems, 0)}
        for host, problem in problems.items():
            log.warning("host_left_out", edge_proxy=self._edge_proxy.name, host=host, error=problem)
        problems |= dict.fromkeys(self.ports.lacking(table), self._no_port())
        return "; ".join(_told_of(problem, count) for problem, count in Counter(problems.values()).items())

    def _no_port(self) -> str:
        why = next(iter(self.ports.taken.values()), "")
        return sentences("no port is left; `ports` in the configuration gives more", why)


def _told_of(problem: str, count: int) -> str:
    return f"{'One preview is' if count == 1 else f'{count} previews are'} left out: {problem}"
