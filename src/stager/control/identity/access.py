"""Who asks, and whether they may: the one place where both are decided, for every surface there is.

Whoever no strategy knows is nobody, and what no role allows is refused. What is done or refused is in the
audit log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import structlog

from stager.control.identity.api_tokens import PREFIX, Tokens
from stager.control.identity.audit import NOBODY, SIGN_IN, Audit
from stager.control.identity.sessions import BEARER, Sessions
from stager.control.identity.throttle import Throttle
from stager.control.plugins.invoker import Invoker
from stager.domain.application import Applications
from stager.domain.errors import Refused, StagerError
from stager.domain.identity.actor import Actor
from stager.domain.identity.client_addresses import holder
from stager.domain.identity.roles import NEEDED, Action, Role, may
from stager.ports.handlers import BUSY, AuthenticationStrategy, Credentials

log = structlog.get_logger(__name__)

UNAUTHORIZED = "unauthorized"


@dataclass(frozen=True, slots=True)
class Roles:
    """What the configuration says of people.

    Args:
        listed: roles by `strategy:name`, such as `github:ann`; they go before what a strategy says.
    """

    listed: Mapping[str, Role] = field(default_factory=dict)

    def of(self, strategy: AuthenticationStrategy, name: str) -> Role | None:
        """The listed role; None for whoever isn't listed."""
        called = (type(strategy).short_name, type(strategy).__name__)
        found = (self.listed.get(f"{kind}:{name}".lower()) for kind in called if kind)
        return next((role for role in found if role is not None), None)


class Access:
    """Knows the sender of a direct request, and what they may do.

    Args:
        tokens: those that we gave out.
        sessions: of those who signed in.
        throttle: counts wrong credentials by address.
    """

    def __init__(  # noqa: PLR0913 (all that identifies an actor)
        self,
        strategies: Sequence[AuthenticationStrategy],
        *,
        applications: Applications,
        audit: Audit,
        tokens: Tokens,
        sessions: Sessions,
        throttle: Throttle,
        roles: Roles | None = None,
        invoker: Invoker | None = None,
    ) -> None:
        self._strategies = strategies
        self._applications = applications
        self._audit = audit
        self._tokens = tokens
        self._sessions = sessions
        self._throttle = throttle
        self._roles = roles or Roles()
        self._invoker = invoker or Invoker()

    # Who.

    async def actor(self, credentials: Credentials) -> Actor:
        """Who sends this. A good session comes first, so that no page can lock out its visitor by what it
        has their browser send.

        Raises:
            Refused: 401, when nobody that we know does; 429, after too many wrong ones from that address.
            Retry: so many are compared that it takes too long.
        """
        actor = await self._signed_in(credentials) or await self._proven(self._taken(credentials))
        if actor is not None:
            return replace(actor, address=credentials.address)
        hint = "" if self._strategies else "No authentication_strategy is configured, so nobody is let in."
        raise Refused("Unauthorized", hint=hint, reason=UNAUTHORIZED, status=401)

    async def _signed_in(self, credentials: Credentials) -> Actor | None:
        return await self._sessions.actor(credentials.session) if credentials.session else None

    def _taken(self, credentials: Credentials) -> Credentials:
        """These without a token in a parameter that nobody here takes."""
        is_ours = credentials.bearer.startswith((BEARER, PREFIX))
        takes = is_ours or any(strategy.takes_token_parameter for strategy in self._strategies)
        return credentials if takes else credentials.without_parameter

    async def _proven(self, credentials: Credentials) -> Actor | None:
        """Who is known by what the request says. Tokens in a parameter are counted apart: a link may have a
        browser send them, which must not lock anybody out who signs in in another way."""
        guesser = holder(credentials.address)
        if not credentials.authorization and not credentials.bearer:
            self._throttle.check(guesser)
            return await self._known(credentials)
        guesser = guesser if credentials.authorization else f"parameter {guesser}"
        try:
            async with self._throttle.guess(guesser) as guess:
                actor = await self._known(credentials)
                guess.is_right = actor is not None
        except Refused as error:
            self._unknown(credentials, error.reason)
            raise
        if actor is None:
            self._unknown(credentials, UNAUTHORIZED)
        return actor

    def _unknown(self, credentials: Credentials, reason: str) -> None:
        """Have the audit log say that wrong credentials came from there, and never which."""
        nobody = Actor(NOBODY, SIGN_IN, address=credentials.address)
        self._audit.refused(nobody, SIGN_IN, reason=reason)

    async def _known(self, credentials: Credentials) -> Actor | None:
        token = credentials.bearer
        if token.startswith(BEARER):
            return await self._sessions.actor(token, bearer=True)
        if token.startswith(PREFIX):
            return await self._tokens.actor(token)
        for strategy in self._strategies:
            shown = credentials if strategy.takes_token_parameter else credentials.without_parameter
            actor = await self._asked(strategy, "authenticate", shown)
            if isinstance(actor, Actor):
                return replace(actor, strategy=type(strategy).__name__)
        return None

    # Whether they may.

    async def role(self, actor: Actor, app: str = "") -> Role:
        """The actor's role for this application.

        Args:
            app: the entry under `images:`; empty for the installation as a whole.
        """
        if actor.apps is not None and app not in actor.apps:
            return Role.NONE
        most = Role.ADMINISTRATOR if actor.role is None else actor.role
        strategy = next((s for s in self._strategies if type(s).__name__ == actor.strategy), None)
        if strategy is None:
            return Role.NONE if actor.strategy else actor.role or Role.NONE
        listed = self._roles.of(strategy, actor.name)
        return min(most, listed if listed is not None else await self._given(strategy, actor, app))

    async def _given(self, strategy: AuthenticationStrategy, actor: Actor, app: str) -> Role:
        """The role that the strategy gives; none while it can't tell."""
        role = await self._asked(strategy, "role", actor, app, self._applications.owner(app))
        return role if isinstance(role, Role) else Role.NONE

    async def may(self, actor: Actor, action: Action, app: str = "") -> bool:
        """Whether the actor may do this to that application's previews."""
        return may(await self.role(actor, app), action)

    async def seen(self, actor: Actor, apps: Collection[str]) -> frozenset[str]:
        """Those of these applications whose previews the actor may see."""
        return frozenset([app for app in apps if await self.may(actor, Action.SEE, app)])

    async def check(self, actor: Actor, action: Action, app: str = "") -> None:
        """Raise `Refused` (403) unless the actor may do this. That is counted in the audit log."""
        try:
            await self._check(actor, action, app)
        except Refused as error:
            self._audit.refused(actor, action, app=app, reason=error.reason)
            raise

    async def _check(self, actor: Actor, action: Action, app: str) -> None:
        role = await self.role(actor, app)
        if may(role, action):
            return
        where = f"for {app}" if app else "here"
        needed = NEEDED.get(action)
        raise Refused(
            f"{actor.name} may not {str(action).replace('-', ' ')} {where}.",
            hint=f"That takes the role {needed}, and theirs is {role}." if needed else "",
            reason="not-permitted",
            status=403,
        )

    @asynccontextmanager
    async def acting(
        self, actor: Actor, action: Action, app: str = "", subject: str = ""
    ) -> AsyncIterator[None]:
        """What happens inside is done by this actor, if they may, and goes into the audit log.

        Raises:
            Refused: 403, unless they may.
        """
        async with self._audit.of(actor, action, app, subject):
            await self._check(actor, action, app)  # what happens here has a line of its own in any case
            yield

    async def _asked(self, strategy: AuthenticationStrategy, method: str, *arguments: object) -> object:
        """What the strategy says; one that fails knows nobody, and gives no role. Raises `Retry` where it has
        too much to do."""
        try:
            return await self._invoker.ask(strategy, method, *arguments)
        except StagerError as error:
            if error.reason == BUSY:
                raise
            log.warning("strategy_failed", strategy=type(strategy).__name__, error=error.message)
            return None
