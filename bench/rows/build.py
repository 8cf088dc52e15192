"""From a push to live, with a warm build cache."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any

from bench.figures import median, rounded, seconds, times
from bench.pushing import Author, BuiltByHand, Watcher, built_here
from bench.row import Chart, Figures, Line, Row
from bench.testbed import Testbed

PUSHES = 10
LIMIT = 1.15

Push = Callable[[str], Awaitable[float]]


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: seconds of each push."""
    return asyncio.run(_measure(testbed))


async def _measure(testbed: Testbed) -> dict[str, Any]:
    async with contextlib.AsyncExitStack() as stack:
        hand = await stack.enter_async_context(BuiltByHand(testbed.folder))
        stager = stack.enter_context(testbed.stager(**built_here(testbed.folder / "git")))
        author = Author(testbed.folder / "clone", testbed.folder / "git" / "shop.git")
        await author.push("main")
        watcher = Watcher(stager, author)
        parties = {
            "floor": lambda name: _by_hand(hand, name),
            "stager": watcher.live_after,
        }
        return await _in_turn(parties)


async def _in_turn(parties: Mapping[str, Push]) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in parties}
    for number in range(-1, PUSHES):  # the first fills the cache
        for who in sorted(parties, reverse=bool(number % 2)):
            took = await parties[who](f"change-{number + 1}")
            if number >= 0:
                taken[who].append(took)
    return {name: rounded(values, 4) for name, values in taken.items()}


async def _by_hand(hand: BuiltByHand, name: str) -> float:
    hand.author.begin(name)
    begun = perf_counter()
    await hand.author.push(name)
    await hand.run(hand.author.clone.folder)
    took = perf_counter() - begun
    await hand.remove()
    return took


def lines(figures: Figures) -> list[Line]:
    """The one line."""
    floor, ours = median(figures["floor"]), median(figures["stager"])
    ratio = ours / floor
    return [
        Line(
            what="From `git push` to live, with a warm build cache",
            floor=seconds(floor),
            ours=f"{seconds(ours)}, {times(ratio)}",
            budget=f"at most {times(LIMIT)}",
            value=ratio,
            limit=LIMIT,
            headline=f"From `git push` to live in {times(ratio)} the time of the same without Stager",
        )
    ]


def charts(figures: Figures) -> list[Chart]:
    """The medians."""
    bars = [
        ("git, buildx and Docker's API", median(figures["floor"])),
        ("Stager", median(figures["stager"])),
    ]
    return [Chart("bench-build", "From git push to the first 200", "s", bars)]


ABOUT = """\
A branch with one changed file is pushed to a bare repository on the same machine; all layers except that of
the file are in the build cache. The floor pushes to a repository without a hook, builds the pushed folder
with `docker buildx build --load`, creates the container as in the row above, and requests it every 5 ms
until it answers. Stager is notified of the push by its hook, fetches the commit and builds it; the preview
is requested through the front every 5 ms from the start of its container, as in the floor. Each branch has
a preview of its own.
"""

ROW = Row(
    "build",
    "From a push to live",
    ABOUT.strip(),
    measure,
    lines,
    charts,
)
