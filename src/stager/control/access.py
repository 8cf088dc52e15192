"""Who may ask directly: the configured strategies, tried in order. Nobody, when there are none."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from stager.control.runner import Runner
from stager.domain.actor import Actor
from stager.domain.errors import Refused, StagerError
from stager.ports.handlers import AuthenticationStrategy, Credentials

log = structlog.get_logger(__name__)


class Access:
    """Knows the sender of a direct request, or refuses it."""

    def __init__(self, strategies: Sequence[AuthenticationStrategy], runner: Runner | None = None) -> None:
        self._strategies = strategies
        self._runner = runner or Runner()

    async def actor(self, credentials: Credentials) -> Actor:
        """Who sends this.

        Raises:
            Refused: 401, when no strategy knows them.
        """
        for strategy in self._strategies:
            actor = await self._asked(strategy, credentials)
            if isinstance(actor, Actor):
                return actor
        hint = "" if self._strategies else "No authentication_strategy is configured, so nobody is let in."
        raise Refused("Unauthorized", hint=hint, reason="unauthorized", status=401)

    async def _asked(self, strategy: AuthenticationStrategy, credentials: Credentials) -> object:
        """What the strategy says; one that fails knows nobody."""
        try:
            return await self._runner.ask(strategy, "authenticate", credentials)
        except StagerError as error:
            log.warning("strategy_failed", strategy=type(strategy).__name__, error=error.message)
            return None
