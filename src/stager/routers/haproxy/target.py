"""The configuration file that HAProxy reads. Stager's has a mark in its first line; another file is never
replaced.

The file is replaced atomically.
"""

from __future__ import annotations

import os
from pathlib import Path

from stager.domain.errors import Fault


class Target:
    """The configuration file of one installation.

    Args:
        path: the file.
        scratch: a folder for the candidate, and for the note that a reload is due.
        installation: the id that identifies our file.
    """

    def __init__(self, path: Path, scratch: Path, installation: str) -> None:
        self._path = path
        self._scratch = scratch
        self._mark = f"# Made by Stager {installation}; changes are overwritten.\n"
        self._new = path.with_name(f".{path.name}.stager-{installation}-new")
        self.candidate = scratch / "candidate.cfg"
        self.reload_due = scratch / "reload-due"

    def marked(self, text: str) -> str:
        """Return the content of the file with its mark."""
        return self._mark + text

    def write_candidate(self, text: str) -> Path:
        """Write a file to test. Returns its path."""
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.candidate.write_text(text, encoding="utf-8")
        return self.candidate

    def current(self) -> str:
        """Return the file's text; empty if there is none.

        Raises:
            Fault: it isn't ours, or can't be read.
        """
        try:
            with os.fdopen(os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW), encoding="utf-8") as file:
                text = file.read()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise self._unusable(f"can't be read: {error}") from error
        if not text.startswith(self._mark):
            raise self._unusable("wasn't created by this Stager, which doesn't replace it")
        return text

    def replace(self, text: str) -> None:
        """Replace the file; delete it if the text is empty.

        Raises:
            Fault: it can't be written. It is unchanged then.
        """
        try:
            if text:
                with self._new.open("w", encoding="utf-8") as file:
                    os.fchmod(file.fileno(), 0o644)
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                self._new.replace(self._path)
            else:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            raise self._unusable(f"can't be written to: {error.strerror}") from error

    def _unusable(self, what: str) -> Fault:
        return Fault(
            f"haproxy.target_path: {self._path} {what}.",
            hint="Its folder must exist, Stager's user or one of its groups must be able to write to it, and"
            " a file of this name that isn't Stager's must be moved away.",
            reason="haproxy-target",
        )
