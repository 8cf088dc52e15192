"""Other users of the machine can't read Stager's files, whatever the umask is and an older version left."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import MakeStager


def open_to_others(folder: Path) -> Iterator[str]:
    for entry in (folder, *folder.iterdir(), *(folder / "front").iterdir()):
        if entry.lstat().st_mode & 0o077:
            yield f"{entry.name} {stat.filemode(entry.lstat().st_mode)}"


def umask_of(process: int) -> str:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("Umask:"))


@pytest.mark.attack(
    "Control socket, keys and database in a state folder with open permissions",
    profile="local user",
    result="at the start, the folder and its files become accessible to their owner only",
)
def test_the_state_folder(make_stager: MakeStager) -> None:
    stager = make_stager(start=False)
    stager.state.mkdir(mode=0o755)
    stager.state.chmod(0o755)
    stager.start()
    stager.launched("a")

    assert list(open_to_others(stager.state)) == []
    assert stat.S_IMODE((stager.state / "control.sock").stat().st_mode) == 0o600
    assert (umask_of(stager.control_pid), umask_of(stager.front_pid)) == ("0077", "0077")
