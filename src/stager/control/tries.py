"""Counts wrong guesses, so that nobody can try passwords and tokens one after another."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import datetime

from stager.domain.errors import Refused

LIMIT = 10
PER_SECONDS = 60.0
"""So many wrong guesses a minute: a person who mistypes never gets there, and a machine gets nowhere."""
MOST_GUESSERS = 10_000
"""Whoever guesses first is forgotten after that, so that guessers can't fill the memory."""


class Tries:
    """Wrong guesses by who makes them, such as a network address.

    Args:
        now: the time.
        limit: how many are allowed in `per_seconds`.
    """

    def __init__(
        self, now: Callable[[], datetime], limit: int = LIMIT, per_seconds: float = PER_SECONDS
    ) -> None:
        self._now = now
        self._limit = limit
        self._per_seconds = per_seconds
        self._wrong: OrderedDict[str, deque[datetime]] = OrderedDict()

    def check(self, guesser: str) -> None:
        """Raise `Refused` (429) for whoever has guessed wrong too often lately. Nothing is counted."""
        if len(self._recent(guesser)) >= self._limit:
            raise Refused(
                "Too many wrong credentials came from your address.",
                hint=f"Try again in {self._per_seconds:g} seconds.",
                reason="too-many-tries",
                status=429,
            )

    def wrong(self, guesser: str) -> None:
        """Count one."""
        recent = self._recent(guesser)
        recent.append(self._now())
        self._wrong[guesser] = recent
        self._wrong.move_to_end(guesser)
        if len(self._wrong) > MOST_GUESSERS:
            self._wrong.popitem(last=False)

    def _recent(self, guesser: str) -> deque[datetime]:
        recent = self._wrong.get(guesser) or deque(maxlen=self._limit)
        while recent and (self._now() - recent[0]).total_seconds() >= self._per_seconds:
            recent.popleft()
        return recent
