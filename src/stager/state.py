"""The folder in which Stager keeps everything that it writes, and the lock that makes it one Stager's own."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from pathlib import Path
from typing import IO

from stager.domain.errors import Fault
from stager.ports.clock import RandomIds

PRIVATE, OTHERS = 0o700, 0o077
UMASK = 0o077
"""Of the processes that write here: what they make is for nobody else."""

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
        """Be the only Stager here, until this process ends, however it does. Nobody else may look into the
        folder from then on.

        Raises:
            Fault: another one is, or the folder can't be used.
        """
        try:
            self.path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
            self._close_to_others()
            self._lock_path.touch(mode=0o600)
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

    def _close_to_others(self) -> None:
        """Take away what others may do with the folder and with what lies in it: keys, sockets, the database.

        Raises:
            Fault: others may, and it isn't ours to change: it is somebody else's, or not for Stager alone.
        """
        found = self.path.stat()
        if found.st_mode & OTHERS:
            if found.st_uid != os.geteuid() or not self._is_ours_alone():
                raise Fault(
                    f"state_dir: others may look into {self.path}, where Stager keeps its keys.",
                    hint=f"`chmod 700 {self.path}`, or give Stager a folder of its own in `state_dir`.",
                    reason="state-open",
                )
            self.path.chmod(PRIVATE)
        for entry in (*self._within(self.path), *self._within(self.front)):
            entry.chmod(stat.S_IMODE(entry.lstat().st_mode) & ~OTHERS)

    def _is_ours_alone(self) -> bool:
        """Whether it is a Stager's, or empty; anything else may be there for others, such as `/srv`."""
        names = {entry.name for entry in self.path.iterdir()}
        return not names or bool(names & {"instance_id", self.log.name, self._lock_path.name})

    @staticmethod
    def _within(folder: Path) -> list[Path]:
        """What lies in it that is ours and open to others; what links lead to is somebody else's business."""
        entries = folder.iterdir() if folder.is_dir() and not folder.is_symlink() else ()
        open_ones = [e for e in entries if not e.is_symlink() and e.lstat().st_mode & OTHERS]
        return [entry for entry in open_ones if entry.lstat().st_uid == os.geteuid()]

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
