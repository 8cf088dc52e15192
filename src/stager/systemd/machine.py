"""Changes files and runs commands on this machine as root, and reports each change."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stager.domain.errors import Fault

MAX_OUTPUT = 2_000
"""Characters of a failed command's output to show."""


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine. Every change is idempotent, and reported only if it changes something.

    Args:
        report: shows a sentence.
        root: the folder that paths are below, for tests.
    """

    report: Callable[[str], None]
    root: Path = Path("/")

    @property
    def has_systemd(self) -> bool:
        """Whether systemd manages this machine (sd_booted(3))."""
        return self.at(Path("/run/systemd/system")).is_dir()

    def at(self, path: Path) -> Path:
        """Return where a path of the machine is."""
        return self.root / path.relative_to("/")

    def exists(self, path: Path) -> bool:
        """Whether there is a file or folder."""
        return self.at(path).exists()

    def has_appeared(self, path: Path, seconds: float) -> bool:
        """Whether there is a file, after waiting at most that many seconds for it."""
        deadline = time.monotonic() + seconds
        while not self.exists(path):
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.1)
        return True

    def write(self, path: Path, text: str, mode: int = 0o644, group: str = "") -> bool:
        """Write a file with this content. Returns whether it changed."""
        file = self.at(path)
        if file.exists() and file.read_text("utf-8") == text:
            return False
        self.report(f"writing {path}")
        file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.new")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as new:
            new.write(text)
        temporary.chmod(mode)
        if group:
            os.chown(temporary, -1, grp.getgrnam(group).gr_gid)
        temporary.replace(file)
        return True

    def link(self, path: Path, target: Path) -> None:
        """Create a symbolic link; a file that isn't one is kept."""
        link = self.at(path)
        if (link.is_symlink() and link.readlink() == target) or (link.exists() and not link.is_symlink()):
            return
        self.report(f"linking {path} to {target}")
        link.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)

    def folder(self, path: Path, mode: int, owner: str, group: str) -> None:
        """Create a folder; one that exists isn't changed."""
        folder = self.at(path)
        if folder.is_dir():
            return
        self.report(f"creating {path}")
        folder.mkdir(parents=True)
        folder.chmod(mode)
        shutil.chown(folder, owner, group)

    def remove(self, path: Path) -> bool:
        """Remove a file, or a folder with its content. Returns whether there was one."""
        found = self.at(path)
        if not found.exists() and not found.is_symlink():
            return False
        self.report(f"removing {path}")
        if found.is_dir() and not found.is_symlink():
            shutil.rmtree(found)
        else:
            found.unlink()
        return True

    def run(self, *command: str) -> None:
        """Run a command.

        Raises:
            Fault: it fails, or there is no such command.
        """
        self.report(shlex.join(command))
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (fixed)
        except OSError as error:
            raise _failed(command, str(error)) from error
        if done.returncode:
            raise _failed(command, (done.stdout + done.stderr).strip()[-MAX_OUTPUT:])

    def has_user(self, name: str) -> bool:
        """Whether there is a user of this name."""
        try:
            pwd.getpwnam(name)
        except KeyError:
            return False
        return True

    def has_member(self, group: str, user: str) -> bool:
        """Whether a user is in a group, other than as the primary one."""
        try:
            return user in grp.getgrnam(group).gr_mem
        except KeyError:
            return False


def _failed(command: tuple[str, ...], output: str) -> Fault:
    return Fault(
        f"`{shlex.join(command)}` failed: {output or 'no output'}",
        hint="Fix that, and run the command again; steps that are done aren't repeated.",
        reason="service-command-failed",
    )
