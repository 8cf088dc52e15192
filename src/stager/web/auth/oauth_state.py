"""OAuth states of redirects to a forge, which protect the callback against CSRF."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from stager.domain.identity.actor import Actor
from stager.expiring_map import ExpiringMap

LIFETIME = 3600.0
"""Seconds, as long as GitHub's codes are valid."""
MAX_STATES = 100
"""The oldest is dropped when there are more."""


@dataclass(frozen=True, slots=True)
class _Expected:
    cookie: str
    actor: Actor


class OAuthStates:
    """Issues random states. Each is accepted once, from the same browser and actor, within `LIFETIME`. In
    memory only.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._expected: ExpiringMap[str, _Expected, float] = ExpiringMap(clock, MAX_STATES)

    def issue(self, actor: Actor, cookie: str = "") -> tuple[str, str]:
        """Issue a state. Returns it with the cookie to set in the browser.

        Args:
            cookie: the browser's current one, from another tab.
        """
        state, cookie = secrets.token_urlsafe(32), cookie or secrets.token_urlsafe(32)
        self._expected.put(state, _Expected(cookie, actor), self._clock() + LIFETIME)
        return state, cookie

    def accept(self, state: str, actor: Actor, cookie: str) -> bool:
        """Consume a state. Returns whether it was issued to this actor in this browser."""
        expected = self._expected.pop(state)
        if expected is None:
            return False
        return expected.actor == actor and hmac.compare_digest(expected.cookie.encode(), cookie.encode())
