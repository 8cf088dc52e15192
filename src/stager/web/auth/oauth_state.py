"""Who was sent to another site and is expected back, so that nobody else is taken for them."""

from __future__ import annotations

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from stager.domain.identity.actor import Actor

GOOD_FOR = 3600.0
"""Seconds. GitHub's codes are good for as long."""
MOST_EXPECTED = 100
"""Whoever is sent away after that pushes out the oldest."""


@dataclass(frozen=True, slots=True)
class _Expected:
    cookie: str
    actor: Actor
    until: float


class States:
    """Gives out unguessable states, and takes each back once: from the browser that it was given to, for the
    same actor, within `GOOD_FOR`. In memory only: a restart forgets them.

    Args:
        clock: seconds; never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._expected: OrderedDict[str, _Expected] = OrderedDict()

    def give(self, actor: Actor, cookie: str = "") -> tuple[str, str]:
        """A new state, and the cookie that its browser is to have.

        Args:
            cookie: the one that the browser has already, from another of its pages.
        """
        state, cookie = secrets.token_urlsafe(32), cookie or secrets.token_urlsafe(32)
        self._expected[state] = _Expected(cookie, actor, self._clock() + GOOD_FOR)
        while len(self._expected) > MOST_EXPECTED:
            self._expected.popitem(last=False)
        return state, cookie

    def take(self, state: str, actor: Actor, cookie: str) -> bool:
        """Whether this state was given to this actor in this browser. It is gone afterwards."""
        expected = self._expected.pop(state, None)
        if expected is None or self._clock() > expected.until:
            return False
        return expected.actor == actor and hmac.compare_digest(expected.cookie.encode(), cookie.encode())
