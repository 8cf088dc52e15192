"""Authentication as a GitHub App: a JWT signed with its key, and an hourly token for each installation.

Tokens are requested on demand, kept in memory until shortly before they expire, and never stored.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from stager.domain.errors import Fault, Refused
from stager.expiring_map import ExpiringMap
from stager.forges.github.api import problems, responses
from stager.forges.github.api.credentials import GithubAccount, basic
from stager.forges.github.api.responses import AppCredentials
from stager.forges.github.api.rest import RequestCredentials, Rest
from stager.forges.github.webhooks import wire

APP = "/app"
INSTALLATION = "/repos/{owner}/{repo}/installation"
TOKENS = "/app/installations/{installation}/access_tokens"

JWT_SECONDS = 9 * 60
"""Lifetime of a JWT. GitHub accepts ten minutes at most."""
JWT_RENEWED_AFTER = 7 * 60
"""Seconds. A JWT is backdated by one minute, for clock skew."""

MARGIN = timedelta(minutes=5)
"""Minimum remaining lifetime of a token that is handed out: a fetch may take a while."""

MOST_TOKENS = 1_000
"""Beyond that, the oldest is requested again when it is needed."""

READS_CODE = {"contents": "read"}
"""Permissions of git's tokens."""


class AppJwt(RequestCredentials):
    """Authenticates as the App itself, for calls about the App.

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
        """False: a new JWT would be signed with the same key."""
        return False

    def hint(self, status: int, permission: str) -> str:  # noqa: ARG002
        if status == 401:
            return (
                "`github.app_id` and `github.private_key` must belong to the same App, "
                "and this machine's clock must be correct."
            )
        return ""

    def _signed(self) -> str:
        from gidgethub.apps import get_jwt  # noqa: PLC0415 (only an App needs them, and they are slow)
        from jwt import PyJWTError  # noqa: PLC0415

        try:
            return get_jwt(app_id=self._app.id, private_key=self._app.pem, expiration=JWT_SECONDS)
        except (PyJWTError, ValueError, TypeError):
            # Without the cause, which may quote the key.
            raise Fault(
                "The private key of the GitHub App can't be used.",
                hint="It must be the complete PEM file from GitHub, including its first and last line.",
                reason="app-key-unreadable",
            ) from None


class AppInstallations(GithubAccount):
    """Authenticates as the App's installations.

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
        self._issued: ExpiringMap[tuple[str, str], responses.InstallationToken, datetime] = ExpiringMap(
            now, MOST_TOKENS
        )
        self._login = f"{app.slug}[bot]" if app.slug else ""

    async def authorization(self, owner: str, repository: str) -> str:
        """Valid for all repositories of this owner that the App is installed on."""
        return f"Bearer {await self._token(owner, repository)}" if owner else ""

    async def for_git(self, owner: str, repository: str) -> str:
        """Valid for reading this repository only: fetched content may refer to other repositories, which its
        author must not gain access to."""
        return basic("x-access-token", await self._token(owner, repository, single=True))

    def renew(self, authorization: str) -> bool:
        """Discard this token: GitHub may revoke one early."""
        token = authorization.removeprefix("Bearer ")
        for key in [key for key, issued in self._issued.items() if issued.token == token]:
            self._issued.pop(key)
        return True

    async def login(self) -> str:
        if not self._login:
            slug = responses.read_app(await self._rest.read(APP, {})).slug
            self._login = f"{slug}[bot]"
        return self._login

    def hint(self, status: int, permission: str) -> str:
        if status == 403 and permission:
            return (
                f"The GitHub App needs the permission {permission}: "
                "grant it in the App's settings, then accept it where the App is installed."
            )
        if status in {401, 403, 404}:
            return self._install_hint()
        return ""

    async def _token(self, owner: str, repository: str, *, single: bool = False) -> str:
        key = (owner.lower(), repository.lower() if single else "")
        async with self._lock:  # Concurrent callers share one request.
            known = self._issued.get(key)
            if known is None:
                known = await self._issue(owner, repository, single=single)
                self._issued.put(key, known, known.expires_at - MARGIN)
            return known.token

    async def _issue(self, owner: str, repository: str, *, single: bool) -> responses.InstallationToken:
        wanted = {"repositories": [repository], "permissions": READS_CODE} if single else {}
        where = {"installation": await self._installation(owner, repository)}
        try:
            return responses.read_token(await self._rest.create(TOKENS, where, wanted))
        except Refused:
            self._ids.pop(owner.lower(), None)  # The App may have been reinstalled.
            raise
        except wire.Unreadable as error:
            raise problems.unreadable(error, f"POST {TOKENS}") from None

    async def _installation(self, owner: str, repository: str) -> str:
        """The installation's id. An owner has at most one, for some or all repositories."""
        known = self._ids.get(owner.lower())
        if known:
            return known
        try:
            answer = await self._rest.read(INSTALLATION, {"owner": owner, "repo": repository})
            self._ids[owner.lower()] = responses.read_id(answer)
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
