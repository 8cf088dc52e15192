"""Calls of authentication strategies. A strategy that fails yields nothing, so it can't let anyone in."""

from __future__ import annotations

import structlog

from stager.control.plugins.invoker import Invoker
from stager.domain.errors import StagerError
from stager.ports.handlers import BUSY, AuthenticationStrategy

log = structlog.get_logger(__name__)


async def call_strategy(
    invoker: Invoker, strategy: AuthenticationStrategy, method: str, *arguments: object
) -> object:
    """Call a method of a strategy; returns None when it fails.

    Raises:
        Retry: the strategy is overloaded.
    """
    try:
        return await invoker.ask(strategy, method, *arguments)
    except StagerError as error:
        if error.reason == BUSY:
            raise
        log.warning("auth_strategy_failed", strategy=type(strategy).__name__, error=error.message)
        return None
