"""In-memory build logs."""

from __future__ import annotations

from collections.abc import Collection

LARGEST = 4 << 20
"""Bytes of one log."""
ENOUGH = b"\n(what follows isn't kept: the log is too long)\n"


class MemoryLogs:
    """See `stager.ports.logs.Logs`."""

    def __init__(self) -> None:
        self._logs: dict[str, bytearray] = {}

    def begin(self, key: str) -> None:
        self._logs[_checked(key)] = bytearray()

    def add(self, key: str, line: str) -> None:
        log = self._logs.setdefault(_checked(key), bytearray())
        text = line.encode("utf-8", "replace") + b"\n"
        room = LARGEST - len(log)
        if room > 0:
            log.extend(text if len(text) < room else text[: room - 1] + ENOUGH)

    def read(self, key: str, offset: int = 0) -> tuple[str, int]:
        found = bytes(self._logs.get(_checked(key), b"")[offset:])
        return found.decode("utf-8", "replace"), offset + len(found)

    def sweep(self, keep: Collection[str]) -> int:
        useless = self._logs.keys() - set(keep)
        self._logs = {key: log for key, log in self._logs.items() if key not in useless}
        return len(useless)


def _checked(key: str) -> str:
    if not key.isalnum():
        raise ValueError(f"{key!r} can't name a log")
    return key
