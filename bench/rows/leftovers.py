"""What is left after a random history: it should be nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.row import Figures, Line, Row
from bench.testbed import Testbed
from stager.domain.errors import Retry
from stager.domain.route import Endpoint, RouteTable
from stager.engines.docker import labels
from stager.front.process.client import FrontClient
from tests.integration.pulls import Pull
from tests.integration.stager import StagerUnderTest, docker, until

SEED, MOST_OPEN = 20260301, 5
PATIENCE = 180.0
COUNT_EVERY = 5
"""Cycles between two counts of what there is meanwhile, which show that the counting counts."""


class History:
    """A random history: pull requests are opened, pushed to and closed, and Stager is killed.

    Attributes:
        happened: the number of events of each kind.
    """

    def __init__(self, stager: StagerUnderTest) -> None:
        self.happened: Counter[str] = Counter()
        self._stager = stager
        self._dice = random.Random(SEED)
        self._open: list[Pull] = []
        self._count = 0

    def cycle(self) -> None:
        """Carry out one random event, without waiting for its effect except for a moment at times."""
        things: dict[str, tuple[Callable[[], None], int]] = {
            "opened": (self._opened, 3 if len(self._open) < MOST_OPEN else 0),
            "pushed": (self._pushed, 4 if self._open else 0),
            "closed": (self._closed, 2 if self._open else 0),
            "control plane killed": (self._stager.restart, 2),
            "front killed": (self._stager.kill_front, 1 if self._stager.front_pid else 0),
        }
        [name] = self._dice.choices(list(things), weights=[weight for _, weight in things.values()])
        self.happened[name] += 1
        things[name][0]()
        time.sleep(self._dice.choice([0, 0, 0.1, 0.5]))

    def end(self) -> None:
        """Close the open pull requests."""
        while self._open:
            self._closed()

    def _opened(self) -> None:
        self._count += 1
        pull = Pull(self._count, f"branch-{self._count}")
        self._open.append(pull)
        self._deliver(pull.opened())

    def _pushed(self) -> None:
        self._deliver(self._dice.choice(self._open).push())

    def _closed(self) -> None:
        pull = self._dice.choice(self._open)
        self._open.remove(pull)
        self._deliver(pull.closed())

    def _deliver(self, payload: dict[str, Any]) -> None:
        assert self._stager.deliver(payload).status_code == 202


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: what happened, what was created, and how much of it is left."""
    with testbed.stager(reconcile_interval="5s") as stager, _watching(testbed.folder / "events") as events:
        history, most = History(stager), Counter[str]()
        for number in range(testbed.options.cycles):
            history.cycle()
            if number % COUNT_EVERY == 0:
                most |= Counter(_left(stager, events))
        history.end()
        with contextlib.suppress(AssertionError):  # what is left then is what counts
            until(lambda: not any(_left(stager, events).values()), "nothing is left", PATIENCE)
        made = {"containers": len(_containers(stager, events)), "volumes": len(_volumes(stager, events))}
        left = _left(stager, events)
    return {
        "cycles": testbed.options.cycles,
        "happened": dict(history.happened),
        "made": made,
        "most": dict(most),
        "left": left,
    }


@contextlib.contextmanager
def _watching(path: Path) -> Iterator[Path]:
    """Record the engine's events, one JSON object per line. Only they show the owner of an anonymous
    volume."""
    with path.open("wb") as file:
        command = [
            "docker",
            "events",
            "--format",
            "{{json .}}",
            "--filter=type=container",
            "--filter=type=volume",
        ]
        watcher = subprocess.Popen(command, stdout=file)
    try:
        yield path
    finally:
        watcher.terminate()
        watcher.wait(20)


def _left(stager: StagerUnderTest, events: Path) -> dict[str, int]:
    ours = f"--filter=label={labels.INSTALLATION}={stager.installation}"
    return {
        "containers": len(stager.containers()),
        "networks": len(stager.networks()),
        "volumes": len(_volumes(stager, events) & set(docker("volume", "ls", "--quiet").split())),
        "images": len(docker("images", "--all", "--quiet", ours).split()),
        "routes": asyncio.run(_routes(stager)),
    }


async def _routes(stager: StagerUnderTest) -> int:
    """Hosts that lead to a container. The page of a removed preview stays for a while."""
    client = FrontClient(stager.state / "front")
    try:
        table = await _current(client)
    finally:
        await client.close()
    return sum(isinstance(target, Endpoint) for target in table.routes.values())


async def _current(client: FrontClient) -> RouteTable:
    """The route table, also of a front that was just killed and is being restarted."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await client.current()
            except Retry:
                await asyncio.sleep(0.1)


def _events(path: Path, kind: str, action: str) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return [event["Actor"] for event in events if (event["Type"], event["Action"]) == (kind, action)]


def _containers(stager: StagerUnderTest, events: Path) -> set[str]:
    made = _events(events, "container", "create")
    return {a["ID"] for a in made if a["Attributes"].get(labels.INSTALLATION) == stager.installation}


def _volumes(stager: StagerUnderTest, events: Path) -> set[str]:
    """The volumes that were mounted into a container of this Stager at any time."""
    containers = _containers(stager, events)
    mounts = _events(events, "volume", "mount")
    return {actor["ID"] for actor in mounts if actor["Attributes"]["container"] in containers}


def lines(figures: Figures) -> list[Line]:
    """The one line."""
    left, made = figures["left"], figures["made"]
    return [
        Line(
            what=f"Leftovers after {figures['cycles']} random cycles, {made['containers']} containers and"
            f" {made['volumes']} volumes",
            floor="0",
            ours=", ".join(f"{count} {what}" for what, count in left.items()),
            budget="0",
            value=sum(left.values()),
            limit=0,
        )
    ]


ABOUT = f"""\
Pull requests are opened, pushed to and closed at random, at most {MOST_OPEN} at a time, and either process
is killed from time to time; no step waits for the previous one. In the end all are closed, and the
remaining resources of this Stager in the engine and the route table are counted. Each container has an
anonymous volume. `scripts/bench leftovers --cycles 500` runs a longer history.
"""

ROW = Row(
    "leftovers",
    "Leftovers",
    ABOUT.strip(),
    measure,
    lines,
)
