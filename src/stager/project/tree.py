"""A read-only view of a repository's files."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

MAX_FILES = 20_000
"""Files that are listed; the rest of a larger repository isn't searched."""

MAX_DEPTH = 6
"""Folders below each other that are searched."""

MAX_TEXT = 256 * 1024
"""Bytes of a file that is read. Lock files may be larger; only their presence counts."""

SKIPPED = frozenset(
    {
        *(".git", ".hg", ".svn", ".tox", ".nox", ".venv", "venv", "env", "node_modules", "bower_components"),
        *("vendor", "third_party", "__pycache__", "site-packages", ".mypy_cache", ".next", ".cache"),
    }
)
"""Names of folders with other projects' files, or with files that tools generate."""


class Tree:
    """The files of a folder, by paths relative to it, with `/` between their parts.

    Symbolic links are followed within the repository only. Files that are missing, too large, not regular or
    not text are all read as empty.

    Args:
        root: the repository's folder.
        folder: a folder of the repository that this is the view of.
    """

    def __init__(self, root: Path, folder: str = ".") -> None:
        self.root = root.resolve(strict=True)
        self.folder = str(PurePosixPath(folder))

    def below(self, folder: str) -> Tree:
        """Return the view of a folder of this one."""
        return Tree(self.root, str(PurePosixPath(self.folder) / folder))

    def has(self, path: str) -> bool:
        """Whether this is a regular file."""
        return stat.S_ISREG(self._mode(path))

    def has_folder(self, path: str) -> bool:
        """Whether this is a folder."""
        return stat.S_ISDIR(self._mode(path))

    def is_link_out(self, path: str) -> bool:
        """Whether a path without `..` leads out of the repository by a symbolic link, or in a circle."""
        return self._resolved(path) is None

    def first(self, *paths: str) -> str:
        """Return the first of these that is a file; empty for none."""
        return next((path for path in paths if self.has(path)), "")

    def text(self, path: str) -> str:
        """Return a file's text, without a byte order mark; empty if it can't be read."""
        found = self._resolved(path)
        if found is None:
            return ""
        try:
            return _read(found).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError):
            return ""

    def json(self, path: str) -> dict[str, Any]:
        """Return the object in a JSON file; empty if there is none."""
        try:
            data = json.loads(self.text(path) or "{}")
        except (ValueError, RecursionError):
            return {}
        return data if isinstance(data, dict) else {}

    @cached_property
    def files(self) -> tuple[str, ...]:
        """All files, except those in `SKIPPED` folders: the root's first, then folder by folder."""
        start = self._resolved(".")
        return tuple(islice(_walk(start), MAX_FILES)) if start is not None and start.is_dir() else ()

    def matching(self, *patterns: str) -> tuple[str, ...]:
        """Return the files whose name matches one of these patterns (`fnmatch`)."""
        return tuple(
            path
            for path in self.files
            if any(fnmatchcase(path.rpartition("/")[2], pattern) for pattern in patterns)
        )

    def _mode(self, path: str) -> int:
        """The type and mode of what is there; 0 for nothing."""
        found = self._resolved(path)
        try:
            return found.stat().st_mode if found is not None else 0
        except (OSError, ValueError):
            return 0

    def _resolved(self, path: str) -> Path | None:
        found = _real(self.root / self.folder / path)
        return found if found is not None and found.is_relative_to(self.root) else None


def _real(path: Path) -> Path | None:
    """A path with all links followed; None for a loop of links, and for an invalid name."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return None


def _read(path: Path) -> bytes:
    """Read a regular file of at most `MAX_TEXT` bytes; empty otherwise. A FIFO doesn't block."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        return file.read(MAX_TEXT) if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_TEXT else b""


def _walk(start: Path) -> Iterator[str]:
    for folder, names, files in os.walk(start):
        here = PurePosixPath(Path(folder).relative_to(start).as_posix())
        names[:] = sorted(set(names) - SKIPPED) if len(here.parts) < MAX_DEPTH else []
        for name in sorted(files):
            path = str(here / name)
            if path.isprintable():  # also excludes names that aren't UTF-8
                yield path
