"""Previews that are launched, visited and asleep, while everything around them goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

import httpx

from tests.integration.faults import FAULTS, LIBRARY, ClockedStager, Fault, small_disk
from tests.integration.load import Load
from tests.integration.own_engine import OwnEngine
from tests.integration.stager import until

VISITED, OTHERS = "visited", ("one", "two", "three")
DISK = 96 << 20
PATIENCE = 180.0
ASLEEP = 0.5


@contextlib.contextmanager
def stager_on_small_disk(folder: Path, image: str) -> Iterator[ClockedStager]:
    """A Stager whose state is on a small disk and whose previews fall asleep soon."""
    with small_disk(folder, DISK) as disk:
        own = folder / "stager"
        own.mkdir()
        stager = ClockedStager(own, image, {"images": {"shop": {"sleep_after": "10s"}}})
        stager.state = disk / "state"
        stager.start()
        yield stager
        stager.show_log()
        stager.clean_up()


class Previews:
    """What each preview has to show.

    Args:
        dice: chooses what happens.
    """

    def __init__(self, stager: ClockedStager, dice: random.Random) -> None:
        self._stager, self._dice = stager, dice
        self._shown: dict[str, set[str]] = {}
        self._version = 0

    def launch(self, name: str) -> None:
        """Launch the next version of one. Where it isn't accepted, it may or may not be launched."""
        self._version += 1
        text = f"{name} {self._version}"
        try:
            accepted = self._stager.launch(name, VERSION=str(self._version), wait="0").status_code == 202
        except httpx.TransportError:
            accepted = False
        self._shown[name] = {text} if accepted else {*self._shown[name], text}

    def launch_some(self) -> None:
        for name in self._dice.sample(OTHERS, self._dice.choice((0, 1, 2))):
            self.launch(name)

    def settle(self) -> None:
        """Wait until each shows what it has to."""
        for name in self._shown:
            until(lambda name=name: self._is_right(name), f"{name} shows {self._shown[name]}", PATIENCE)  # type: ignore[misc]

    def _is_right(self, name: str) -> bool:
        try:
            return self._stager.get(name).text in self._shown[name]
        except httpx.TransportError:
            return False


class Loaded:
    """Requests to one preview for as long as the block lasts, from a thread of their own: whatever waits in
    the block, they go on.

    Attributes:
        load: what became of them.
    """

    load: Load

    def __init__(self, stager: ClockedStager, name: str) -> None:
        self._stager, self._name = stager, name
        self._begun, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ask()))

    def __enter__(self) -> Self:
        self._thread.start()
        self._begun.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    async def _ask(self) -> None:
        async with Load(self._stager.url, self._stager.host(self._name)) as self.load:
            self._begun.set()
            while not self._ended.is_set():
                await asyncio.sleep(0.05)


def suffer(
    stager: ClockedStager,
    engine: OwnEngine,
    dice: random.Random,
    faults: Iterable[str],
    asleep: float = ASLEEP,
) -> None:
    """Launch some previews, and let these faults happen one after the other; then nothing is lost, and after
    the previews were killed nothing is left.

    Args:
        dice: chooses what happens meanwhile.
        asleep: the share of the faults after which all previews fall asleep.
        faults: keys of `FAULTS`; those of the clock are skipped where its library isn't installed.
    """
    previews = Previews(stager, dice)
    for name in (VISITED, *OTHERS):
        previews.launch(name)
    previews.settle()
    for name in faults:
        if not name.startswith("clock") or LIBRARY:
            print(name, end=": ", flush=True)
            _suffered(stager, engine, previews, dice, FAULTS[name])
            if dice.random() < asleep:
                time.sleep(25)
                print(f"  {[each['state'] for each in stager.api()]}", flush=True)
    _nothing_is_left(stager)


def _suffered(
    stager: ClockedStager, engine: OwnEngine, previews: Previews, dice: random.Random, fault: Fault
) -> None:
    """One fault, under load, with launches before and during it."""
    with Loaded(stager, VISITED) as loaded:
        previews.launch_some()
        with fault.lasting(stager, engine):
            time.sleep(dice.choice((0.1, 1.0, 4.0)))
            if stager.process is not None and stager.process.runs:
                previews.launch_some()
                time.sleep(dice.choice((0.1, 2.0)))
        ended = time.monotonic()
        stager.connect_again()
        previews.settle()
        took = time.monotonic() - ended
    load = loaded.load
    print(f"right after {took:.1f} s, {len(load.failures)} of {load.requests:,} requests failed", flush=True)
    assert not (fault.is_unseen and load.failures), load.failures[:5]


def _nothing_is_left(stager: ClockedStager) -> None:
    count = 1 + len(OTHERS)
    until(lambda: len(stager.containers()) == len(stager.networks()) == count, "one of each", PATIENCE)
    with contextlib.closing(sqlite3.connect(stager.state / "stager.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    for name in (VISITED, *OTHERS):
        stager.kill(name)
    until(
        lambda: not (stager.containers() or stager.networks() or stager.volumes()),
        "nothing is left",
        PATIENCE,
    )
