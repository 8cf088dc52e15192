"""One Stager to a folder."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stager.domain.errors import Fault
from stager.state import StateDirectory


@contextmanager
def locked(path: Path) -> Iterator[StateDirectory]:
    state = StateDirectory(path)
    state.lock()
    try:
        yield state
    finally:
        assert state._lock
        state._lock.close()  # as the end of the process does


def test_there_is_one_stager_to_a_folder(tmp_path: Path) -> None:
    with locked(tmp_path / "state"):
        assert StateDirectory(tmp_path / "state").running() == os.getpid()
        with pytest.raises(Fault, match=f"process {os.getpid()}"):
            StateDirectory(tmp_path / "state").lock()

    assert StateDirectory(tmp_path / "state").running() is None


def test_reading_the_lock_doesnt_block_a_start(tmp_path: Path) -> None:
    """As `stager status` and `stager serve --detach` take, just when a Stager starts."""
    with (tmp_path / "stager.pid").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        looking = threading.Timer(0.05, fcntl.flock, (file, fcntl.LOCK_UN))
        looking.start()
        began = time.monotonic()
        with locked(tmp_path):
            looking.join()

    assert time.monotonic() - began >= 0.04


def modes_of(path: Path) -> dict[str, int]:
    return {entry.name: stat.S_IMODE(entry.lstat().st_mode) for entry in path.iterdir()}


def made_by_an_older_one(path: Path) -> Path:
    """As a Stager left it that didn't mind its umask."""
    for folder in (path, path / "front"):
        folder.mkdir()
        folder.chmod(0o755)
    for name in ("instance_id", "stager.db", "front/access.key"):
        (path / name).write_text("x")
        (path / name).chmod(0o664)
    return path


def test_a_folder_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    path, elsewhere = made_by_an_older_one(tmp_path / "state"), tmp_path / "elsewhere"
    elsewhere.touch(mode=0o644)
    (path / "link").symlink_to(elsewhere)
    with locked(path):
        found = modes_of(path) | modes_of(path / "front") | {"": stat.S_IMODE(path.stat().st_mode)}

    del found["link"]
    assert [name for name, mode in found.items() if mode & 0o077] == []
    assert found[""] == 0o700
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o644, "links lead to what isn't ours"


def test_a_folder_that_others_use_isnt_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "srv"
    path.mkdir()
    path.chmod(0o755)
    (path / "www").mkdir()

    with pytest.raises(Fault, match=f"other users can read {path}.* `chmod 700 {path}`"):
        StateDirectory(path).lock()
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert sorted(modes_of(path)) == ["www"]


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to somebody else")
def test_another_users_folder_isnt_either(tmp_path: Path) -> None:
    path = made_by_an_older_one(tmp_path / "state")
    os.chown(path, 12345, 12345)

    with pytest.raises(Fault) as caught:
        StateDirectory(path).lock()
    assert caught.value.reason == "state-open"


def test_an_empty_one_is_for_stager_alone(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.mkdir()
    path.chmod(0o777)
    with locked(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
