"""The control plane at rest with many environments."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep
from typing import Any

from bench.processes import cpu_seconds, memory
from bench.row import Figures, Line, Row
from bench.testbed import Testbed
from tests.integration.pulls import Pull
from tests.integration.stager import StagerUnderTest, until

KNOWN, RUNNING = 1_000, 20
SECONDS = 75.0
"""Longer than a minute, so that a pass over everything falls into it."""
SETTLE = 10.0
PATIENCE = 300.0


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: memory in bytes, and processor time in some seconds."""
    with testbed.stager() as stager:
        _fill(stager)
        sleep(SETTLE)
        pids = {"control": stager.control_pid, "front": stager.front_pid}
        before, begun = {name: cpu_seconds(pid) for name, pid in pids.items()}, monotonic()
        sleep(SECONDS)
        used = {name: round(cpu_seconds(pid) - before[name], 2) for name, pid in pids.items()}
        return {
            "known": KNOWN,
            "running": RUNNING,
            "seconds": round(monotonic() - begun, 1),
            "cpu_seconds": used,
            "bytes": {name: memory(pid) for name, pid in pids.items()},
        }


def _fill(stager: StagerUnderTest) -> None:
    """Open pull requests, most of them from forks: each has a page, and nothing runs."""
    with ThreadPoolExecutor(8) as senders:
        changes = [Pull(n, f"branch-{n}", fork=n > RUNNING) for n in range(1, KNOWN + 1)]
        for answer in senders.map(lambda change: stager.deliver(change.opened()), changes):
            assert answer.status_code == 202, answer.text
    until(lambda: _states(stager) == (KNOWN, RUNNING), "all are known, and some run", PATIENCE)


def _states(stager: StagerUnderTest) -> tuple[int, int]:
    states = [environment["state"] for environment in stager.api()]
    return len(states), states.count("live")


def lines(figures: Figures) -> list[Line]:
    """Memory and processor time."""
    known = f"with {figures['known']:,} environments known"
    size = figures["bytes"]["control"] / 1e6
    share = figures["cpu_seconds"]["control"] / figures["seconds"] * 100
    return [
        Line(f"The control plane's memory {known}", "-", f"{size:.0f} MB", "below 150 MB", size, 150),
        Line(
            f"Its processor time at rest {known}",
            "-",
            f"{share:.2f} % of a core",
            "below 2 % of a core",
            share,
            2,
            headline=f"At rest {known}: {size:.0f} MB and {share:.2f} % of a core",
        ),
    ]


ABOUT = f"""\
{KNOWN:,} environments are known: {RUNNING} run, the others are pull requests from forks, which have a page
and run nothing. Memory is the resident set size (RSS); processor time is measured over {SECONDS:g} s, which
include a full reconciliation. No forge is queried meanwhile.
"""

ROW = Row(
    "idle",
    "The control plane at rest",
    ABOUT.strip(),
    measure,
    lines,
)
