"""A Compose file with three services: from a push to live, and requests during pushes that change one of
them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp

from bench.byhand import LOOK_EVERY
from bench.figures import median, rounded, seconds, times
from bench.pushing import Author, Watcher, dockerfile
from bench.row import Chart, Figures, Line, Row
from bench.testbed import PORT, Testbed
from tests.integration.images import base_image
from tests.integration.load import Load
from tests.integration.stager import PATIENCE

PUSHES, REFRESHES = 8, 20
LIMIT = 1.15

COMPOSE = """\
services:
  web:
    build: web
    ports: ["{port}"]
    depends_on: [api, cache]
    healthcheck: &check
      test: wget -q -O - http://127.0.0.1:{port}/
      interval: 1s
  api:
    build: api
    expose: ["{port}"]
    healthcheck: *check
  cache:
    image: {base}
    command: sh -c "mkdir /site && echo cache > /site/index.html && exec httpd -f -p {port} -h /site"
    healthcheck: *check
"""


def _compose() -> str:
    return COMPOSE.format(base=base_image("static"), port=PORT)


def author_of(folder: Path, remote: Path, compose: str) -> Author:
    """A developer with a repository of several services, `web` and `api` of which may be built."""
    files = {f"{service}/Dockerfile": dockerfile() for service in ("web", "api")}
    files |= {f"{service}/index.html": service for service in ("web", "api")}
    files["compose.yaml"] = compose
    return Author(folder, remote, files, "web/index.html")


class ComposedByHand:
    """`git push` to a bare repository without hooks, then `docker compose up --wait --build`.

    Args:
        folder: an empty one.
        compose: the Compose file.
    """

    def __init__(self, folder: Path, compose: str) -> None:
        bare = folder / "shop.git"
        subprocess.run(["git", "init", "--quiet", "--bare", str(bare)], check=True)
        self.author = author_of(folder / "by-hand", bare, compose)
        self._project = f"stager-bench-{os.getpid()}"

    async def up(self, web: aiohttp.ClientSession) -> None:
        """Build and start all services, and wait for the first 200 of the main one."""
        await self._compose("up", "--wait", "--build", "--detach", "--quiet-pull")
        address = (await self._compose("port", "web", str(PORT))).strip().replace("0.0.0.0", "127.0.0.1")
        async with asyncio.timeout(PATIENCE):
            while not await _answers(web, f"http://{address}/"):  # noqa: ASYNC110 (as visitors request it)
                await asyncio.sleep(LOOK_EVERY)

    async def down(self) -> None:
        """Remove the services and their images."""
        await self._compose("down", "--volumes", "--rmi", "local", "--timeout", "1")

    async def _compose(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *("docker", "compose", "--project-name", self._project, *arguments),
            cwd=self.author.clone.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        return output.decode()


async def _answers(web: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with web.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: seconds of each push, and requests during refreshes with those that failed."""
    return asyncio.run(_measure(testbed))


async def _measure(testbed: Testbed) -> dict[str, Any]:
    async with contextlib.AsyncExitStack() as stack:
        stager = stack.enter_context(testbed.stager(**composed(testbed.folder / "git")))
        author = author_of(testbed.folder / "clone", testbed.folder / "git" / "shop.git", _compose())
        await author.push("main")
        watcher = Watcher(stager, author)
        taken = await pushes(ComposedByHand(testbed.folder / "hand", _compose()), watcher, PUSHES)
        refreshed = await _refreshed(stager.url, stager.host("steady"), watcher, author)
    return {**taken, **refreshed}


async def pushes(hand: ComposedByHand, watcher: Watcher, count: int) -> dict[str, list[float]]:
    """Seconds from each of so many pushes to live, by Compose and by Stager in turn."""
    taken: dict[str, list[float]] = {"floor": [], "stager": []}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as web:
        for number in range(-1, count):  # the first fills the cache
            name = f"change-{number + 1}"
            took = {"floor": await _by_hand(hand, web, name), "stager": await watcher.live_after(name)}
            if number >= 0:
                taken = {who: [*taken[who], seconds_] for who, seconds_ in took.items()}
    return {who: rounded(values, 4) for who, values in taken.items()}


def composed(folder: Path) -> dict[str, Any]:
    """The configuration of Stager that runs the Compose file of the repositories in a folder."""
    composed = {"compose": True, "image": None, "port": None, "build": ".", "memory": "1g"}
    return {"local_forge": str(folder), "images": {"shop": composed}}


async def _by_hand(hand: ComposedByHand, web: aiohttp.ClientSession, name: str) -> float:
    hand.author.begin(name)
    begun = perf_counter()
    await hand.author.push(name)
    await hand.up(web)
    took = perf_counter() - begun
    await hand.down()
    return took


async def _refreshed(url: str, host: str, watcher: Watcher, author: Author) -> Mapping[str, Any]:
    """Push one branch again and again, each time with a change of the service `web`, under load."""
    author.begin("steady")
    await author.push("steady")
    await watcher.shows("steady")
    async with Load(url, host, ("/",), posts=False) as load:
        for number in range(REFRESHES):
            page = f"{number} of {author.clone.folder}"
            author.change(page)
            await author.push("steady")
            await load.until_answered(page)
    return {"refreshes": REFRESHES, "requests": load.requests, "failed": len(load.failures)}


def lines(figures: Figures) -> list[Line]:
    """Push to live, and failed requests."""
    floor, ours = median(figures["floor"]), median(figures["stager"])
    ratio = ours / floor
    failed = f"{figures['failed']} of {figures['requests']:,}"
    return [
        Line(
            what="From `git push` to live with three services of a Compose file, with a warm build cache",
            floor=seconds(floor),
            ours=f"{seconds(ours)}, {times(ratio)}",
            budget=f"at most {times(LIMIT)}",
            value=ratio,
            limit=LIMIT,
        ),
        Line(
            what=f"Requests that fail during {figures['refreshes']} pushes that change one of three services",
            floor="0",
            ours=failed,
            budget="0",
            value=figures["failed"],
            limit=0,
        ),
    ]


def charts(figures: Figures) -> list[Chart]:
    """The medians."""
    bars = [
        ("git and docker compose up --wait --build", median(figures["floor"])),
        ("Stager", median(figures["stager"])),
    ]
    return [Chart("bench-services", "From git push to the first 200, three services", "s", bars)]


ABOUT = """\
A repository has a Compose file with three services, two of them built, each with a health check every second;
a branch changes one file of one service, and all other layers are in the build cache. The floor pushes to a
bare repository without a hook, runs `docker compose up --wait --build` in the pushed folder, and requests the
main service every 5 ms until it answers. Stager builds and starts the same file at each push. Then one branch
is pushed again and again under load, with changes of one of its services.
"""

ROW = Row(
    "services",
    "Several services",
    ABOUT.strip(),
    measure,
    lines,
    charts,
)
