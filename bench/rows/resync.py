"""A resync of 1,000 open pull requests: its requests to GitHub and its processor time."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic, sleep
from typing import Any

import httpx

from bench.figures import seconds
from bench.processes import cpu_seconds
from bench.row import Figures, Line, Row
from bench.testbed import Testbed
from tests.doubles.github import Recorded
from tests.integration.github import TOKEN, USER, Github, running_github
from tests.integration.stager import StagerUnderTest, until

OPEN, PAGE = 1_000, 100
EVERY, TIMES = 5, 6
"""Seconds between two resyncs, and how many of them are looked at once all is known."""
MOST_MORE = 3
"""Questions besides the pages of the list: who we are, what the repository is called now."""
USUALLY_EVERY, MOST_SHARE = 300, 2.0
"""Seconds between two resyncs by default; the percentage of a core that they may take then."""
LOOK_EVERY = 1.0
"""Seconds between two looks at the list of all environments, which isn't cheap."""
PATIENCE = 300.0


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: requests, seconds and processor time of the first resync and of later ones."""
    with running_github() as github:
        for number in range(OPEN):
            github.open(f"branch-{number}", fork_of=f"stranger-{number}")
        floor = _by_hand(github)
        given = {**github.settings, "statuses": False, "deployments": False, "comments": False}
        with testbed.stager(
            github=given, resync_interval=EVERY, images={"shop": {"repo_owner": "acme"}}
        ) as stager:
            begun = github.requests[len(floor["statuses"])].at
            until(lambda: _all_known(stager), "all are known", PATIENCE)
            first = {
                "seconds": round(monotonic() - begun, 3),
                "cpu_seconds": round(cpu_seconds(stager.control_pid), 2),
                "statuses": _statuses(github.requests[len(floor["statuses"]) :]),
            }
            quiet = _quiet(github, stager.control_pid)
    return {"open": OPEN, "floor": floor, "first": first, "quiet": quiet}


def _all_known(stager: StagerUnderTest) -> bool:
    sleep(LOOK_EVERY)
    return len(stager.api()) == OPEN


def _by_hand(github: Github) -> dict[str, Any]:
    """Read the list, page by page, and nothing else."""
    url, begun = f"{github.settings['api_url']}/repos/acme/shop/pulls?per_page={PAGE}", monotonic()
    with httpx.Client(auth=(USER, TOKEN), trust_env=False) as web:
        while url:
            answer = web.get(url).raise_for_status()
            answer.json()
            url = answer.links.get("next", {}).get("url", "")
    return {"seconds": round(monotonic() - begun, 3), "statuses": _statuses(github.requests)}


def _quiet(github: Github, pid: int) -> dict[str, Any]:
    """The mean of several resyncs, including the process's other work."""
    before, used = len(github.requests), cpu_seconds(pid)
    pages = OPEN // PAGE
    until(lambda: len(github.requests) >= before + TIMES * pages, f"{TIMES} resyncs", PATIENCE)
    return {
        "cpu_seconds": round((cpu_seconds(pid) - used) / TIMES, 3),
        "statuses": _statuses(github.requests[before : before + TIMES * pages]),
        "times": TIMES,
    }


def _statuses(requests: Sequence[Recorded]) -> list[int]:
    return [request.status for request in requests]


def lines(figures: Figures) -> list[Line]:
    """Requests and costs, of the first and of later ones."""
    floor, first, quiet = figures["floor"], figures["first"], figures["quiet"]
    pages, requests = len(floor["statuses"]), len(first["statuses"])
    counted = [status for status in quiet["statuses"] if status != 304]
    again, charged = len(quiet["statuses"]) / quiet["times"], len(counted) / quiet["times"]
    share = quiet["cpu_seconds"] / USUALLY_EVERY * 100
    what = f"of {figures['open']:,} open pull requests"
    return [
        Line(
            what=f"Requests to GitHub for the first resync {what}",
            floor=f"{pages} (the list), {seconds(floor['seconds'])}",
            ours=f"{requests}; all known after {seconds(first['seconds'])} and"
            f" {first['cpu_seconds']:.1f} s of a processor, Stager's start included",
            budget=f"at most {pages + MOST_MORE}",
            value=requests,
            limit=pages + MOST_MORE,
        ),
        Line(
            what=f"Requests that count against the rate limit, for a resync {what} that finds nothing new",
            floor="0",
            ours=f"{charged:g} of {again:g}",
            budget="0",
            value=charged,
            limit=0,
        ),
        Line(
            what="Its processor time, every five minutes",
            floor="-",
            ours=f"{seconds(quiet['cpu_seconds'])}, {share:.2f} % of a core",
            budget=f"below {MOST_SHARE:g} % of a core",
            value=share,
            limit=MOST_SHARE,
        ),
    ]


ABOUT = f"""\
{OPEN:,} pull requests from forks are open at a simulated GitHub, which answers in pages of {PAGE} with
ETags, without any webhook. Stager starts and finds them; none of them runs, because none is approved. Then
{TIMES} resyncs that find nothing new are measured. The floor reads the list page by page.
"""

ROW = Row(
    "resync",
    "Asking what is open",
    ABOUT.strip(),
    measure,
    lines,
)
