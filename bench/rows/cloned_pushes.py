"""From a push to live with a database of 1 GB that is cloned for the push."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from bench import postgres
from bench.figures import median, rounded, seconds, times
from bench.pushing import Author, BuiltByHand, Watcher
from bench.row import Chart, Figures, Line, Row
from bench.testbed import Testbed
from stager.domain.application import Container
from stager.engines.docker.network.pool import tag_of
from tests.integration.images import service_image
from tests.integration.own_pool import OwnPool, dockerd, own_pool, why_not
from tests.integration.stager import StagerUnderTest, docker
from tests.integration.test_snapshots import ended

PUSHES = 6
POOL_SIZE = 8 << 30
LIMIT = 1.3
DATA = "/var/lib/postgresql/data"


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: seconds of each push."""
    if reason := why_not("iptables"):
        raise SystemExit(f"the row `cloned-pushes` can't be measured: {reason}")
    return asyncio.run(_measure(testbed))


async def _measure(testbed: Testbed) -> dict[str, Any]:
    async with contextlib.AsyncExitStack() as stack:
        stager = stack.enter_context(testbed.stopped_stager(**_configuration(testbed.folder / "git")))
        tag = f"--tag={tag_of(stager.installation)}"
        pool = stack.enter_context(own_pool(tag, process=dockerd()))
        stager.more["helper_socket"] = str(pool.socket)
        await pool.call("init", bytes=POOL_SIZE, reserve=False)
        stack.callback(stager.empty)
        stager.start()
        author = Author(testbed.folder / "clone", testbed.folder / "git" / "shop.git")
        await author.push("main")
        watcher = Watcher(stager, author)
        await _take_snapshot(stager, watcher, author)
        hand = await stack.enter_async_context(BuiltByHand(testbed.folder / "hand"))
        return await _compared(ByHandWithDatabase(hand, pool), watcher)


def _configuration(folder: Path) -> dict[str, Any]:
    variables = {"POSTGRES_USER": postgres.USER, "POSTGRES_DB": postgres.USER}
    shop = {
        "build": ".",
        "image": None,
        "port": None,
        "memory": "1g",
        "services": {"db": {"image": service_image("postgres"), "env": variables}},
        "volumes": {"db-data": "clone"},
        "private": False,
    }
    return {"local_forge": str(folder), "images": {"shop": shop}, "helper": "required"}


async def _take_snapshot(stager: StagerUnderTest, watcher: Watcher, author: Author) -> None:
    """Fill the database of a preview, and take a snapshot of it."""
    author.begin("base")
    await author.push("base")
    await watcher.shows("base")
    [database] = stager.containers("label=stager.service=db")
    await asyncio.to_thread(docker, "exec", database, "sh", "-c", postgres.PREPARE)
    preview = stager.environment("base")["id"]
    made = stager.api("/snapshots", "POST", json={"app": "shop", "preview": preview})
    found = await asyncio.to_thread(ended, stager, made)
    assert found["state"] == "ready", found
    await watcher.remove(["base"])


class ByHandWithDatabase:
    """`git push`, `cp --reflink`, PostgreSQL with the copy, `docker buildx build` and the application.

    Args:
        pool: has the snapshot.
    """

    def __init__(self, hand: BuiltByHand, pool: OwnPool) -> None:
        self._hand, self._pool = hand, pool
        self._folder = pool.pool / "by_hand"
        pool.path(self._folder).mkdir()

    async def live_after(self, name: str) -> float:
        """Seconds from the push of a new branch until the application answers."""
        target = self._folder / name
        author = self._hand.author
        author.begin(name)
        begun = perf_counter()
        await author.push(name)
        await self._start_database(target)
        await self._hand.run(author.clone.folder)
        took = perf_counter() - begun
        await self._hand.remove()
        shutil.rmtree(self._pool.path(target))
        return took

    async def _start_database(self, target: Path) -> None:
        [source] = self._pool.path(self._pool.pool).glob("*/snapshots/*/db-data")
        copy = ("cp", "-a", "--reflink=always", str(source), str(self._pool.path(target)))
        copying = await asyncio.create_subprocess_exec(*copy)
        assert await copying.wait() == 0
        spec = replace(
            self._hand.hand.spec(service_image("postgres")),
            container=Container(port=postgres.PORT),
            variables=postgres.VARIABLES,
        )
        mount = {"Type": "bind", "Source": str(target), "Target": DATA}
        await postgres.answer(await self._hand.hand.start(spec, [mount]))


async def _compared(hand: ByHandWithDatabase, watcher: Watcher) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {"floor": [], "stager": []}
    for number in range(-1, PUSHES):  # the first fills the build cache
        name = f"change-{number + 1}"
        took = {"floor": await hand.live_after(name), "stager": await watcher.live_after(name)}
        if number >= 0:
            taken = {who: [*taken[who], value] for who, value in took.items()}
    return {who: rounded(values, 4) for who, values in taken.items()}


def lines(figures: Figures) -> list[Line]:
    """Push to live."""
    floor, ours = median(figures["floor"]), median(figures["stager"])
    return [
        Line(
            what="From `git push` to live with a build and a clone of a database of 1 GB",
            floor=seconds(floor),
            ours=f"{seconds(ours)}, {times(ours / floor)}",
            budget=f"at most {times(LIMIT)}",
            value=ours / floor,
            limit=LIMIT,
            headline=f"A push is live with its own copy of a database of 1 GB after {seconds(ours)}",
        )
    ]


def charts(figures: Figures) -> list[Chart]:
    """The medians."""
    bars = [("by hand", median(figures["floor"])), ("Stager", median(figures["stager"]))]
    return [Chart("bench-cloned-pushes", "From git push to the first 200, with a clone of 1 GB", "s", bars)]


ABOUT = """\
An application that is built, with PostgreSQL 15 whose volume has the policy `clone`. The snapshot is that of
a preview whose database was filled with 6 million rows of pgbench, about 0.9 GB, in a pool of XFS in a file.
Each push makes a new preview with a clone of its own; the application starts once the database is healthy.
The floor pushes to a bare repository without a hook, copies the snapshot's folder by `cp -a
--reflink=always`, starts PostgreSQL with the copy, waits for a query, and builds and starts the application,
by the same calls of Docker's API.
"""

ROW = Row("cloned-pushes", "A push with a cloned database", ABOUT.strip(), measure, lines, charts)
