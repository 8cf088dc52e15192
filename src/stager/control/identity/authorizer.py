"""Authorization: which role an actor has, and what that role permits. Refusals are recorded in the audit
log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from stager.control.identity.audit import Audit
from stager.control.identity.strategy_calls import call_strategy
from stager.control.plugins.invoker import Invoker
from stager.domain.application import Applications
from stager.domain.errors import Refused
from stager.domain.identity.actor import LOGIN_LINK, Actor
from stager.domain.identity.roles import NEEDED, Action, Role, may
from stager.ports.handlers import AuthenticationStrategy


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles in the configuration.

    Args:
        listed: roles by `strategy:name`, such as `github:ann`. They take precedence over a strategy's roles.
    """

    listed: Mapping[str, Role] = field(default_factory=dict)

    def of(self, strategy: AuthenticationStrategy, name: str) -> Role | None:
        """Return the configured role; None for a name that isn't listed."""
        names = (type(strategy).short_name, type(strategy).__name__)
        found = (self.listed.get(f"{kind}:{name}".lower()) for kind in names if kind)
        return next((role for role in found if role is not None), None)


class Authorizer:
    """Decides what actors may do."""

    def __init__(
        self,
        strategies: Sequence[AuthenticationStrategy],
        invoker: Invoker,
        *,
        applications: Applications,
        roles: Roles,
        audit: Audit,
    ) -> None:
        self._strategies = strategies
        self._invoker = invoker
        self._applications = applications
        self._roles = roles
        self._audit = audit

    async def role(self, actor: Actor, app: str = "") -> Role:
        """Return the actor's role for an application.

        Args:
            app: the entry in `images:`; empty: the role for the installation.
        """
        if actor.apps is not None and app not in actor.apps:
            return Role.NONE
        limit = Role.ADMINISTRATOR if actor.role is None else actor.role
        if actor.strategy == LOGIN_LINK:
            return limit
        strategy = next((s for s in self._strategies if type(s).__name__ == actor.strategy), None)
        if strategy is None:
            return Role.NONE if actor.strategy else actor.role or Role.NONE
        listed = self._roles.of(strategy, actor.name)
        return min(limit, listed if listed is not None else await self._by_strategy(strategy, actor, app))

    @property
    def listed(self) -> Mapping[str, Role]:
        """The roles in the configuration, by `strategy:name`."""
        return self._roles.listed

    def is_listed(self, actor: Actor) -> bool:
        """Whether the actor's role is in the configuration, which takes precedence over the strategy's."""
        those = (each for each in self._strategies if type(each).__name__ == actor.strategy)
        return any(self._roles.of(each, actor.name) is not None for each in those)

    async def _by_strategy(self, strategy: AuthenticationStrategy, actor: Actor, app: str) -> Role:
        """Return the role that the strategy gives; none when the strategy fails."""
        owner = self._applications.owner(app)
        role = await call_strategy(self._invoker, strategy, "role", actor, app, owner)
        return role if isinstance(role, Role) else Role.NONE

    async def may(self, actor: Actor, action: Action, app: str = "") -> bool:
        """Whether the actor has permission for an action on an application's previews."""
        return may(await self.role(actor, app), action)

    async def visible(self, actor: Actor, apps: Collection[str]) -> frozenset[str]:
        """Return those of the applications whose previews the actor may see."""
        return frozenset([app for app in apps if await self.may(actor, Action.SEE, app)])

    async def check(self, actor: Actor, action: Action, app: str = "") -> None:
        """Check a permission. Refusals are counted in the audit log.

        Raises:
            Refused: 403, the actor lacks the permission.
        """
        try:
            await self._check(actor, action, app)
        except Refused as error:
            self._audit.refused(actor, action, app=app, reason=error.reason)
            raise

    async def _check(self, actor: Actor, action: Action, app: str) -> None:
        role = await self.role(actor, app)
        if may(role, action):
            return
        scope = f" for {app}" if app else ""
        needed = NEEDED.get(action)
        raise Refused(
            f'{actor.name} lacks the permission "{action}"{scope}.',
            hint=f"It requires the role {needed}; the role is {role}." if needed else "",
            reason="not-permitted",
            status=403,
        )

    @asynccontextmanager
    async def authorized(
        self, actor: Actor, action: Action, app: str = "", subject: str = ""
    ) -> AsyncIterator[None]:
        """Check a permission and record the action in the audit log with the result of the `async with` body.

        Raises:
            Refused: 403, the actor lacks the permission.
        """
        async with self._audit.recorded(actor, action, app, subject):
            await self._check(actor, action, app)
            yield
