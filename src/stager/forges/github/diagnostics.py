"""Diagnostics for GitHub: reachability, clock skew and permissions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp

from stager.forges.github.account import GithubServer
from stager.forges.github.api import problems
from stager.forges.github.api.app import AppJwt
from stager.forges.github.api.credentials import basic
from stager.forges.github.api.responses import AppCredentials
from stager.forges.github.api.rest import Rest
from stager.forges.github.app_setup.manifest import PERMISSIONS
from stager.ports.diagnostics import Finding, Verdict

SKEW = 30.0
"""Seconds. GitHub rejects JWTs dated a minute ahead (GitHub docs, "Generating a JSON Web Token")."""
SET_CLOCK = (
    "Synchronize it: `timedatectl set-ntp true`. GitHub rejects an App whose clock is off by a minute."
)
LEVELS = ("read", "write", "admin")


class GithubCheck:
    """Checks that GitHub answers, and Stager's permissions there.

    Args:
        user, password: the account's; both empty for none.
        app: returns the App's; None for none.
    """

    subject = "GitHub"

    def __init__(
        self, server: GithubServer, user: str, password: str, app: Callable[[], AppCredentials | None]
    ) -> None:
        self._server = server
        self._user, self._password = user, password
        self._app = app

    async def run(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.run`. Raises as GitHub's client does."""
        async with aiohttp.ClientSession(trust_env=True) as session:
            try:
                async with session.get(f"{self._server.api_url}/rate_limit") as answer:
                    date = answer.headers.get("date", "")
            except problems.TRANSPORT as error:
                hint = "Check the network and firewall of this machine, and HTTPS_PROXY if it needs a proxy."
                message = f"{self._server.api_url} can't be reached: {error}."
                return [Finding(self.subject, Verdict.ERROR, message, hint)]
            reached = Finding(self.subject, Verdict.OK, f"{self._server.api_url} answers.")
            return [reached, *_clock(date), await self._rights(session)]

    async def _rights(self, session: aiohttp.ClientSession) -> Finding:
        app = self._app()
        if app is not None:
            rest = Rest(session, self._server.api_url, AppJwt(app))
            response = await rest.read("/app", {})
            return _of_app(response.get("permissions") if isinstance(response, dict) else None)
        if not self._user:
            hint = "Create a GitHub App at /setup/github; without one, only public repositories work."
            return Finding(self.subject, Verdict.WARNING, "No credentials for GitHub are configured.", hint)
        headers = {"Authorization": basic(self._user, self._password)}
        async with session.get(f"{self._server.api_url}/user", headers=headers) as answer:
            return _of_token(answer.status, answer.headers.get("x-oauth-scopes"))


def _clock(date: str) -> list[Finding]:
    """The skew between this machine's clock and GitHub's (RFC 9110, 6.6.1)."""
    try:
        off = (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()
    except (ValueError, TypeError):
        return []
    if abs(off) <= SKEW:
        return [Finding("clock", Verdict.OK, "This machine's clock agrees with GitHub's.")]
    way = "ahead" if off > 0 else "behind"
    return [Finding("clock", Verdict.ERROR, f"This machine's clock is {abs(off):.0f} s {way}.", SET_CLOCK)]


def _of_app(permissions: Mapping[str, object] | None) -> Finding:
    given = permissions if isinstance(permissions, Mapping) else {}
    lacks = [
        f"{name}: {level}"
        for name, (level, _) in PERMISSIONS.items()
        if _rank(str(given.get(name, ""))) < _rank(level)
    ]
    if lacks:
        hint = "Grant them in its settings at GitHub, then accept them where it is installed."
        return Finding(GithubCheck.subject, Verdict.ERROR, f"The App lacks {', '.join(lacks)}.", hint)
    return Finding(GithubCheck.subject, Verdict.OK, "The App has all required permissions.")


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else -1


def _of_token(status: int, scopes: str | None) -> Finding:
    subject = GithubCheck.subject
    if status == 401:
        hint = "Set a valid token in `github.outgoing_auth`."
        return Finding(subject, Verdict.ERROR, "GitHub rejects the token.", hint)
    if status != 200:
        return Finding(subject, Verdict.WARNING, f"GitHub answered the token's user query with {status}.")
    # A fine-grained token has no scopes; its permissions can't be queried.
    if scopes and not {"repo", "public_repo"} & {scope.strip() for scope in scopes.split(",")}:
        message = f"The token has the scopes {scopes}, and needs `repo`."
        return Finding(subject, Verdict.ERROR, message, "Create one with that scope, or a GitHub App.")
    return Finding(subject, Verdict.OK, "GitHub accepts the token.")
