"""The records of snapshots: a small file for each in the state folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from stager.engines.docker.data.copies import ID

SUFFIX = ".json"


class Records:
    """The files in a folder.

    Args:
        folder: created when it is needed, for Stager's user alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, snapshot: str, text: str) -> None:
        """Write a record at once or not at all, and permanently."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(snapshot)
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)

    def remove(self, snapshot: str) -> None:
        """Remove a record; success when there is none."""
        self._path(snapshot).unlink(missing_ok=True)

    def all(self) -> Mapping[str, str]:
        """The records by the ids of the snapshots."""
        paths = self._folder.glob(f"*{SUFFIX}") if self._folder.is_dir() else ()
        found = [path for path in paths if ID.fullmatch(path.stem)]
        return {path.stem: path.read_text(encoding="utf-8") for path in found}

    def _path(self, snapshot: str) -> Path:
        if not ID.fullmatch(snapshot):
            raise ValueError(f"not a snapshot's id: {snapshot!r}")
        return self._folder / f"{snapshot}{SUFFIX}"
