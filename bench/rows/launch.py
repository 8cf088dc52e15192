"""Launching: from the request to the first 200, one at a time and 32 at once."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp

from bench import hub
from bench.byhand import ByHand
from bench.figures import median, rounded, seconds, times
from bench.row import Chart, Figures, Line, Row
from bench.testbed import Testbed, app_image
from tests.integration.stager import PASSWORD, USER, StagerUnderTest

SINGLE, TOGETHER, ROUNDS = 10, 32, 3
PEER_ROUNDS = 2
"""Launches one at a time; launches at once, and how often, by the peer less often, for it takes long."""

Launch = Callable[[str], Awaitable[float]]
Remove = Callable[[Sequence[str]], Awaitable[None]]
Party = tuple[Launch, Remove]


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: seconds of each single launch, and of the last of the concurrent ones."""
    return asyncio.run(_measure(testbed))


async def _measure(testbed: Testbed) -> dict[str, Any]:
    async with contextlib.AsyncExitStack() as stack:
        web = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        hand = await stack.enter_async_context(ByHand())
        stager = stack.enter_context(testbed.stager())
        parties = {"floor": _by_hand(hand), "stager": _with_stager(web, stager)}
        versions = {}
        if testbed.options.peers and hub.is_installed():
            versions = hub.versions()
            folder = Path(tempfile.mkdtemp(dir=testbed.folder))
            parties["peer"] = await _with_hub(web, stack.enter_context(hub.running_hub(folder)))
        alone = await _alone(parties)
        together = await _together(parties)
    return {"peer_versions": versions, "alone": alone, "together": together, "at_once": TOGETHER}


async def _alone(parties: dict[str, Party]) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in parties}
    for number in range(-1, SINGLE):  # the first is for warming up
        for name in _turn(parties, number):
            launch, remove = parties[name]
            took = await launch(f"alone-{number + 1}")
            await remove([f"alone-{number + 1}"])
            if number >= 0:
                taken[name].append(took)
    return {name: rounded(values, 4) for name, values in taken.items()}


async def _together(parties: dict[str, Party]) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in parties}
    for number in range(ROUNDS):
        for name in _turn(parties, number):
            if name == "peer" and number >= PEER_ROUNDS:
                continue
            launch, remove = parties[name]
            people = [f"user-{number}-{index}" for index in range(TOGETHER)]
            begun = perf_counter()
            await asyncio.gather(*map(launch, people))
            taken[name].append(perf_counter() - begun)
            await remove(people)
    return {name: rounded(values, 4) for name, values in taken.items()}


def _turn(parties: dict[str, Party], number: int) -> list[str]:
    """The order of the parties, which changes from round to round."""
    names = list(parties)
    first = number % len(names)
    return names[first:] + names[:first]


def _by_hand(hand: ByHand) -> Party:
    async def remove(_: Sequence[str]) -> None:
        await hand.remove()

    return lambda _: hand.launch(app_image()), remove


def _with_stager(web: aiohttp.ClientSession, stager: StagerUnderTest) -> Party:
    auth = aiohttp.BasicAuth(USER, PASSWORD)
    host = {"Host": f"localhost:{stager.port}"}

    async def post(path: str, name: str) -> str:
        data = {"image_name": "shop", "container_name": name}
        async with web.post(f"{stager.url}{path}", data=data, auth=auth, headers=host) as answer:
            text = await answer.text()
            assert answer.status == 200, text
            return text

    async def launch(name: str) -> float:
        begun = perf_counter()
        await post("/launch", name)
        async with web.get(stager.url, headers={"Host": stager.host(name)}) as answer:
            assert answer.status == 200, answer.status
        return perf_counter() - begun

    async def remove(names: Sequence[str]) -> None:
        await asyncio.gather(*(post("/kill", name) for name in names))

    return launch, remove


async def _with_hub(web: aiohttp.ClientSession, running: hub.Hub) -> Party:
    known: set[str] = set()
    people = [f"user-{number}-{index}" for number in range(ROUNDS) for index in range(TOGETHER)]
    for user in [*people, *(f"alone-{number}" for number in range(SINGLE + 1))]:
        await running.add(web, user)
        known.add(user)

    async def remove(users: Sequence[str]) -> None:
        await asyncio.gather(*(running.remove(web, user) for user in users))

    return lambda user: running.launch(web, user), remove


def lines(figures: Figures) -> list[Line]:
    """Both lines, with the peer if it was measured."""
    return [
        _line(figures["alone"], "A launch, to its first 200", 1.15, "A launch"),
        _line(
            figures["together"],
            f"{figures['at_once']} launches at once, to the last 200",
            1.2,
            f"{figures['at_once']} launches at once",
        ),
    ]


def _line(taken: dict[str, list[float]], what: str, limit: float, short: str) -> Line:
    floor, ours = median(taken["floor"]), median(taken["stager"])
    ratio = ours / floor
    peer = (
        f"{seconds(median(taken['peer']))}, {times(median(taken['peer']) / floor)}" if "peer" in taken else ""
    )
    beside = f" (JupyterHub: {times(median(taken['peer']) / floor)})" if peer else ""
    return Line(
        what=what,
        floor=seconds(floor),
        ours=f"{seconds(ours)}, {times(ratio)}",
        budget=f"at most {times(limit)}",
        value=ratio,
        limit=limit,
        peer=f"JupyterHub: {peer}" if peer else "",
        headline=f"{short}: {times(ratio)} the time of the same by Docker's API{beside}",
    )


def charts(figures: Figures) -> list[Chart]:
    """The medians of both."""
    names = {"floor": "Docker's API", "stager": "Stager", "peer": "JupyterHub"}
    return [
        Chart(
            f"bench-launch-{which}",
            title,
            "s",
            [(names[who], median(values)) for who, values in figures[which].items()],
        )
        for which, title in (
            ("alone", "One launch, to its first 200"),
            ("together", f"{figures['at_once']} launches at once, to the last 200"),
        )
    ]


ABOUT = """\
The image is busybox's web server with one page. The floor creates the same container (the same limits, an
init process, a network of its own) by the same calls of Docker's API, and requests it every 5 ms until it
answers. Stager gets `POST /launch`, which answers when the preview is live, and then a request to the
preview through its front. JupyterHub starts a user's server, which is then requested through its proxy; a
hook creates a network for each of its servers, which DockerSpawner doesn't do by itself.
"""

ROW = Row(
    "launch",
    "Launching a prebuilt image",
    ABOUT.strip(),
    measure,
    lines,
    charts,
)
