"""Synchronization of the edge proxy, the proxy in front of the front, with the route table.

The front gets each change first; a failure of the edge proxy affects no preview that is reached through the
front. An edge proxy such as nginx is expensive to reload, so changes are batched.
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

MIN_INTERVAL = 1.0
"""Seconds between two updates at least: each reload of nginx closes idle connections of all previews."""
MAX_RETRY_INTERVAL = 30.0
"""Seconds between two attempts while the edge proxy can't be updated; the interval doubles up to this."""
SYNC_TIMEOUT = 5.0
"""Seconds that a rollout waits for the edge proxy. After that the preview counts as live all the same."""

Report = Callable[[str, str], None]
"""Takes the name of the edge proxy and its problem, a sentence; empty if there is none."""


class EdgeProxySync:
    """Updates the edge proxy until it is in sync.

    Args:
        ports: its ingress ports.
    """

    def __init__(self, edge_proxy: EdgeProxy, ports: IngressPortPool) -> None:
        self.ports = ports
        self._edge_proxy = edge_proxy
        self._table = RouteTable()
        self._ingress: dict[str, int] = {}
        self._lacking: list[str] = []
        self._applied: dict[str, int] | None = None
        self._attempted: dict[str, int] = {}
        self._woken = asyncio.Event()
        self._started = self._ended = 0
        self._updates = asyncio.Condition()

    def follow(self, table: RouteTable, *, force: bool = False) -> None:
        """Set the table to sync to. The edge proxy is updated only if the change affects it.

        Args:
            force: update it in any case: its files may have been changed by others.
        """
        ingress, lacking = table.ingress_ports(), self.ports.lacking(table)
        if force or (ingress, lacking, table.domain) != (self._ingress, self._lacking, self._table.domain):
            self._woken.set()
        self._table, self._ingress, self._lacking = table, ingress, lacking

    def may_serve(self, host: str) -> bool:
        """Whether the edge proxy may forward requests to this host. True for all before the first update."""
        return self._applied is None or host in self._applied

    async def wait(self, host: str) -> None:
        """Wait until the edge proxy is in sync for this host, or its update has failed, or takes too long."""
        if self._attempted.get(host) == self._ingress.get(host):
            return
        wanted = self._started + 1
        with suppress(TimeoutError):
            async with asyncio.timeout(SYNC_TIMEOUT), self._updates:
                await self._updates.wait_for(lambda: self._ended >= wanted)

    async def run(self, report: Report) -> None:
        """Update the edge proxy after each change, until cancelled."""
        interval: float | None = None
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(interval):
                    await self._woken.wait()
            self._woken.clear()
            problem = await self._update()
            report(self._edge_proxy.name, problem)
            interval = min(MAX_RETRY_INTERVAL, 2 * (interval or MIN_INTERVAL)) if problem else None
            await asyncio.sleep(MIN_INTERVAL)

    async def _update(self) -> str:
        """Update it once. Returns its problem; empty if there is none."""
        self._started += 1
        table = self._table
        try:
            return await self._apply(table)
        except StagerError as error:
            log.warning(
                "edge_proxy_out_of_sync",
                edge_proxy=self._edge_proxy.name,
                reason=error.reason,
                error=str(error),
            )
            return str(error)
        except Exception:
            log.exception("edge_proxy_failed", edge_proxy=self._edge_proxy.name)
            return "It couldn't be updated because of a bug in Stager; the log has the traceback."
        finally:
            self._attempted, self._ended = table.ingress_ports(), self._started
            async with self._updates:
                self._updates.notify_all()

    async def _apply(self, table: RouteTable) -> str:
        before, ingress = self._applied, table.ingress_ports()
        if before is not None:
            # Until the result is known, the edge proxy may serve the old hosts and the new ones.
            self._applied = {**ingress, **before}
        problems = dict(await self._edge_proxy.apply(table))
        # Hosts with a problem keep an unknown state.
        self._applied = {**ingress, **dict.fromkeys(problems, 0)}
        for host, problem in problems.items():
            log.warning("host_left_out", edge_proxy=self._edge_proxy.name, host=host, error=problem)
        problems |= dict.fromkeys(self.ports.lacking(table), self._no_port())
        return "; ".join(_summary(problem, count) for problem, count in Counter(problems.values()).items())

    def _no_port(self) -> str:
        cause = next(iter(self.ports.taken.values()), "")
        return sentences("no ingress port is free; configure more under `ingress_ports`", cause)


def _summary(problem: str, count: int) -> str:
    return f"{'One preview is' if count == 1 else f'{count} previews are'} left out: {problem}"
