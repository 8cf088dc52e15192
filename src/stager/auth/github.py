"""Knows people by their GitHub accounts: by a token of theirs, or because they signed in at GitHub.

Whoever may push to an application's repository decides about its previews. What GitHub doesn't say for
certain counts as no.
"""

from __future__ import annotations

import asyncio
import hashlib
import re

from stager.domain.errors import Refused
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role, role_by
from stager.domain.source import Access
from stager.expiring_map import ExpiringMap
from stager.ports.handlers import AuthenticationStrategy, Credentials
from stager.ports.login import Accounts, Logins, SignIn

TOKEN = re.compile(r"gh[a-z]_[A-Za-z0-9_.-]{10,500}|github_pat_[A-Za-z0-9_]{20,300}|[0-9a-f]{40}")
"""What GitHub's tokens look like (https://docs.github.com/en/authentication, "GitHub's token formats").
Nothing else is sent there: it may be a password for somewhere else."""

REMEMBERED = 60.0
"""Seconds that somebody may go on doing what they no longer may."""
NO_REMEMBERED = 5.0
"""Seconds for a no, so that whoever was just let in needn't wait."""
MOST_REMEMBERED = 1_000


class GithubAuthentication(AuthenticationStrategy):
    """People's GitHub accounts: whoever may push to an application's repository, which is `repo` or
    `repo_owner`/`image_name`, may launch it.

    A token may come as `Authorization: Bearer`, as the parameter `github_token`, or as the password of HTTP
    Basic. It is sent to GitHub's API and nowhere else.

    Args:
        logins: asks GitHub.

    Raises:
        Refused: there is no GitHub to ask.
    """

    name = "GithubAuthentication"
    short_name = "github"
    takes_token_parameter = True

    def __init__(self, logins: Logins) -> None:
        if logins.accounts is None:
            raise Refused("There is no GitHub to ask who somebody is.", reason="sign-in-unavailable")
        self._accounts: Accounts = logins.accounts
        self._names: ExpiringMap[bytes, str, float] = ExpiringMap(_now, MOST_REMEMBERED)
        self._access: ExpiringMap[bytes, Access, float] = ExpiringMap(_now, MOST_REMEMBERED)

    async def authenticate(self, credentials: Credentials) -> Actor | None:
        token = _token_in(credentials)
        if not token:
            return None
        key = _digest(token)
        name = self._names.get(key)
        if name is None:
            name = await self._accounts.who(token)
            self._names.put(key, name, _now() + (REMEMBERED if name else NO_REMEMBERED))
        return Actor(name, self.name, proof=token) if name else None

    async def role(self, actor: Actor, application: str, owner: str) -> Role:
        """By the rights in the repository, asked with the person's own token. Whoever has a GitHub account is
        a viewer of the installation as a whole."""
        if not actor.proof:
            return Role.NONE
        if not application:
            return Role.VIEWER
        if not owner:
            return Role.NONE
        owner, _, name = owner.partition("/")
        return role_by(await self._asked(actor.proof, owner, name or application))

    def sign_in(self) -> SignIn | None:
        return self._accounts

    async def _asked(self, token: str, owner: str, name: str) -> Access:
        key = _digest(token, owner.lower(), name.lower())
        access = self._access.get(key)
        if access is None:
            access = await self._accounts.access(token, owner, name)
            seconds = REMEMBERED if access is not Access.NONE else NO_REMEMBERED
            self._access.put(key, access, _now() + seconds)
        return access


def _now() -> float:
    return asyncio.get_running_loop().time()


def _token_in(credentials: Credentials) -> str:
    """What looks like a token of GitHub's."""
    given = credentials.bearer or credentials.basic.partition(":")[2]
    return given if TOKEN.fullmatch(given) else ""


def _digest(*parts: str) -> bytes:
    """So that no token lies about in memory longer than its request."""
    return hashlib.sha256("\0".join(parts).encode()).digest()
