"""A thousand known environments, 200 of them with a container: what Stager needs for them, and what visitors
notice of a full reconciliation."""

from __future__ import annotations

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep
from typing import Any

import aiohttp
import httpx

from bench.figures import percentile, rounded, seconds
from bench.openloop import spread
from bench.processes import cpu_seconds, memory
from bench.row import Figures, Line, Row
from bench.testbed import PORT, Testbed
from tests.integration.pulls import Pull
from tests.integration.stager import PASSWORD, USER, StagerUnderTest, docker, until

KNOWN, RUNNING = 1_000, 200
IDLE, LOADED = 75.0, 130.0
"""Seconds without and with requests: at least one and two full reconciliations."""
RATE = 20
"""Requests a second through the front, and as many directly to the containers."""
SETTLE = 15.0
PATIENCE = 900.0
COUNTS = re.compile(rb"^stager_reconciliation_seconds_(count|sum) (\S+)$", re.MULTILINE)


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: bytes, seconds of a processor, of a reconciliation and of each request."""
    with testbed.stager() as stager:
        _fill(stager)
        sleep(SETTLE)
        figures = {"known": KNOWN, "running": RUNNING, **_at_rest(stager)}
        count, total = _reconciliations(stager)
        figures |= asyncio.run(_requested(stager))
        later, sum_later = _reconciliations(stager)
        assert later > count, "no full reconciliation took place"
        figures["reconciliation"] = round((sum_later - total) / (later - count), 3)
        figures["reconciliations"] = round(later - count)
        return figures


def _fill(stager: StagerUnderTest) -> None:
    """Open pull requests. Those from forks have a page, and nothing runs for them."""
    with ThreadPoolExecutor(8) as senders:
        changes = [Pull(n, f"branch-{n}", fork=n > RUNNING) for n in range(1, KNOWN + 1)]
        for answer in senders.map(lambda change: stager.deliver(change.opened()), changes):
            assert answer.status_code == 202, answer.text
    until(lambda: _states(stager) == (KNOWN, RUNNING), "all are known, and some run", PATIENCE)


def _states(stager: StagerUnderTest) -> tuple[int, int]:
    states = [environment["state"] for environment in stager.api()]
    return len(states), states.count("live")


def _at_rest(stager: StagerUnderTest) -> dict[str, Any]:
    pids = {"control": stager.control_pid, "front": stager.front_pid}
    before, begun = {name: cpu_seconds(pid) for name, pid in pids.items()}, monotonic()
    sleep(IDLE)
    used = {name: round(cpu_seconds(pid) - before[name], 2) for name, pid in pids.items()}
    return {
        "seconds": round(monotonic() - begun, 1),
        "cpu_seconds": used,
        "bytes": {name: memory(pid) for name, pid in pids.items()},
    }


def _reconciliations(stager: StagerUnderTest) -> tuple[float, float]:
    """How many there were, and their seconds."""
    host = {"Host": f"localhost:{stager.port}"}
    answer = httpx.get(f"{stager.url}/metrics", headers=host, auth=(USER, PASSWORD))
    found = {name: float(value) for name, value in COUNTS.findall(answer.content)}
    return found[b"count"], found[b"sum"]


async def _requested(stager: StagerUnderTest) -> dict[str, Any]:
    """Seconds of each request, sent to all running previews in turn."""
    hosts, addresses = _hosts(stager), _addresses(stager)
    failed: list[str] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as web:

        async def ask(url: str, host: str = "") -> None:
            headers = {"Host": host} if host else {}
            try:
                async with web.get(url, headers=headers) as answer:
                    await answer.read()
                    if answer.status != 200:
                        failed.append(f"{host or url}: {answer.status}")
            except (aiohttp.ClientError, OSError) as error:
                failed.append(f"{host or url}: {error!r}")

        count = round(RATE * LOADED)
        ours = spread(lambda n: ask(stager.url, hosts[n % len(hosts)]), count, LOADED)
        floor = spread(lambda n: ask(addresses[n % len(addresses)]), count, LOADED)
        taken = dict(zip(("stager", "floor"), await asyncio.gather(ours, floor), strict=True))
    return {
        "failed": len(failed),
        "first_failures": failed[:5],
        "requests": {name: rounded(sorted(values), 5) for name, values in taken.items()},
    }


def _hosts(stager: StagerUnderTest) -> list[str]:
    live = [each for each in stager.api() if each["state"] == "live"]
    return [each["url"].partition("://")[2].rstrip("/") for each in live]


def _addresses(stager: StagerUnderTest) -> list[str]:
    shown = json.loads(docker("inspect", *stager.containers()))
    networks = [next(iter(each["NetworkSettings"]["Networks"].values())) for each in shown]
    return [f"http://{network['IPAddress']}:{PORT}/" for network in networks]


def lines(figures: Figures) -> list[Line]:
    """Memory, processor time, the reconciliation, and requests meanwhile."""
    known = f"with {figures['known']:,} environments known and {figures['running']} containers"
    size = figures["bytes"]["control"] / 1e6
    share = figures["cpu_seconds"]["control"] / figures["seconds"] * 100
    took = {name: percentile(values, 99) for name, values in figures["requests"].items()}
    count = len(figures["requests"]["stager"])
    return [
        Line(f"The control plane's memory {known}", "-", f"{size:.0f} MB", "below 150 MB", size, 150),
        Line(
            f"Its processor time at rest {known}",
            "-",
            f"{share:.2f} % of a core",
            "below 2 % of a core",
            share,
            2,
            headline=f"At rest {known}: {size:.0f} MB and {share:.1f} % of a core",
        ),
        Line(
            f"A full reconciliation {known}",
            "-",
            seconds(figures["reconciliation"]),
            "below 5 s",
            figures["reconciliation"],
            5,
        ),
        Line(
            "A request to one of them meanwhile (99th percentile)",
            f"{seconds(took['floor'])} (directly to the container)",
            seconds(took["stager"]),
            "at most 50 ms more",
            took["stager"] - took["floor"],
            0.05,
        ),
        Line(
            "Requests that fail meanwhile",
            "0",
            f"{figures['failed']} of {count:,}",
            "0",
            figures["failed"],
            0,
        ),
    ]


ABOUT = f"""\
{KNOWN:,} pull requests are known; {RUNNING} run, the others are from forks and have a page. First nothing is
requested for {IDLE:g} s; memory is the resident set size, processor time includes at least one full
reconciliation. Then, for {LOADED:g} s, {RATE} requests a second go to all running previews in turn by the
front, and as many directly to their containers. The time of a full reconciliation is its mean meanwhile, from
[`/metrics`](how-to/operate-stager.md).
"""

ROW = Row(
    "thousand",
    "A thousand previews",
    ABOUT.strip(),
    measure,
    lines,
)
