"""Storage of build logs, which can be read while they are written and afterwards."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class Logs(Protocol):
    """One log for each key of lower-case letters and digits; other keys raise ValueError. A log has a few
    megabytes at most; a truncated one says so at its end."""

    def begin(self, key: str) -> None:
        """Start an empty log."""

    def add(self, key: str, line: str) -> None:
        """Append a line. On a full disk lines are dropped; the build goes on."""

    def read(self, key: str, offset: int = 0) -> tuple[str, int]:
        """The text from this offset on, and the offset of its end; empty when there is no more."""

    def sweep(self, keep: Collection[str]) -> int:
        """Remove all logs except these. Returns the number of removed logs."""
