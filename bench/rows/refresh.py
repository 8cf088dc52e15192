"""Refreshes under load: how many requests fail."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import aiohttp

from bench import hub
from bench.row import Figures, Line, Row
from bench.testbed import APPLICATION_COMMAND, Testbed, versioned
from tests.integration.images import application_image
from tests.integration.load import FRESH, KEPT_ALIVE, Load

REFRESHES, RESTARTS = 50, 5


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: requests, and how many of them failed."""
    figures: dict[str, Any] = {"stager": asyncio.run(_refreshed(testbed))}
    if testbed.options.peers and hub.is_installed():
        figures["peer"] = asyncio.run(_restarted(testbed))
    return figures


async def _refreshed(testbed: Testbed) -> dict[str, int]:
    with testbed.stager(images=versioned()) as stager:
        await asyncio.to_thread(stager.launched, VERSION="0")
        async with Load(stager.url, stager.host("test")) as load:
            for version in range(1, REFRESHES + 1):
                await asyncio.to_thread(stager.launched, VERSION=str(version))
                await load.until_answered(f"test {version}")
    return _counted(load, REFRESHES)


async def _restarted(testbed: Testbed) -> dict[str, int]:
    """The closest equivalent of the peer: stop a user's server and start it."""
    folder = Path(tempfile.mkdtemp(dir=testbed.folder))
    with hub.running_hub(folder, application_image(), APPLICATION_COMMAND) as running:
        async with aiohttp.ClientSession() as web:
            await running.add(web, "dev")
            await running.launch(web, "dev")
            async with Load(running.url("dev").removesuffix("/"), paths=("/",)) as load:
                for _ in range(RESTARTS):
                    await running.remove(web, "dev")
                    await running.launch(web, "dev")
    return _counted(load, RESTARTS)


def _counted(load: Load, refreshes: int) -> dict[str, int]:
    return {"refreshes": refreshes, "requests": load.requests, "failed": len(load.failures)}


def lines(figures: Figures) -> list[Line]:
    """The one line."""
    ours, peer = figures["stager"], figures.get("peer")
    failed = f"{ours['failed']} of {ours['requests']:,}"
    beside = f"JupyterHub: {peer['failed'] / peer['refreshes']:,.0f} a restart" if peer else ""
    return [
        Line(
            what=f"Requests that fail during {ours['refreshes']} refreshes",
            floor="0",
            ours=failed,
            budget="0",
            value=ours["failed"],
            limit=0,
            peer=beside,
            headline=f"{ours['refreshes']} refreshes under load: {failed} requests failed",
        )
    ]


ABOUT = f"""\
{KEPT_ALIVE} clients on keep-alive connections and {FRESH} that open a new connection for each request
request one preview without a pause, every fifth time with a POST, while new versions are launched one after
the other. Each version must be seen. The comparison is JupyterHub, where the closest operation is to stop a
user's server and start it again.
"""

ROW = Row(
    "refresh",
    "Refreshing under load",
    ABOUT.strip(),
    measure,
    lines,
)
