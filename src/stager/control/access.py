"""Who may ask directly: the configured strategies, tried in order. Nobody, when there are none."""

from __future__ import annotations

from collections.abc import Sequence

from stager.domain.actor import Actor
from stager.domain.errors import Refused
from stager.ports.handlers import AuthenticationStrategy, Credentials


class Access:
    """Knows the sender of a direct request, or refuses it."""

    def __init__(self, strategies: Sequence[AuthenticationStrategy]) -> None:
        self._strategies = strategies

    async def actor(self, credentials: Credentials) -> Actor:
        """Who sends this.

        Raises:
            Refused: 401, when no strategy knows them.
        """
        for strategy in self._strategies:
            actor = await strategy.authenticate(credentials)
            if actor is not None:
                return actor
        hint = "" if self._strategies else "No authentication_strategy is configured, so nobody is let in."
        raise Refused("Unauthorized", hint=hint, reason="unauthorized", status=401)
