"""A GitHub App: it proves who it is by its key, and gets a token of an hour for each installation.

Tokens are asked for when they are needed, kept until shortly before their end, and never written down.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from gidgethub.apps import get_jwt
from jwt import PyJWTError

from stager.domain.errors import Fault, Refused
from stager.expiring_map import ExpiringMap
from stager.forges.github.api import answers, problems
from stager.forges.github.api.answers import AppCredentials
from stager.forges.github.api.credentials import Account, basic
from stager.forges.github.api.rest import Credentials, Rest
from stager.forges.github.webhooks import wire

APP = "/app"
INSTALLATION = "/repos/{owner}/{repo}/installation"
TOKENS = "/app/installations/{installation}/access_tokens"

JWT_SECONDS = 9 * 60
"""How long a signed proof is good for. GitHub takes ten minutes at most."""
JWT_RENEWED_AFTER = 7 * 60
"""Seconds. A proof is dated back by one minute, for clocks that go wrong."""

MARGIN = timedelta(minutes=5)
"""A token that ends sooner isn't handed out any more: whoever gets it may need it for a while."""

MOST_TOKENS = 1_000
"""Beyond that, the oldest is requested again when it is needed."""

READS_CODE = {"contents": "read"}
"""All that git is allowed."""


class Signer(Credentials):
    """The App as itself, for calls about the App.

    Raises:
        Fault: the key can't be used.
    """

    def __init__(self, app: AppCredentials, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock
        self._jwt = self._signed()
        self._signed_at = clock()

    async def authorization(self, owner: str = "", repository: str = "") -> str:  # noqa: ARG002
        if self._clock() - self._signed_at > JWT_RENEWED_AFTER:
            self._jwt, self._signed_at = self._signed(), self._clock()
        return f"Bearer {self._jwt}"

    def renew(self, authorization: str) -> bool:  # noqa: ARG002
        """Another one would be signed with the same key."""
        return False

    def hint(self, status: int, permission: str) -> str:  # noqa: ARG002
        if status == 401:
            return (
                "`github.app_id` and `github.private_key` must belong together, "
                "and this machine's clock must be right."
            )
        return ""

    def _signed(self) -> str:
        try:
            return get_jwt(app_id=self._app.id, private_key=self._app.pem, expiration=JWT_SECONDS)
        except (PyJWTError, ValueError, TypeError):
            # Without its cause, which may quote the key.
            raise Fault(
                "The private key of the GitHub App can't be used.",
                hint="It must be the whole PEM file that GitHub gave out, with its first and last line.",
                reason="app-key-unreadable",
            ) from None


class Installations(Account):
    """The App where it is installed.

    Args:
        rest: calls GitHub as the App itself.
    """

    def __init__(
        self, rest: Rest, app: AppCredentials, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._rest = rest
        self._app = app
        self._now = now
        self._lock = asyncio.Lock()
        self._ids: dict[str, str] = {}
        self._issued: ExpiringMap[tuple[str, str], answers.InstallationToken, datetime] = ExpiringMap(
            now, MOST_TOKENS
        )
        self._login = f"{app.slug}[bot]" if app.slug else ""

    async def authorization(self, owner: str, repository: str) -> str:
        """Good for all repositories of this owner that the App is installed on."""
        return f"Bearer {await self._token(owner, repository)}" if owner else ""

    async def for_git(self, owner: str, repository: str) -> str:
        """Good for reading this repository and no other: what is fetched may name further ones, and whoever
        wrote it must not get at them."""
        return basic("x-access-token", await self._token(owner, repository, alone=True))

    def renew(self, authorization: str) -> bool:
        """Forget this token: GitHub may end one before its time."""
        token = authorization.removeprefix("Bearer ")
        for key in [key for key, issued in self._issued.items() if issued.token == token]:
            self._issued.pop(key)
        return True

    async def login(self) -> str:
        if not self._login:
            slug = answers.read_app(await self._rest.read(APP, {})).slug
            self._login = f"{slug}[bot]"
        return self._login

    def hint(self, status: int, permission: str) -> str:
        if status == 403 and permission:
            return (
                f"The GitHub App needs the permission {permission}: "
                "give it in the App's settings, and accept it where the App is installed."
            )
        if status in {401, 403, 404}:
            return self._install_hint()
        return ""

    async def _token(self, owner: str, repository: str, *, alone: bool = False) -> str:
        key = (owner.lower(), repository.lower() if alone else "")
        async with self._lock:  # One asks, and the others take what it got.
            known = self._issued.get(key)
            if known is None:
                known = await self._issue(owner, repository, alone=alone)
                self._issued.put(key, known, known.expires_at - MARGIN)
            return known.token

    async def _issue(self, owner: str, repository: str, *, alone: bool) -> answers.InstallationToken:
        wanted = {"repositories": [repository], "permissions": READS_CODE} if alone else {}
        where = {"installation": await self._installation(owner, repository)}
        try:
            return answers.read_token(await self._rest.create(TOKENS, where, wanted))
        except Refused:
            self._ids.pop(owner.lower(), None)  # It may have been removed, and installed anew.
            raise
        except wire.Unreadable as error:
            raise problems.unreadable(error, f"POST {TOKENS}") from None

    async def _installation(self, owner: str, repository: str) -> str:
        """GitHub's id of it. An owner has one installation at most, for some or all of the repositories."""
        known = self._ids.get(owner.lower())
        if known:
            return known
        try:
            answer = await self._rest.read(INSTALLATION, {"owner": owner, "repo": repository})
            self._ids[owner.lower()] = answers.read_id(answer)
        except Refused as error:
            if error.status != 404:
                raise
            raise self._not_installed(f"{owner}/{repository}") from None
        except wire.Unreadable as error:
            raise problems.unreadable(error, f"GET {INSTALLATION}") from None
        return self._ids[owner.lower()]

    def _not_installed(self, where: str) -> Refused:
        message = f"The GitHub App isn't installed on {where}."
        return Refused(message, hint=self._install_hint(), reason="app-not-installed", status=404)

    def _install_hint(self) -> str:
        where = f" at {self._app.url}/installations/new" if self._app.url else ""
        return f"Install the GitHub App on this repository{where}."
