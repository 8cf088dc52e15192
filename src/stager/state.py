"""The folder in which Stager keeps everything that it writes, and the lock that makes it one Stager's own."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import IO

from stager.domain.errors import Fault
from stager.ports.clock import RandomIds

GLANCES, GLANCE_SECONDS = 10, 0.02
"""How often, and how long after one another, the lock is tried."""


class StateDirectory:
    """The files of one installation.

    Args:
        path: made, for nobody but us to read, by `lock`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "stager.db"
        self.front = path / "front"
        self.control_socket = path / "control.sock"
        self.github_app = path / "github-app.json"
        self.seal_key = path / "seal.key"
        self.log = path / "stager.log"
        self.guarded = path / "guarded"
        """There since the root helper was first used: from then on nothing starts without it."""
        self._lock_path = path / "stager.pid"
        self._lock: IO[str] | None = None

    @property
    def installation(self) -> str:
        """The id by which our containers are known. It lies apart from the database, or with that they would
        become strangers."""
        file = self.path / "instance_id"
        if not file.exists():
            draft = file.with_suffix(".new")
            draft.write_text(RandomIds().new() + "\n")
            draft.rename(file)
        return file.read_text().strip()

    def lock(self) -> None:
        """Be the only Stager here, until this process ends, however it does.

        Raises:
            Fault: another one is, or the folder can't be used.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = self._lock_path.open("a+")
        except OSError as error:
            raise Fault(
                f"state_dir: {self.path} can't be used: {error.strerror}.", reason="state-unusable"
            ) from error
        if not self._seized(file):
            file.close()
            raise Fault(
                f"Another Stager (process {self.running()}) works in {self.path}.",
                hint="`stager stop` ends it; a second one needs a state_dir and a port of its own.",
                reason="already-running",
            )
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._lock = file

    def _seized(self, file: IO[str]) -> bool:
        """Whether the lock is ours. Who only looks whether somebody works here holds it for a moment, too."""
        for _ in range(GLANCES):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(GLANCE_SECONDS)
            else:
                return True
        return False

    def running(self) -> int | None:
        """The process that works here; None when there is none."""
        try:
            with self._lock_path.open("r+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(file.read().strip() or 0) or None
        except (OSError, ValueError):
            return None
        return None
