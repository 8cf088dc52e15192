"""The folder with the vhost files. Ours bear a mark in their first line; others are never touched.

A file is replaced whole. What it was before is kept aside, under a name that nginx's `include` doesn't match,
until nginx has taken the new one.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from stager.domain.errors import Fault


@dataclass(frozen=True, slots=True)
class Vhost:
    """One vhost file: for which host, to which port it leads, and its text with the mark."""

    host: str
    port: int
    text: str


class Vhosts:
    """The vhost files of one installation.

    Args:
        folder: where they are, maybe beside others.
        installation: the id by which ours are known.
    """

    def __init__(self, folder: Path, installation: str) -> None:
        self._folder = folder
        self._kept_aside = re.compile(rf"\..+\.stager-{re.escape(installation)}-(?:old|new)")
        self._mark = re.compile(rf"# Made by Stager {re.escape(installation)} for (\S+) by (\d+); .*")
        self._installation = installation

    def marked(self, host: str, port: int, text: str) -> Vhost:
        """A vhost file with our mark."""
        mark = f"# Made by Stager {self._installation} for {host} by {port}; what is changed here is lost."
        return Vhost(host, port, f"{mark}\n{text}")

    def ours(self) -> dict[str, Vhost]:
        """Our files by name."""
        found = ((name, self._read(name)) for name in self._names())
        return {name: vhost for name, vhost in found if vhost and not self._kept_aside.fullmatch(name)}

    def is_free(self, name: str) -> bool:
        """Whether a file of this name may be written: there is none, or it is ours."""
        return not os.path.lexists(self._folder / name) or self._read(name) is not None

    def put(self, name: str, vhost: Vhost | None) -> None:
        """Write this file, or remove it. What was there at the first `put` stays aside until `clear_away`.
        Raises Fault."""
        target, old = self._folder / name, self._aside(name, "old")
        try:
            if target.exists() and not old.exists():
                old.hardlink_to(target)
            if vhost is None:
                target.unlink(missing_ok=True)
            else:
                new = self._aside(name, "new")
                _write(new, vhost.text)
                new.replace(target)
        except OSError as error:
            raise self._unwritable(error) from error

    def put_back(self, name: str) -> None:
        """Have this file as it was before `put`. May be repeated. Raises Fault."""
        old, new = self._aside(name, "old"), self._aside(name, "new")
        try:
            if old.exists():
                new.unlink(missing_ok=True)
                new.hardlink_to(old)
                new.replace(self._folder / name)
            elif self._read(name):
                (self._folder / name).unlink()
        except OSError as error:
            raise self._unwritable(error) from error

    def clear_away(self) -> None:
        """Remove what was kept aside."""
        for name in self._names():
            if self._kept_aside.fullmatch(name):
                (self._folder / name).unlink(missing_ok=True)

    def _names(self) -> list[str]:
        try:
            return [path.name for path in self._folder.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unwritable(error) from error

    def _read(self, name: str) -> Vhost | None:
        """The file, if it is ours: a plain file, no link, with our mark."""
        try:
            handle = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(handle, encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError):
            return None
        mark = self._mark.fullmatch(text.partition("\n")[0])
        return Vhost(mark[1], int(mark[2]), text) if mark else None

    def _aside(self, name: str, kind: str) -> Path:
        return self._folder / f".{name}.stager-{self._installation}-{kind}"

    def _unwritable(self, error: OSError) -> Fault:
        return Fault(
            f"nginx.target_dir: {self._folder} can't be written to: {error.strerror}.",
            hint="It must exist, and Stager's user must be allowed to write there, if only by a group.",
            reason="nginx-target",
        )


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
