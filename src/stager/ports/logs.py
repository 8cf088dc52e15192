"""Where the logs of builds are kept, so that they can be read while they are written and long after."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class Logs(Protocol):
    """One text for each key: lower-case letters and digits; another raises ValueError. A log has a few
    megabytes at most, and says at its end what isn't kept."""

    def begin(self, key: str) -> None:
        """Have an empty log of this key, whatever there was."""

    def add(self, key: str, line: str) -> None:
        """Add a line. A disk that is full costs lines, never the build."""

    def read(self, key: str, offset: int = 0) -> tuple[str, int]:
        """What was added from this place on, and the place where it ends, to go on from; an empty text where
        there is nothing."""

    def sweep(self, keep: Collection[str]) -> int:
        """Remove all logs but these. Returns how many went."""
