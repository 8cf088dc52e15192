"""Throttles wrong guesses, so that nobody can try passwords and tokens one after another, or many at once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from stager.domain.errors import Refused

LIMIT = 10
PER_SECONDS = 60.0
"""So many wrong guesses a minute: a person who mistypes never gets there, and a machine gets nowhere."""
MOST_GUESSERS = 10_000
"""Whoever guesses first is forgotten after that, so that guessers can't fill the memory."""
PATIENCE_SECONDS = 10.0
MOST_WAITING = 200
"""Requests of one guesser that wait while their others are compared, and for how long. Right passwords that
come at the same time all get through; wrong ones don't get more tries by coming at the same time."""


@dataclass(slots=True)
class Guess:
    """One comparison. It counts as wrong unless it turns out to be right."""

    is_right: bool = False


@dataclass(slots=True)
class _Guesser:
    """What is known of one.

    Args:
        requests: that are with us now, waiting or under way.
    """

    wrong: deque[datetime] = field(default_factory=deque)
    requests: int = 0
    under_way: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Throttle:
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
        self._guessers: OrderedDict[str, _Guesser] = OrderedDict()

    def check(self, name: str) -> None:
        """Raise `Refused` (429) for whoever has guessed wrong too often lately. Nothing is counted."""
        guesser = self._guessers.get(name)
        if guesser is not None and self._recently_wrong(guesser) >= self._limit:
            raise self._too_many()

    @asynccontextmanager
    async def guess(self, name: str) -> AsyncIterator[Guess]:
        """What happens inside compares once. It is counted before, and no more once it `is_right`.

        So that guesses under way never exceed what is left, the next one waits until they are decided.

        Raises:
            Refused: 429, too many were wrong lately, or too many wait for too long.
        """
        guesser = self._known(name)
        guesser.requests += 1
        try:
            await self._turn(guesser)
            async with self._compared(guesser) as guess:
                yield guess
        finally:
            guesser.requests -= 1
            if not guesser.requests and not guesser.wrong:
                self._guessers.pop(name, None)

    @asynccontextmanager
    async def _compared(self, guesser: _Guesser) -> AsyncIterator[Guess]:
        guess = Guess()
        try:
            yield guess
        finally:  # also when the request is given up in the middle: it may have been compared by then
            guesser.under_way -= 1
            if not guess.is_right:
                guesser.wrong.append(self._now())
            self._wake(guesser)

    async def _turn(self, guesser: _Guesser) -> None:
        """Wait until one more guess is allowed, and count it."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not self._has_room(guesser):
                    await self._wait(guesser)
        except TimeoutError:
            raise self._too_many() from None
        guesser.under_way += 1

    def _has_room(self, guesser: _Guesser) -> bool:
        wrong = self._recently_wrong(guesser)
        if wrong >= self._limit or len(guesser.waiting) >= MOST_WAITING:
            raise self._too_many()
        return wrong + guesser.under_way < self._limit

    async def _wait(self, guesser: _Guesser) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        guesser.waiting.append(turn)
        try:
            await turn
        finally:
            if turn in guesser.waiting:
                guesser.waiting.remove(turn)

    def _wake(self, guesser: _Guesser) -> None:
        """Let all of them look: one has room, or none has any more."""
        while guesser.waiting:
            turn = guesser.waiting.popleft()
            if not turn.done():
                turn.set_result(None)

    def _known(self, name: str) -> _Guesser:
        guesser = self._guessers.setdefault(name, _Guesser())
        self._guessers.move_to_end(name)
        if len(self._guessers) > MOST_GUESSERS:
            self._forget_one(name)
        return guesser

    def _forget_one(self, but: str) -> None:
        """The oldest one of whom no request is here."""
        idle = (n for n, g in self._guessers.items() if not g.requests and n != but)
        if (oldest := next(idle, None)) is not None:
            del self._guessers[oldest]

    def _recently_wrong(self, guesser: _Guesser) -> int:
        wrong = guesser.wrong
        while wrong and (self._now() - wrong[0]).total_seconds() >= self._per_seconds:
            wrong.popleft()
        return len(wrong)

    def _too_many(self) -> Refused:
        return Refused(
            "Too many wrong credentials came from your address.",
            hint=f"Try again in {self._per_seconds:g} seconds.",
            reason="too-many-tries",
            status=429,
        )
