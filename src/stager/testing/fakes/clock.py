"""A clock and ids that tests control."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
"""The default start of a `FakeClock`."""


class FakeClock:
    """A `stager.ports.clock.Clock` whose time changes only by `advance`.

    Args:
        now: with a time zone.
    """

    def __init__(self, now: datetime = START) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> datetime:
        """Advance by this many seconds. Returns the new time."""
        self._now += timedelta(seconds=seconds)
        return self._now


class SequentialIds:
    """A `stager.ports.clock.Ids` that counts: `id0001`, `id0002`, and so on.

    Args:
        prefix: lower-case letters and digits; distinguishes the ids of one kind from others.
    """

    def __init__(self, prefix: str = "id") -> None:
        self._prefix = prefix
        self._last = 0

    def new(self) -> str:
        self._last += 1
        return f"{self._prefix}{self._last:04}"
