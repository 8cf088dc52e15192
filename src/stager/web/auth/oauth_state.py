"""Who was sent to another site and is expected back, so that nobody else is taken for them."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from stager.domain.identity.actor import Actor
from stager.expiring_map import ExpiringMap

GOOD_FOR = 3600.0
"""Seconds. GitHub's codes are good for as long."""
MOST_EXPECTED = 100
"""Whoever is sent away after that pushes out the oldest."""


@dataclass(frozen=True, slots=True)
class _Expected:
    cookie: str
    actor: Actor


class States:
    """Gives out unguessable states, and takes each back once: from the browser that it was given to, for the
    same actor, within `GOOD_FOR`. In memory only: a restart forgets them.

    Args:
        clock: seconds; never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._expected: ExpiringMap[str, _Expected, float] = ExpiringMap(clock, MOST_EXPECTED)

    def give(self, actor: Actor, cookie: str = "") -> tuple[str, str]:
        """A new state, and the cookie that its browser is to have.

        Args:
            cookie: the one that the browser has already, from another of its pages.
        """
        state, cookie = secrets.token_urlsafe(32), cookie or secrets.token_urlsafe(32)
        self._expected.put(state, _Expected(cookie, actor), self._clock() + GOOD_FOR)
        return state, cookie

    def take(self, state: str, actor: Actor, cookie: str) -> bool:
        """Whether this state was given to this actor in this browser. It is gone afterwards."""
        expected = self._expected.pop(state)
        if expected is None:
            return False
        return expected.actor == actor and hmac.compare_digest(expected.cookie.encode(), cookie.encode())
