"""Everybody with a session or a token: their roles, and where these come from. For administrators."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from stager.control.identity.api_tokens import Tokens
from stager.control.identity.authorizer import Authorizer
from stager.control.identity.sessions import Sessions
from stager.domain.application import Applications
from stager.domain.errors import StagerError
from stager.domain.identity.accounts import Person, Session, Token
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action, Role

MAX_PEOPLE = 200
MAX_APPLICATIONS = 50
CONCURRENT = 8
"""Questions to the forge at a time."""
SECONDS = 5.0
"""How long the forge is waited for; roles that aren't known by then are left out."""


@dataclass(frozen=True, slots=True)
class Account:
    """A person with what gives access.

    Args:
        role: for the installation.
        is_listed: whether the role is from the configuration; otherwise it is from the strategy.
        roles: by application; None if the forge didn't answer.
    """

    person: Person
    role: Role
    is_listed: bool
    roles: Mapping[str, Role] | None
    sessions: list[Session] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)


class People:
    """Lists people, and ends their access."""

    def __init__(
        self, sessions: Sessions, tokens: Tokens, authorizer: Authorizer, applications: Applications
    ) -> None:
        self._sessions = sessions
        self._tokens = tokens
        self._authorizer = authorizer
        self._applications = applications

    async def accounts(self, actor: Actor) -> list[Account]:
        """Return the people with a session or a token, by name, at most `MAX_PEOPLE`.

        Raises:
            Refused: 403, the actor isn't an administrator.
        """
        await self._authorizer.check(actor, Action.MANAGE_PEOPLE)
        sessions, tokens = await self._sessions.all(), await self._tokens.all()
        # The newest proof is the one that is valid, so sessions come last.
        people = {(p.strategy, p.name): p for p in [t.owner for t in tokens] + [s.person for s in sessions]}
        found = sorted(people.values(), key=lambda person: (person.name.lower(), person.strategy))
        turns = asyncio.Semaphore(CONCURRENT)
        return await asyncio.gather(
            *(self._account(person, sessions, tokens, turns) for person in found[:MAX_PEOPLE])
        )

    async def listed(self, actor: Actor) -> Mapping[str, Role]:
        """Return the roles in the configuration. Raises as `accounts` does."""
        await self._authorizer.check(actor, Action.MANAGE_PEOPLE)
        return self._authorizer.listed

    async def end_session(self, actor: Actor, session_id: str) -> None:
        """End anybody's session. Raises `Refused` (403, or 404 if there is none)."""
        await self._authorizer.check(actor, Action.MANAGE_PEOPLE)
        await self._sessions.end(actor, session_id, of_anyone=True)

    async def end_sessions(self, actor: Actor, strategy: str, name: str) -> None:
        """End all sessions of a person. Raises `Refused` (403)."""
        await self._authorizer.check(actor, Action.MANAGE_PEOPLE)
        await self._sessions.end_all(actor, Person(name, "", strategy))

    async def revoke_token(self, actor: Actor, token_id: str) -> None:
        """Revoke anybody's token. Raises `Refused` (403, or 404 if there is none)."""
        await self._authorizer.check(actor, Action.MANAGE_PEOPLE)
        await self._tokens.revoke(actor, token_id, of_anyone=True)

    async def _account(
        self, person: Person, sessions: list[Session], tokens: list[Token], turns: asyncio.Semaphore
    ) -> Account:
        known = self._sessions.actor_of(person)
        role, roles = await self._roles(known, turns) if known else (Role.NONE, None)
        return Account(
            person,
            role,
            known is not None and self._authorizer.is_listed(known),
            roles,
            [each for each in sessions if each.person.is_same(person)],
            [each for each in tokens if each.owner.is_same(person)],
        )

    async def _roles(self, actor: Actor, turns: asyncio.Semaphore) -> tuple[Role, Mapping[str, Role] | None]:
        role = await self._authorizer.role(actor)
        names = sorted(application.name for application in self._applications)[:MAX_APPLICATIONS]
        try:
            async with asyncio.timeout(SECONDS), turns:
                roles = {name: await self._authorizer.role(actor, name) for name in names}
        except (TimeoutError, StagerError):
            return role, None
        return role, {name: each for name, each in roles.items() if each}
