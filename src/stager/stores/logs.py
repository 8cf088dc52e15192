"""The logs of builds, as files in a folder."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

LARGEST = 4 << 20
"""Bytes of one log; what a build prints after that isn't kept."""
ENOUGH = b"\n(what follows isn't kept: the log is too long)\n"
SUFFIX = ".log"


class FileLogs:
    """See `ports.logs.Logs`.

    Args:
        folder: created if missing, and readable by its owner only, because build logs may contain anything.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def begin(self, key: str) -> None:
        """See `ports.logs.Logs.begin`."""
        with suppress(OSError):
            self._path(key).write_bytes(b"")

    def add(self, key: str, line: str) -> None:
        """See `ports.logs.Logs.add`."""
        with suppress(OSError), self._path(key).open("ab") as file:
            room = LARGEST - file.tell()
            text = line.encode("utf-8", "replace") + b"\n"
            if room > 0:
                file.write(text if len(text) < room else text[: room - 1] + ENOUGH)

    def read(self, key: str, offset: int = 0) -> tuple[str, int]:
        """See `ports.logs.Logs.read`."""
        try:
            with self._path(key).open("rb") as file:
                file.seek(offset)
                found = file.read()
        except OSError:
            return "", offset
        whole = found[: found.rfind(b"\n") + 1]
        return whole.decode("utf-8", "replace"), offset + len(whole)

    def sweep(self, keep: Collection[str]) -> int:
        """See `ports.logs.Logs.sweep`."""
        useless = [path for path in self._folder.glob(f"*{SUFFIX}") if path.stem not in keep]
        for path in useless:
            path.unlink(missing_ok=True)
        return len(useless)

    def _path(self, key: str) -> Path:
        if not key.isalnum():
            raise ValueError(f"{key!r} can't name a log")
        return self._folder / f"{key}{SUFFIX}"
