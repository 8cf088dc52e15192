"""Logs of builds in memory."""

from __future__ import annotations

from collections.abc import Collection


class MemoryLogs:
    """See `stager.ports.logs.Logs`."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def begin(self, key: str) -> None:
        self._texts[key] = ""

    def add(self, key: str, line: str) -> None:
        self._texts[key] = self._texts.get(key, "") + line + "\n"

    def read(self, key: str, offset: int = 0) -> tuple[str, int]:
        text = self._texts.get(key, "")
        return text[offset:], max(offset, len(text))

    def sweep(self, keep: Collection[str]) -> int:
        useless = self._texts.keys() - set(keep)
        self._texts = {key: text for key, text in self._texts.items() if key not in useless}
        return len(useless)
