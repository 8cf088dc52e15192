"""The processor time of a request with and without the record of when each preview was requested."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

import hatch_build
from bench.figures import median, seconds, times
from bench.row import Figures, Line, Row
from bench.rows import proxy
from bench.testbed import ROOT, Testbed
from tests.integration.nginx import is_open
from tests.integration.stager import until
from tests.unit.front.harness import free_port

LIMIT = 1.03
MODULE = Path("stager/front/proxy/context.py")
RECORDS = "    def note_request(self, head: RequestHead) -> None:\n"
"""The first line of the method that records requests."""


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: microseconds of processor time a request, by front and round."""
    return asyncio.run(_measure(testbed))


async def _measure(testbed: Testbed) -> dict[str, Any]:
    async with contextlib.AsyncExitStack() as stack:
        ports = [free_port() for _ in range(proxy.BACKENDS)]
        stack.enter_context(proxy.running_nginx(testbed.folder / "backend", proxy.applications(ports)))
        until(lambda: all(map(is_open, ports)), "the applications listen")
        parties: dict[str, proxy.Party] = {}
        for name, records in (("without", False), ("with", True)):
            with patch.dict(os.environ, PYTHONPATH=str(_package(testbed.folder / name, records=records))):
                front = proxy.running_front(testbed.folder / f"{name}-front", ports)
                parties[name] = await stack.enter_async_context(front)
        return {"microseconds": await asyncio.to_thread(proxy.measured_rounds, testbed.folder, parties)}


def _package(folder: Path, *, records: bool) -> Path:
    """Copy the package; returns the folder to import it from.

    Args:
        records: whether the copy records requests.
    """
    shutil.copytree(ROOT / hatch_build.SOURCE / "stager", folder / "stager")
    if not records:
        text = (folder / MODULE).read_text("utf-8")
        assert text.count(RECORDS) == 1, f"{MODULE} records requests in another way"
        (folder / MODULE).write_text(text.replace(RECORDS, f"{RECORDS}        return\n"), "utf-8")
    return folder


def lines(figures: Figures) -> list[Line]:
    """The one line."""
    taken = {name: median(values) for name, values in figures["microseconds"].items()}
    ratio = taken["with"] / taken["without"]
    return [
        Line(
            what="Processor time of a proxied request, with the record of when previews were requested",
            floor=f"{seconds(taken['without'] / 1e6)} (the same front without it)",
            ours=f"{seconds(taken['with'] / 1e6)}, {times(ratio)}",
            budget=f"at most {times(LIMIT)}",
            value=ratio,
            limit=LIMIT,
        )
    ]


ABOUT = """\
The front notes for each host when it was last requested, so that idle previews can sleep. Two fronts are
measured as in the row above, in turn: one as it is, and a copy in which the method that takes the note
returns at once.
"""

ROW = Row(
    "activity",
    "Noting when previews are requested",
    ABOUT.strip(),
    measure,
    lines,
)
