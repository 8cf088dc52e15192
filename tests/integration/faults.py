"""What goes wrong around a Stager: each fault begins, lasts for a while, and ends."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.own_engine import OwnEngine
from tests.integration.stager import ChildProcess, Process, StagerUnderTest, docker

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
"""The library that moves a process's clock; None if it isn't installed."""
LEFT = 64 << 10
"""Bytes that are left on a disk that is nearly full."""


class ClockedStager(StagerUnderTest):
    """A Stager whose clock can be moved, by the library of Debian's package `faketime`."""

    @property
    def clock(self) -> Path:
        """The file with the distance from the machine's clock, such as `+2d`."""
        return self.folder / "clock"

    def _begin(self) -> Process:
        if not self.clock.exists():
            self.clock.write_text("+0\n")
        clocked = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self.clock),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        environment = {**os.environ, **(clocked if LIBRARY else {})}
        command = [sys.executable, "-m", "stager", "serve", "--config", str(self.config)]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        return ChildProcess(process)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Args:
        lasting: what has it for as long as the block lasts.
        is_unseen: whether visitors of a running preview notice nothing.
    """

    lasting: Callable[[ClockedStager, OwnEngine], AbstractContextManager[None]]
    is_unseen: bool = False


@contextlib.contextmanager
def _engine_killed(_: ClockedStager, engine: OwnEngine) -> Iterator[None]:
    engine.kill9()
    yield
    engine.start()


@contextlib.contextmanager
def _engine_stopped(_: ClockedStager, engine: OwnEngine) -> Iterator[None]:
    engine.stop()
    yield
    engine.start()


@contextlib.contextmanager
def _front_killed(stager: ClockedStager, _: OwnEngine) -> Iterator[None]:
    stager.kill_front()
    yield


@contextlib.contextmanager
def _stager_killed(stager: ClockedStager, _: OwnEngine) -> Iterator[None]:
    stager.kill9()
    yield
    stager.start()


@contextlib.contextmanager
def _all_killed(stager: ClockedStager, engine: OwnEngine) -> Iterator[None]:
    stager.kill9()
    stager.kill_front()
    engine.kill9()
    yield
    engine.start()
    stager.start()


@contextlib.contextmanager
def _disk_nearly_full(stager: ClockedStager, _: OwnEngine) -> Iterator[None]:
    filler = stager.state / "filler"
    room = os.statvfs(stager.state)
    size = room.f_bavail * room.f_frsize - LEFT
    subprocess.run(["fallocate", "--length", str(max(size, 1)), str(filler)], check=True)
    yield
    filler.unlink()


@contextlib.contextmanager
def _clock_moved(stager: ClockedStager, by: str) -> Iterator[None]:
    stager.clock.write_text(f"{by}\n")
    yield
    stager.clock.write_text("+0\n")


@contextlib.contextmanager
def _network_cut(stager: ClockedStager, _: OwnEngine) -> Iterator[None]:
    """The bridges of all previews are down."""
    shown = json.loads(docker("network", "inspect", *stager.networks()))
    bridges = [each["Options"]["com.docker.network.bridge.name"] for each in shown]
    for bridge in bridges:
        subprocess.run(["ip", "link", "set", bridge, "down"], check=True)
    yield
    for bridge in bridges:
        subprocess.run(["ip", "link", "set", bridge, "up"], capture_output=True, check=False)


FAULTS: dict[str, Fault] = {
    "dockerd killed": Fault(_engine_killed),
    "dockerd stopped": Fault(_engine_stopped),
    "front killed": Fault(_front_killed),
    "Stager killed": Fault(_stager_killed, is_unseen=True),
    "all killed": Fault(_all_killed),
    "disk nearly full": Fault(_disk_nearly_full, is_unseen=True),
    "clock two days ahead": Fault(lambda stager, _: _clock_moved(stager, "+2d"), is_unseen=True),
    "clock two days behind": Fault(lambda stager, _: _clock_moved(stager, "-2d"), is_unseen=True),
    "network cut": Fault(_network_cut),
}


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A folder that is a file system of its own in a file of so many bytes."""
    file, point = folder / "disk.img", folder / "disk"
    point.mkdir()
    subprocess.run(["fallocate", "--length", str(size), str(file)], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(file)], check=True)
    subprocess.run(["mount", "-o", "loop", str(file), str(point)], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", "--lazy", str(point)], check=True)
        time.sleep(0.5)
        file.unlink()
