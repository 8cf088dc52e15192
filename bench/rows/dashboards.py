"""Open dashboards: how long a change takes to every screen, and what the streams cost the control plane."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep
from typing import Any

import aiohttp

from bench.figures import percentile, rounded, seconds
from bench.openloop import spread
from bench.processes import cpu_seconds, memory
from bench.row import Figures, Line, Row
from bench.testbed import Testbed
from tests.integration.pulls import Pull
from tests.integration.stager import PASSWORD, USER, StagerUnderTest, until

KNOWN, DASHBOARDS, PEOPLE = 1_000, 200, 20
RATE, DURATION = 20, 50.0
"""Changes a second, and for how many seconds: each environment changes once."""
SETTLE = 10.0
PATIENCE = 900.0
MOST_PERCENT = 25
"""Of a core, that the streams may cost the control plane."""
ITEM = re.compile(rb'id="preview-([a-z0-9]+)"')


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: seconds from each change to each screen, processor time and memory of the control plane
    with the dashboards and without."""
    people = [f"person{number}" for number in range(PEOPLE)]
    users = [f"{name}:{PASSWORD}" for name in (USER, *people)]
    with testbed.stager(users=users) as stager:
        _fill(stager)
        sleep(SETTLE)
        environments = [each["id"] for each in stager.api()]
        without = asyncio.run(_changed(stager, environments, []))
        with_them = asyncio.run(_changed(stager, environments, people))
        return {"known": len(environments), "dashboards": DASHBOARDS, "without": without, "with": with_them}


def _fill(stager: StagerUnderTest) -> None:
    """Open pull requests from forks: they have a row and a page, and nothing runs for them."""
    with ThreadPoolExecutor(8) as senders:
        changes = [Pull(number, f"branch-{number}", fork=True) for number in range(1, KNOWN + 1)]
        for answer in senders.map(lambda change: stager.deliver(change.opened()), changes):
            assert answer.status_code == 202, answer.text
    until(lambda: len(stager.api()) == KNOWN, "all are known", PATIENCE)


async def _changed(
    stager: StagerUnderTest, environments: Sequence[str], people: Sequence[str]
) -> dict[str, Any]:
    """Pin each environment once while these people have dashboards open."""
    sent: dict[str, float] = {}
    seen: list[float] = []
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(None)) as web:
        opened = [asyncio.Event() for _ in range(DASHBOARDS if people else 0)]
        viewers = [
            asyncio.create_task(_follow(web, stager, people[number % len(people)], each, sent, seen))
            for number, each in enumerate(opened)
        ]
        await asyncio.gather(*(each.wait() for each in opened))
        begun, before = monotonic(), cpu_seconds(stager.control_pid)
        answered = await spread(
            lambda number: _change(web, stager, environments[number], sent), len(environments), DURATION
        )
        await asyncio.sleep(2.0)
        used, took = cpu_seconds(stager.control_pid) - before, monotonic() - begun
        for viewer in viewers:
            viewer.cancel()
        await asyncio.gather(*viewers, return_exceptions=True)
    return {
        "cpu_seconds": round(used, 2),
        "seconds": round(took, 1),
        "bytes": memory(stager.control_pid),
        "answered": rounded(sorted(answered), 4),
        "events": len(seen),
        "to_screen": [round(percentile(sorted(seen), each), 4) for each in (50, 90, 99, 100)] if seen else [],
    }


async def _change(
    web: aiohttp.ClientSession, stager: StagerUnderTest, environment: str, sent: dict[str, float]
) -> None:
    sent[environment] = monotonic()
    url = f"{stager.url}/api/v1/environments/{environment}/pin"
    headers = {"Host": f"localhost:{stager.port}"}
    async with web.post(url, headers=headers, auth=aiohttp.BasicAuth(USER, PASSWORD)) as answer:
        assert answer.status < 300, await answer.text()


async def _follow(
    web: aiohttp.ClientSession,
    stager: StagerUnderTest,
    person: str,
    opened: asyncio.Event,
    sent: dict[str, float],
    seen: list[float],
) -> None:
    """Read a stream as a browser does, and note when each changed item arrives for the first time."""
    known: set[bytes] = set()
    headers = {"Host": f"localhost:{stager.port}"}
    url, person_is = f"{stager.url}/dashboard/events", aiohttp.BasicAuth(person, PASSWORD)
    async with web.get(url, headers=headers, auth=person_is) as answer:
        assert answer.status == 200, answer.status
        opened.set()
        rest = b""
        async for chunk in answer.content.iter_any():
            now, text = monotonic(), rest + chunk
            for found in ITEM.findall(text):
                # Others are late changes of the preparation.
                if found not in known and found.decode() in sent:
                    known.add(found)
                    seen.append(now - sent[found.decode()])
            rest = text[-64:]


def lines(figures: Figures) -> list[Line]:
    """The delay, and processor time and memory beside those without dashboards."""
    what = (
        f"{figures['dashboards']} open dashboards, {figures['known']:,} environments, {RATE} changes a second"
    )
    shares = {k: figures[k]["cpu_seconds"] / figures[k]["seconds"] * 100 for k in ("with", "without")}
    sizes = {k: figures[k]["bytes"] / 1e6 for k in ("with", "without")}
    median, _, late, _ = figures["with"]["to_screen"]
    missing = figures["known"] * figures["dashboards"] - figures["with"]["events"]
    return [
        Line(
            f"From a change to every screen, with {what} (99th percentile)",
            f"{seconds(percentile(figures['with']['answered'], 99))} (the request that makes the change)",
            f"{seconds(late)} (median {seconds(median)})",
            "below 1 s",
            late,
            1.0,
            headline=f"A change is on all of {figures['dashboards']} open dashboards within {late:.2f} s",
        ),
        Line("Changes that don't arrive", "0", f"{missing:,}", "0", missing, 0),
        Line(
            "The control plane's processor time meanwhile",
            f"{shares['without']:.0f} % of a core (without dashboards)",
            f"{shares['with']:.0f} % of a core",
            f"at most {MOST_PERCENT} % of a core more",
            shares["with"] - shares["without"],
            MOST_PERCENT,
        ),
        Line(
            "Its memory meanwhile",
            f"{sizes['without']:.0f} MB (without dashboards)",
            f"{sizes['with']:.0f} MB",
            "at most 60 MB more",
            sizes["with"] - sizes["without"],
            60,
        ),
    ]


ABOUT = f"""\
{KNOWN:,} pull requests from forks are known; nothing runs for them. {PEOPLE} people have {DASHBOARDS} streams
of changes open, as many as dashboards in browsers have. In {DURATION:g} s, each environment is pinned once by
the API. The time ends when the item's HTML arrives at the stream's reader, which is in one process with all
other readers; drawing it takes a browser some milliseconds more. The floor is the same without a dashboard,
directly before, in the same process.
"""

ROW = Row("dashboards", "Open dashboards", ABOUT.strip(), measure, lines)
