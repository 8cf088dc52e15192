"""`kill -9` of either process: its effect on visitors."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import aiohttp

from bench import hub
from bench.figures import median, rounded, seconds
from bench.row import Figures, Line, Row
from bench.testbed import Testbed, versioned
from stager.domain.route import RouteTable
from stager.front.process.client import FrontClient
from tests.integration.load import Load
from tests.integration.pulls import Pull
from tests.integration.stager import PATIENCE, StagerUnderTest, until

CONTROL_KILLS, FRONT_KILLS, PEER_KILLS = 5, 6, 3
ROUTES = 200
LIVED_WELL = 6.0
"""Seconds between kills; a front that lives shorter counts as one that keeps crashing, and waits."""
STILL = 1.0
"""Seconds of load before and after a kill."""


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: requests while the control plane is killed; seconds to serve again once the front is."""
    with testbed.stager(images=versioned()) as stager:
        stager.launched(VERSION="0")
        for number in range(1, ROUTES):
            # From forks: each has its page and its row in the table, but nothing runs for it.
            stager.deliver(Pull(number, f"branch-{number}", fork=True).opened())
        until(lambda: len(stager.api()) == ROUTES, "every change is known")
        control = asyncio.run(_control_killed(stager))
        front, intact = _front_killed(stager)
    figures = {"control": control, "front": rounded(front, 4), "intact": intact, "routes": ROUTES}
    if testbed.options.peers and hub.is_installed():
        figures["peer"] = rounded(_peer_killed(testbed), 4)
    return figures


async def _control_killed(stager: StagerUnderTest) -> dict[str, int]:
    async with Load(stager.url, stager.host("test")) as load:
        for number in range(1, CONTROL_KILLS + 1):
            await asyncio.sleep(STILL)
            # In the middle of a refresh, which the next life finishes.
            await asyncio.to_thread(stager.launch, VERSION=str(number), wait="0")
            await asyncio.sleep(0.1 * number)
            await asyncio.to_thread(stager.kill9)
            await asyncio.sleep(STILL)
            await asyncio.to_thread(stager.start)
            await load.until_answered(f"test {number}")
    return {"kills": CONTROL_KILLS, "requests": load.requests, "failed": len(load.failures)}


def _front_killed(stager: StagerUnderTest) -> tuple[list[float], int]:
    """Seconds to serve again, of each round; and in how many rounds the table was unchanged."""
    taken, intact = [], 0
    for _ in range(FRONT_KILLS):
        sleep(LIVED_WELL)
        before = _table(stager)
        taken.append(_until_served(stager.front_pid, stager.port, "/", stager.host("test")))
        until(lambda: stager.front_pid, "another front runs")
        intact += _table(stager) == before and len(before.routes) == ROUTES
    return taken, intact


def _table(stager: StagerUnderTest) -> RouteTable:
    async def ask() -> RouteTable:
        client = FrontClient(stager.state / "front")
        try:
            return await client.current()
        finally:
            await client.close()

    return asyncio.run(ask())


def _until_served(pid: int, port: int, path: str, host: str) -> float:
    """Kill a process. Returns the seconds until a later request is answered with 200."""
    begun = perf_counter()
    os.kill(pid, signal.SIGKILL)
    while perf_counter() - begun < PATIENCE:
        if _is_served(port, path, host):
            return perf_counter() - begun
        sleep(0.002)
    raise AssertionError(f"nothing serves within {PATIENCE} s")


def _is_served(port: int, path: str, host: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _peer_killed(testbed: Testbed) -> list[float]:
    with hub.running_hub(Path(tempfile.mkdtemp(dir=testbed.folder))) as running:
        asyncio.run(_launched(running))
        kill: Callable[[], float] = lambda: _until_served(  # noqa: E731
            running.proxy_pid, running.port, "/user/dev/", f"127.0.0.1:{running.port}"
        )
        taken = []
        for _ in range(PEER_KILLS):
            sleep(STILL)
            taken.append(kill())
    return taken


async def _launched(running: hub.Hub) -> None:
    async with aiohttp.ClientSession() as web:
        await running.add(web, "dev")
        await running.launch(web, "dev")


def lines(figures: Figures) -> list[Line]:
    """A line for each process."""
    control, front = figures["control"], figures["front"]
    peer = f"JupyterHub's proxy: {seconds(median(figures['peer']))}" if "peer" in figures else ""
    lost = len(front) - figures["intact"]
    return [
        Line(
            what=f"Requests lost at {control['kills']} times `kill -9` of the control plane",
            floor="0",
            ours=f"{control['failed']} of {control['requests']:,}",
            budget="0",
            value=control["failed"],
            limit=0,
        ),
        Line(
            what="Serving again after `kill -9` of the front",
            floor="0",
            ours=f"{seconds(median(front))} (longest of {len(front)}: {seconds(max(front))}),"
            f" {figures['routes']} routes intact {figures['intact']} times",
            budget="below 0.5 s, routes intact",
            value=median(front) if not lost else float("inf"),
            limit=0.5,
            peer=peer,
            headline=f"`kill -9` of the front: previews are served again after {seconds(median(front))}",
        ),
    ]


ABOUT = f"""\
The control plane is killed under the load of the row above, each time in the middle of a refresh, and
started again after {STILL:g} s; the refresh must then be completed. The front is killed with {ROUTES}
routes in its table; measured is the time until the next request is answered. Requests that were in progress
in the front at that moment are lost.
"""

ROW = Row(
    "crash",
    "Killing Stager",
    ABOUT.strip(),
    measure,
    lines,
)
