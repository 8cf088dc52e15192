"""One Stager to a folder."""

from __future__ import annotations

import fcntl
import os
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


def test_a_look_at_the_lock_keeps_nobody_from_starting(tmp_path: Path) -> None:
    """As `stager status` and `stager serve --detach` take, just when a Stager starts."""
    with (tmp_path / "stager.pid").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        looking = threading.Timer(0.05, fcntl.flock, (file, fcntl.LOCK_UN))
        looking.start()
        began = time.monotonic()
        with locked(tmp_path):
            looking.join()

    assert time.monotonic() - began >= 0.04
