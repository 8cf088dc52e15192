"""Authentication: identifies the sender of a request by its session, token or other credentials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stager.control.identity.api_tokens import PREFIX, Tokens
from stager.control.identity.audit import ANONYMOUS, SIGN_IN, Audit
from stager.control.identity.sessions import BEARER, Sessions
from stager.control.identity.strategy_calls import call_strategy
from stager.control.identity.throttle import Throttle
from stager.control.plugins.invoker import Invoker
from stager.domain.errors import Refused
from stager.domain.identity.actor import Actor
from stager.domain.identity.client_addresses import holder
from stager.ports.handlers import AuthenticationStrategy, Credentials

UNAUTHORIZED = "unauthorized"


class Authenticator:
    """Authenticates requests by the configured strategies; anonymous requests are rejected.

    Args:
        throttle: counts failed attempts by address.
    """

    def __init__(
        self,
        strategies: Sequence[AuthenticationStrategy],
        invoker: Invoker,
        *,
        sessions: Sessions,
        tokens: Tokens,
        throttle: Throttle,
        audit: Audit,
    ) -> None:
        self._strategies = strategies
        self._invoker = invoker
        self._sessions = sessions
        self._tokens = tokens
        self._throttle = throttle
        self._audit = audit

    async def authenticate(self, credentials: Credentials) -> Actor:
        """Return the sender of a request.

        A valid session takes precedence, so that a web page can't lock out its visitor with requests that
        carry other credentials.

        Raises:
            Refused: 401, the credentials are missing or invalid; 429, too many failed attempts from that
                address.
            Retry: too many credentials are being checked.
        """
        actor = await self._by_session(credentials) or await self._by_credentials(self._accepted(credentials))
        if actor is not None:
            return replace(actor, address=credentials.address)
        hint = "" if self._strategies else "No authentication_strategy is configured."
        raise Refused("Unauthorized", hint=hint, reason=UNAUTHORIZED, status=401)

    async def _by_session(self, credentials: Credentials) -> Actor | None:
        actor = await self._sessions.actor(credentials.session) if credentials.session else None
        return replace(actor, in_browser=True) if actor else None

    def _accepted(self, credentials: Credentials) -> Credentials:
        """Remove a token in a parameter that no strategy accepts."""
        is_issued_here = credentials.bearer.startswith((BEARER, PREFIX))
        is_accepted = is_issued_here or any(strategy.takes_token_parameter for strategy in self._strategies)
        return credentials if is_accepted else credentials.without_parameter

    async def _by_credentials(self, credentials: Credentials) -> Actor | None:
        """Check the credentials, throttled.

        Tokens in a parameter are counted separately: a link can make a browser send them, which must not lock
        out someone who signs in another way.
        """
        source = holder(credentials.address)
        if not credentials.authorization and not credentials.bearer:
            self._throttle.check(source)
            return await self._verify(credentials)
        source = source if credentials.authorization else f"parameter {source}"
        try:
            async with self._throttle.attempt(source) as attempt:
                actor = await self._verify(credentials)
                attempt.is_successful = actor is not None
        except Refused as error:
            self._record_failure(credentials, error.reason)
            raise
        if actor is None:
            self._record_failure(credentials, UNAUTHORIZED)
        return actor

    def _record_failure(self, credentials: Credentials, reason: str) -> None:
        """Record a failed attempt in the audit log, without the credentials."""
        self._audit.refused(Actor(ANONYMOUS, SIGN_IN, address=credentials.address), SIGN_IN, reason=reason)

    async def _verify(self, credentials: Credentials) -> Actor | None:
        token = credentials.bearer
        if token.startswith(BEARER):
            return await self._sessions.actor(token, bearer=True)
        if token.startswith(PREFIX):
            return await self._tokens.actor(token)
        for strategy in self._strategies:
            given = credentials if strategy.takes_token_parameter else credentials.without_parameter
            actor = await call_strategy(self._invoker, strategy, "authenticate", given)
            if isinstance(actor, Actor):
                return replace(actor, strategy=type(strategy).__name__)
        return None
