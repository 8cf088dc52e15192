"""The mount namespace in which the pool is mounted: dockerd's, which is usually that of the first process.

As a service, the helper has a mount namespace of its own. A file system that is mounted there isn't seen by
dockerd, so it is mounted in dockerd's, mount_namespaces(7), and reached through `/proc`.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from stager.helper.protocol import HelperError
from stager.helper.verbs import failed

COMMAND_TIMEOUT = 60.0
"""Seconds. These commands take less than one; a journal's recovery at a mount takes longer."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A part of one line of proc_pid_mountinfo(5).

    Args:
        root: the mounted folder, in its file system.
        point: where it is mounted.
        source: its device.
    """

    root: str
    point: str
    source: str


class Namespace:
    """One mount namespace.

    Args:
        process: a process in it; None is the helper's own.
    """

    def __init__(self, process: int | None) -> None:
        self._process = process
        self._was_entered = False

    @property
    def _is_own(self) -> bool:
        """Raises OSError if its process has exited or may not be inspected."""
        return self._process is None or _id(self._process) == _id(os.getpid())

    def lack(self) -> str:
        """Return why the helper can't enter it, a sentence; empty if it can."""
        try:
            if not self._was_entered and not self._is_own:
                self.path(Path("/")).stat()
                self.run("true")
            self._was_entered = True
        except (OSError, HelperError) as error:
            return f"The helper can't enter dockerd's mount namespace (of process {self._process}): {error}."
        return ""

    def path(self, path: Path) -> Path:
        """Return a path by which the helper reaches this path of the namespace."""
        if self._process is None:
            return path
        return Path(f"/proc/{self._process}/root") / path.relative_to("/")

    def mounts(self) -> list[Mount]:
        """Return everything that is mounted in it, in the order of mounting. Raises OSError."""
        text = Path(f"/proc/{self._process or 'self'}/mountinfo").read_text("utf-8", "surrogateescape")
        return [_mount(line) for line in text.splitlines()]

    def run(self, *command: str, timeout: float = COMMAND_TIMEOUT) -> str:
        """Run a command in it; returns its output.

        Raises:
            HelperError: it fails.
        """
        try:
            enter = [] if self._is_own else ["nsenter", f"--mount=/proc/{self._process}/ns/mnt", "--"]
            done = subprocess.run(  # noqa: S603 (no argument is from a caller)
                [*enter, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
                check=False, errors="replace",
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _failed(command[0], str(error)) from error
        if done.returncode:
            raise _failed(command[0], (done.stderr or done.stdout).strip()[-300:])
        return done.stdout


def _id(process: int) -> int:
    return Path(f"/proc/{process}/ns/mnt").stat().st_ino


def _mount(line: str) -> Mount:
    fields, _, more = line.partition(" - ")
    _, _, _, root, point, *_ = fields.split(" ")
    return Mount(_unescaped(root), _unescaped(point), _unescaped(more.split(" ")[1]))


def _unescaped(field: str) -> str:
    """Decode the octal escapes of space, tab, line end and backslash."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def _failed(command: str, why: str) -> HelperError:
    return failed(f"`{command}` failed: {why or 'no output'}", "pool-broken")
