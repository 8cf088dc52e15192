"""The state folder, which contains all files that Stager writes, and its lock."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from stager.domain.errors import Fault
from stager.ports.clock import RandomIds

PRIVATE, OTHERS = 0o700, 0o077
UMASK = 0o077
"""The umask of the processes that write here: other users can't read their files."""

LOCK_ATTEMPTS, LOCK_PAUSE = 10, 0.02
"""How often the lock is tried, and seconds between two attempts."""


class StateDirectory:
    """The files of one installation.

    Args:
        path: created by `lock` with mode 0700.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "stager.db"
        self.front = path / "front"
        self.control_socket = path / "control.sock"
        self.github_app = path / "github-app.json"
        self.seal_key = path / "seal.key"
        self.log = path / "stager.log"
        self.snapshots = path / "snapshots"
        self.pictures = path / "pictures"
        self.guarded = path / "guarded"
        """Exists once the root helper has been used: from then on no preview starts without it."""
        self._lock_path = path / "stager.pid"
        self._lock: IO[str] | None = None

    @property
    def installation(self) -> str:
        """The id in the labels of this installation's containers. It isn't stored in the database, so that
        the containers are still recognized when the database is lost."""
        file = self.path / "instance_id"
        if not file.exists():
            temporary = file.with_suffix(".new")
            temporary.write_text(RandomIds().new() + "\n")
            temporary.rename(file)
        return file.read_text().strip()

    def certificates_of(self, directory: str) -> Path:
        """The folder of an ACME server's certificates. Each has its own, so that those of a staging server
        aren't served after a change to another one.

        Args:
            directory: the URL of its directory.
        """
        return self.path / "certificates" / urlsplit(directory).netloc.rpartition("@")[2].replace(":", "_")

    def prepare(self) -> None:
        """Create the folder, and close it to other users.

        Raises:
            Fault: the folder can't be used.
        """
        try:
            self.path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
            self._close_to_others()
        except OSError as error:
            raise self._unusable(error) from error

    def lock(self) -> None:
        """Prepare the folder, and lock it until this process ends.

        Raises:
            Fault: another process holds the lock, or the folder can't be used.
        """
        self.prepare()
        try:
            self._lock_path.touch(mode=0o600)
            file = self._lock_path.open("a+")
        except OSError as error:
            raise self._unusable(error) from error
        if not self._try_lock(file):
            file.close()
            raise Fault(
                f"Another Stager (process {self.running()}) uses {self.path}.",
                hint="`stager stop` stops it. A second Stager needs its own state_dir and port.",
                reason="already-running",
            )
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._lock = file

    def _unusable(self, error: OSError) -> Fault:
        return Fault(f"state_dir: {self.path} can't be used: {error.strerror}.", reason="state-unusable")

    def _close_to_others(self) -> None:
        """Remove other users' permissions on the folder and the files in it: keys, sockets, the database.

        Raises:
            Fault: other users have permissions, and the folder belongs to another user or contains other
                files.
        """
        found = self.path.stat()
        if found.st_mode & OTHERS:
            if found.st_uid != os.geteuid() or not self._is_ours_alone():
                raise Fault(
                    f"state_dir: other users can read {self.path}, where Stager keeps its keys.",
                    hint=f"Run `chmod 700 {self.path}`, or set `state_dir` to a folder for Stager alone.",
                    reason="state-open",
                )
            self.path.chmod(PRIVATE)
        for entry in (*self._within(self.path), *self._within(self.front)):
            entry.chmod(stat.S_IMODE(entry.lstat().st_mode) & ~OTHERS)

    def _is_ours_alone(self) -> bool:
        """Whether it is empty or a Stager's. Any other folder, such as `/srv`, may be in use by others."""
        names = {entry.name for entry in self.path.iterdir()}
        return not names or bool(names & {"instance_id", self.log.name, self._lock_path.name})

    @staticmethod
    def _within(folder: Path) -> list[Path]:
        """The entries in it that belong to this user and are open to others. Symbolic links aren't
        followed."""
        entries = folder.iterdir() if folder.is_dir() and not folder.is_symlink() else ()
        open_ones = [e for e in entries if not e.is_symlink() and e.lstat().st_mode & OTHERS]
        return [entry for entry in open_ones if entry.lstat().st_uid == os.geteuid()]

    def _try_lock(self, file: IO[str]) -> bool:
        """Whether the lock was taken. `running` in another process holds it for a moment, too."""
        for _ in range(LOCK_ATTEMPTS):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(LOCK_PAUSE)
            else:
                return True
        return False

    def running(self) -> int | None:
        """The id of the process that holds the lock; None when there is none."""
        try:
            with self._lock_path.open("r+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(file.read().strip() or 0) or None
        except (OSError, ValueError):
            return None
        return None
