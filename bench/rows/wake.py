"""Waking: from a request to a preview that sleeps until its answer, from each depth."""

from __future__ import annotations

import asyncio
import contextlib
from time import perf_counter
from typing import Any

import aiohttp

from bench.byhand import ByHand, Depth
from bench.cgroups import memory_of, swap_out
from bench.figures import median, percentile, rounded, seconds
from bench.row import Chart, Figures, Line, Row
from bench.testbed import APPLICATION_COMMAND, Testbed, versioned
from tests.integration.images import application_image
from tests.integration.stager import StagerUnderTest, docker, until
from tests.integration.swap import NoSwapError, swap_file

DEPTHS: tuple[Depth, ...] = ("paused", "swapped", "stopped")
ROUNDS = 30
LIMIT = 0.05
"""Seconds that Stager may add."""
SWAP = 1 << 30
WORDS = {
    "paused": "paused",
    "swapped": "paused, with its memory in a swap file",
    "stopped": "stopped",
}


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: seconds of each wake, by depth and party."""
    with contextlib.ExitStack() as stack:
        depths = list(DEPTHS)
        try:
            stack.enter_context(swap_file(testbed.folder, SWAP))
        except NoSwapError as error:
            print(f"  no swap: {error}", flush=True)
            depths.remove("swapped")
        return asyncio.run(_measure(testbed, depths))


async def _measure(testbed: Testbed, depths: list[Depth]) -> dict[str, Any]:
    taken: dict[str, dict[str, list[float]]] = {}
    with testbed.stager(images=versioned()) as stager:
        await asyncio.to_thread(stager.launched)
        ours = Sleeper(stager)
        async with ByHand() as hand, aiohttp.ClientSession() as web:
            url = await hand.serve(application_image(), APPLICATION_COMMAND.split())
            for depth in depths:
                taken[depth] = {"floor": [], "stager": []}
                for number in range(-2, ROUNDS):  # the first ones are for warming up
                    await hand.sleep(depth)
                    floor = await hand.wake(depth, url)
                    await asyncio.to_thread(ours.sleep, depth)
                    stagers = await ours.wake(web)
                    if number >= 0:
                        taken[depth]["floor"].append(floor)
                        taken[depth]["stager"].append(stagers)
    return {
        depth: {name: rounded(values, 4) for name, values in parties.items()}
        for depth, parties in taken.items()
    }


class Sleeper:
    """A preview of Stager's that is put to sleep and woken."""

    def __init__(self, stager: StagerUnderTest) -> None:
        self._stager = stager
        self._id = stager.environment("test")["id"]

    def sleep(self, depth: Depth) -> None:
        """Put it to sleep. Deeper than paused, this does what Stager itself does later: it moves the memory
        to swap, or stops the container."""
        self._stager.wait_for("test", "live")
        self._stager.api(f"/environments/{self._id}/sleep", "POST")
        self._stager.wait_for("test", "asleep")
        [container] = self._stager.containers()
        until(lambda: self._stager.inspect(container)["State"]["Paused"], "it is paused")
        if depth == "swapped":
            before = memory_of(container)
            swap_out(container)
            assert memory_of(container) < before
        elif depth == "stopped":
            docker("stop", container)

    async def wake(self, web: aiohttp.ClientSession) -> float:
        """Seconds from a request until its answer."""
        begun = perf_counter()
        async with web.get(self._stager.url, headers={"Host": self._stager.host("test")}) as answer:
            assert answer.status == 200, await answer.text()
        return perf_counter() - begun


def lines(figures: Figures) -> list[Line]:
    """A line for each depth."""
    return [_line(depth, figures[depth]) for depth in DEPTHS if depth in figures]


def _line(depth: Depth, parties: dict[str, list[float]]) -> Line:
    floor, ours = parties["floor"], parties["stager"]
    more = max(median(ours) - median(floor), percentile(ours, 95) - percentile(floor, 95))
    return Line(
        what=f"From a request to a sleeping preview to its answer: {WORDS[depth]}",
        floor=_words(floor),
        ours=f"{_words(ours)}, {seconds(max(more, 0))} more",
        budget=f"at most {seconds(LIMIT)} more, median and 95th percentile",
        value=more,
        limit=LIMIT,
        headline=f"A preview that sleeps answers after {seconds(median(ours))}" if depth == "paused" else "",
    )


def _words(values: list[float]) -> str:
    return f"{seconds(median(values))} (95th percentile {seconds(percentile(values, 95))})"


def charts(figures: Figures) -> list[Chart]:
    """The medians, in milliseconds."""
    names = {"paused": "paused", "swapped": "memory in swap", "stopped": "stopped"}
    bars = [
        (f"{who}, {names[depth]}", round(median(figures[depth][party]) * 1_000, 1))
        for depth in DEPTHS
        if depth in figures
        for who, party in (("Docker", "floor"), ("Stager", "stager"))
    ]
    return [Chart("bench-wake", "From a request to a sleeping preview to its answer", "ms", bars)]


ABOUT = f"""\
A small Python application sleeps, and is requested {ROUNDS} times. The floor calls Docker's API to unpause or
start its container, and requests it every 5 ms until it answers. With Stager, the request comes first: the
front holds it until the preview is awake. The swap file is on the machine's disk. Deeper sleep is brought
about at once: the memory is moved to swap as Stager does it after a minute, and the container is stopped by
Docker.
"""

ROW = Row(
    "wake",
    "Waking a preview",
    ABOUT.strip(),
    measure,
    lines,
    charts,
)
