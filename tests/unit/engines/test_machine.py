"""What is measured of a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from stager.engines.machine import LocalMachine, RemoteMachine, read_meminfo
from stager.ports.machine import MachineState

MEMINFO = """\
MemTotal:       16384 kB
MemFree:         1024 kB
MemAvailable:    8192 kB
SwapTotal:       4096 kB
SwapFree:        2048 kB
HugePages_Total:       3
"""


def machine(folder: Path, text: str = MEMINFO, disk: Path | None = None) -> LocalMachine:
    (folder / "meminfo").write_text(text)

    async def find_disk() -> Path | None:
        return disk

    return LocalMachine(find_disk, folder / "meminfo")


async def test_memory_and_disk(tmp_path: Path) -> None:
    state = await machine(tmp_path, disk=tmp_path).state()
    assert state.memory == 16 << 20
    assert (state.available_memory, state.swap, state.free_swap) == (8 << 20, 4 << 20, 2 << 20)
    assert state.disk is not None
    assert state.free_disk is not None
    assert 0 < state.free_disk < state.disk


@pytest.mark.parametrize("text", ["", "MemTotal: many kB", "no colon"])
async def test_what_cant_be_measured_is_unknown(tmp_path: Path, text: str) -> None:
    assert await machine(tmp_path, text, disk=tmp_path / "missing").state() == MachineState()


async def test_without_the_kernels_file_memory_is_unknown(tmp_path: Path) -> None:
    measured = machine(tmp_path)
    (tmp_path / "meminfo").unlink()
    assert (await measured.state()).memory is None


async def test_the_disk_is_looked_for_until_it_is_known(tmp_path: Path) -> None:
    answers = [None, tmp_path]

    async def find_disk() -> Path | None:
        return answers.pop(0)

    measured = LocalMachine(find_disk)
    assert (await measured.state()).free_disk is None
    assert (await measured.state()).free_disk
    assert (await measured.state()).free_disk, "asked for no more"


async def test_nothing_is_known_of_a_machine_far_away() -> None:
    assert await RemoteMachine().state() == MachineState()


def test_counts_have_no_unit() -> None:
    assert read_meminfo(MEMINFO)["HugePages_Total"] == 3
