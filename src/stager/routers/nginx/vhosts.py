"""The folder of the vhost files. Stager's files have a mark in their first line; other files are never
changed.

A file is replaced atomically. A backup, with a name that nginx's `include` doesn't match, is kept until nginx
has accepted the new file.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from stager.domain.errors import Fault


@dataclass(frozen=True, slots=True)
class Vhost:
    """A vhost file: its host, the ingress port, and its text with the mark."""

    host: str
    port: int
    text: str


class Vhosts:
    """The vhost files of one installation.

    Args:
        folder: their folder, which may have other files.
        installation: the id that identifies our files.
    """

    def __init__(self, folder: Path, installation: str) -> None:
        self._folder = folder
        self._backup = re.compile(rf"\..+\.stager-{re.escape(installation)}-(?:old|new)")
        self._mark = re.compile(rf"# Made by Stager {re.escape(installation)} for (\S+) by (\d+); .*")
        self._installation = installation

    def marked(self, host: str, port: int, text: str) -> Vhost:
        """Make a vhost file with the mark."""
        mark = f"# Made by Stager {self._installation} for {host} by {port}; changes are overwritten."
        return Vhost(host, port, f"{mark}\n{text}")

    def ours(self) -> dict[str, Vhost]:
        """Return our files by name."""
        found = ((name, self._read(name)) for name in self._names())
        return {name: vhost for name, vhost in found if vhost and not self._backup.fullmatch(name)}

    def is_free(self, name: str) -> bool:
        """Whether a file of this name may be written: it doesn't exist, or it is ours."""
        return not os.path.lexists(self._folder / name) or self._read(name) is not None

    def put(self, name: str, vhost: Vhost | None) -> None:
        """Write or delete this file. A backup of the state before the first `put` is kept until
        `delete_backups`. Raises Fault."""
        target, old = self._folder / name, self._hidden(name, "old")
        try:
            if target.exists() and not old.exists():
                old.hardlink_to(target)
            if vhost is None:
                target.unlink(missing_ok=True)
            else:
                new = self._hidden(name, "new")
                _write(new, vhost.text)
                new.replace(target)
        except OSError as error:
            raise self._unwritable(error) from error

    def restore(self, name: str) -> None:
        """Restore this file from its backup. Idempotent. Raises Fault."""
        old, new = self._hidden(name, "old"), self._hidden(name, "new")
        try:
            if old.exists():
                new.unlink(missing_ok=True)
                new.hardlink_to(old)
                new.replace(self._folder / name)
            elif self._read(name):
                (self._folder / name).unlink()
        except OSError as error:
            raise self._unwritable(error) from error

    def delete_backups(self) -> None:
        """Delete all backups."""
        for name in self._names():
            if self._backup.fullmatch(name):
                (self._folder / name).unlink(missing_ok=True)

    def _names(self) -> list[str]:
        try:
            return [path.name for path in self._folder.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unwritable(error) from error

    def _read(self, name: str) -> Vhost | None:
        """Read the file if it is ours: a regular file, no link, with the mark."""
        try:
            handle = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(handle, encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError):
            return None
        mark = self._mark.fullmatch(text.partition("\n")[0])
        return Vhost(mark[1], int(mark[2]), text) if mark else None

    def _hidden(self, name: str, kind: str) -> Path:
        return self._folder / f".{name}.stager-{self._installation}-{kind}"

    def _unwritable(self, error: OSError) -> Fault:
        return Fault(
            f"nginx.target_dir: {self._folder} can't be written to: {error.strerror}.",
            hint="The folder must exist, and Stager's user or one of its groups must be able to write to it.",
            reason="nginx-target",
        )


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
