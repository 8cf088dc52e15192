"""20 pushes at once, each with a build of its own: the order in which they become live, and Stager's
resources."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.figures import rounded, seconds, times
from bench.processes import memory
from bench.pushing import Author, BuiltByHand, Watcher, built_here
from bench.row import Figures, Line, Row
from bench.testbed import Testbed
from tests.integration.stager import StagerUnderTest

CHANGES, AT_ONCE = 20, 2
"""Branches in one push; builds that run at a time, Stager's default."""
LIMIT = 1.2
MOST_OVERTAKEN = 2 * AT_ONCE
MEMORY_LIMIT = 150
LOOK_EVERY, VISIT_EVERY = 0.5, 0.05
"""Seconds between two looks at each preview, for there are many; between two visits of the one that runs."""


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: when each was live, in the order of the pushes, and the control plane's memory."""
    return asyncio.run(_measure(testbed))


async def _measure(testbed: Testbed) -> dict[str, Any]:
    names = [f"change-{number:02}" for number in range(CHANGES)]
    async with contextlib.AsyncExitStack() as stack:
        hand = await stack.enter_async_context(BuiltByHand(testbed.folder))
        stager = stack.enter_context(testbed.stager(**built_here(testbed.folder / "git")))
        author = Author(testbed.folder / "clone", testbed.folder / "git" / "shop.git")
        await author.push("main")
        watcher = Watcher(stager, author)
        await _warm(hand, author, watcher)
        floor = await _by_hand(hand, names)
        return {"changes": CHANGES, "at_once": AT_ONCE, "floor": floor} | await _with_stager(
            stager, watcher, author, names
        )


async def _warm(hand: BuiltByHand, author: Author, watcher: Watcher) -> None:
    """Fill the build cache, and leave a preview for visitors."""
    hand.author.begin("first")
    await hand.run(hand.author.clone.folder)
    await hand.remove()
    author.begin("visited")
    await author.push("visited")
    await watcher.shows("visited")


async def _by_hand(hand: BuiltByHand, names: Sequence[str]) -> float:
    """Seconds until the last one answers, with as many parallel builds as Stager's."""
    for name in names:
        hand.author.begin(name)
    folders = [hand.author.folder_of(name) for name in names]
    hands = asyncio.Semaphore(AT_ONCE)

    async def one(folder: Path) -> None:
        async with hands:
            await hand.run(folder)

    begun = perf_counter()
    await hand.author.push(*names)
    await asyncio.gather(*map(one, folders))
    took = perf_counter() - begun
    await hand.remove()
    return round(took, 3)


async def _with_stager(
    stager: StagerUnderTest, watcher: Watcher, author: Author, names: Sequence[str]
) -> dict[str, Any]:
    for name in names:
        author.begin(name)
    before, peak = memory(stager.control_pid), asyncio.create_task(_peak(stager.control_pid))
    visits = asyncio.create_task(_visits(watcher))
    begun = perf_counter()
    await author.push(*names)
    live = await asyncio.gather(*(watcher.shows(name, LOOK_EVERY) for name in names))
    peak.cancel()
    visits.cancel()
    answers = await visits
    return {
        "live": rounded([moment - begun for moment in live], 3),
        "bytes": {"before": before, "most": max(await peak, before)},
        "visits": {"requests": len(answers), "failed": sum(status != 200 for status in answers)},
    }


async def _visits(watcher: Watcher) -> list[int]:
    """The answers to requests for a preview, sent continuously until this is cancelled."""
    answers = []
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            answers.append((await watcher.page("visited"))[0])
            await asyncio.sleep(VISIT_EVERY)
    return answers


async def _peak(pid: int) -> int:
    """A process's peak memory until this is cancelled."""
    most = 0
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            most = max(most, memory(pid))
            await asyncio.sleep(0.05)
    return most


def overtaken(live: Sequence[float]) -> int:
    """The largest number of later pushes that became live before an earlier one.

    Args:
        live: when each became live, in the order of the pushes.
    """
    return max(sum(later < moment for later in live[place + 1 :]) for place, moment in enumerate(live))


def lines(figures: Figures) -> list[Line]:
    """Time, order, memory, and effects on visitors."""
    count, last = figures["changes"], max(figures["live"])
    ratio, order = last / figures["floor"], overtaken(figures["live"])
    most, visits = figures["bytes"]["most"] / 1e6, figures["visits"]
    return [
        Line(
            what=f"{count} changes at once, each built, to the last one live",
            floor=seconds(figures["floor"]),
            ours=f"{seconds(last)}, {times(ratio)}",
            budget=f"at most {times(LIMIT)}",
            value=ratio,
            limit=LIMIT,
        ),
        Line(
            what="Of these, the most later changes that overtake one",
            floor="-",
            ours=str(order),
            budget=f"at most {MOST_OVERTAKEN}, twice the builds that run at once",
            value=order,
            limit=MOST_OVERTAKEN,
        ),
        Line(
            what="The control plane's memory during that",
            floor=f"{figures['bytes']['before'] / 1e6:.0f} MB before",
            ours=f"{most:.0f} MB",
            budget=f"below {MEMORY_LIMIT} MB",
            value=most,
            limit=MEMORY_LIMIT,
        ),
        Line(
            what="Failed requests to a running preview during that",
            floor="0",
            ours=f"{visits['failed']} of {visits['requests']:,}",
            budget="0",
            value=visits["failed"],
            limit=0,
        ),
    ]


ABOUT = f"""\
{CHANGES} branches are pushed in one `git push`, each with a changed file; {AT_ONCE} builds run at a time.
The floor builds and runs as many with `docker buildx` and Docker's API, {AT_ONCE} at a time. With Stager,
another preview is requested meanwhile, every {VISIT_EVERY * 1e3:g} ms. A change is overtaken by each one
that was pushed later and is live earlier.
"""

ROW = Row(
    "changes",
    "Many changes at once",
    ABOUT.strip(),
    measure,
    lines,
    missed="the control plane's other work for each preview, 0.13 s of a processor, competes with"
    " the builds, which keep both processors busy.",
)
