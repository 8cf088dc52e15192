"""Authentication with GitHub accounts: by a token, or by signing in at GitHub.

Push access to an application's repository gives the developer's role. If GitHub doesn't answer, access is
denied.
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
"""GitHub's token formats (https://docs.github.com/en/authentication, "GitHub's token formats"). Nothing else
is sent to GitHub: it may be a password of another service."""

CACHE_SECONDS = 60.0
"""Cache lifetime of granted access; revoked access remains valid for that long."""
DENIED_CACHE_SECONDS = 5.0
"""Cache lifetime of denied access, short for people who were just granted it."""
CACHE_SIZE = 1_000


class GithubAuthentication(AuthenticationStrategy):
    """GitHub accounts: push access to an application's repository (`repo`, or `repo_owner`/`image_name`)
    permits launching it.

    A token is sent as `Authorization: Bearer`, as the parameter `github_token`, or as the password of HTTP
    Basic. It is passed to GitHub's API and nowhere else.

    Args:
        logins: queries GitHub.

    Raises:
        Refused: GitHub isn't configured.
    """

    name = "GithubAuthentication"
    short_name = "github"
    takes_token_parameter = True

    def __init__(self, logins: Logins) -> None:
        if logins.accounts is None:
            raise Refused(
                "GithubAuthentication needs GitHub, which isn't configured.", reason="sign-in-unavailable"
            )
        self._accounts: Accounts = logins.accounts
        self._names: ExpiringMap[bytes, str, float] = ExpiringMap(_now, CACHE_SIZE)
        self._access: ExpiringMap[bytes, Access, float] = ExpiringMap(_now, CACHE_SIZE)

    async def authenticate(self, credentials: Credentials) -> Actor | None:
        token = _token_in(credentials)
        if not token:
            return None
        key = _digest(token)
        name = self._names.get(key)
        if name is None:
            name = await self._accounts.who(token)
            self._names.put(key, name, _now() + (CACHE_SECONDS if name else DENIED_CACHE_SECONDS))
        return Actor(name, self.name, proof=token) if name else None

    async def role(self, actor: Actor, application: str, owner: str) -> Role:
        """The role by permissions in the repository, queried with the person's own token. Every GitHub
        account is a viewer of the installation as a whole."""
        if not actor.proof:
            return Role.NONE
        if not application:
            return Role.VIEWER
        if not owner:
            return Role.NONE
        owner, _, name = owner.partition("/")
        return role_by(await self._access_to(actor.proof, owner, name or application))

    def sign_in(self) -> SignIn | None:
        return self._accounts

    async def _access_to(self, token: str, owner: str, name: str) -> Access:
        key = _digest(token, owner.lower(), name.lower())
        access = self._access.get(key)
        if access is None:
            access = await self._accounts.access(token, owner, name)
            seconds = CACHE_SECONDS if access is not Access.NONE else DENIED_CACHE_SECONDS
            self._access.put(key, access, _now() + seconds)
        return access


def _now() -> float:
    return asyncio.get_running_loop().time()


def _token_in(credentials: Credentials) -> str:
    """The GitHub token in these credentials; empty for none."""
    given = credentials.bearer or credentials.basic.partition(":")[2]
    return given if TOKEN.fullmatch(given) else ""


def _digest(*parts: str) -> bytes:
    """A cache key that doesn't keep the token in memory."""
    return hashlib.sha256("\0".join(parts).encode()).digest()
