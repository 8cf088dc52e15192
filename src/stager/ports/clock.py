"""Time and random ids, which tests replace."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The time of day."""

    def now(self) -> datetime:
        """The current time, with a time zone."""


class SystemClock:
    """The system clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class Ids(Protocol):
    """Generates opaque ids."""

    def new(self) -> str:
        """A new unique id: lower-case letters and digits."""


class RandomIds:
    """Generates ids of twelve random characters: 60 bits."""

    ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"

    def new(self) -> str:
        return "".join(secrets.choice(self.ALPHABET) for _ in range(12))
