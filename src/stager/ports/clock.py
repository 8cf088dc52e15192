"""Time and chance, so that tests can hold both still."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The time of day."""

    def now(self) -> datetime:
        """The current time, with a time zone."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class Ids(Protocol):
    """Where opaque ids come from."""

    def new(self) -> str:
        """A fresh id: lower-case letters and digits, never used before."""


class RandomIds:
    """Twelve characters of the system's randomness: 60 bits."""

    ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"

    def new(self) -> str:
        return "".join(secrets.choice(self.ALPHABET) for _ in range(12))
