"""Looks at GitHub: whether it answers, whether our clock is right, and what we may do there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp

from stager.forges.github.account import Place
from stager.forges.github.api import problems
from stager.forges.github.api.answers import AppCredentials
from stager.forges.github.api.app import Signer
from stager.forges.github.api.credentials import basic
from stager.forges.github.api.rest import Rest
from stager.forges.github.app_setup.manifest import PERMISSIONS
from stager.ports.diagnostics import Finding, Verdict

SKEW = 30.0
"""Seconds. An App's proofs of a minute ahead are refused (GitHub docs, "Generating a JSON Web Token")."""
SET_CLOCK = "Have it set: `timedatectl set-ntp true`. GitHub refuses an App whose clock is off by a minute."
LEVELS = ("read", "write", "admin")


class GithubCheck:
    """Whether GitHub answers, and what we may do there.

    Args:
        user, password: the account's; both empty for none.
        app: the App's; None for none.
    """

    subject = "GitHub"

    def __init__(self, place: Place, user: str, password: str, app: AppCredentials | None) -> None:
        self._place = place
        self._user, self._password = user, password
        self._app = app

    async def look(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.look`. Raises as GitHub's client does."""
        async with aiohttp.ClientSession(trust_env=True) as session:
            try:
                async with session.get(f"{self._place.api_url}/rate_limit") as answer:
                    date = answer.headers.get("date", "")
            except problems.TRANSPORT as error:
                hint = "May this machine reach it, and does HTTPS_PROXY name the proxy, if there is one?"
                message = f"{self._place.api_url} can't be reached: {error}."
                return [Finding(self.subject, Verdict.WRONG, message, hint)]
            reached = Finding(self.subject, Verdict.FINE, f"{self._place.api_url} answers.")
            return [reached, *_clock(date), await self._rights(session)]

    async def _rights(self, session: aiohttp.ClientSession) -> Finding:
        if self._app is not None:
            rest = Rest(session, self._place.api_url, Signer(self._app))
            told = await rest.read("/app", {})
            return _of_app(told.get("permissions") if isinstance(told, dict) else None)
        if not self._user:
            hint = "`stager serve` has a page for that, /setup/github; only public repositories work without."
            return Finding(self.subject, Verdict.WARNING, "There are no credentials for GitHub.", hint)
        headers = {"Authorization": basic(self._user, self._password)}
        async with session.get(f"{self._place.api_url}/user", headers=headers) as answer:
            return _of_token(answer.status, answer.headers.get("x-oauth-scopes"))


def _clock(date: str) -> list[Finding]:
    """How far our clock is from theirs (RFC 9110, 6.6.1)."""
    try:
        off = (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()
    except (ValueError, TypeError):
        return []
    if abs(off) <= SKEW:
        return [Finding("clock", Verdict.FINE, "This machine's clock agrees with GitHub's.")]
    way = "ahead" if off > 0 else "behind"
    return [Finding("clock", Verdict.WRONG, f"This machine's clock is {abs(off):.0f} s {way}.", SET_CLOCK)]


def _of_app(permissions: Mapping[str, object] | None) -> Finding:
    given = permissions if isinstance(permissions, Mapping) else {}
    lacks = [
        f"{name}: {level}"
        for name, (level, _) in PERMISSIONS.items()
        if _rank(str(given.get(name, ""))) < _rank(level)
    ]
    if lacks:
        hint = "Give it these in its settings at GitHub, and accept them where it is installed."
        return Finding(GithubCheck.subject, Verdict.WRONG, f"The App lacks {', '.join(lacks)}.", hint)
    return Finding(GithubCheck.subject, Verdict.FINE, "The App has the permissions that it needs.")


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else -1


def _of_token(status: int, scopes: str | None) -> Finding:
    subject = GithubCheck.subject
    if status == 401:
        hint = "Put a valid one into `github.outgoing_auth`."
        return Finding(subject, Verdict.WRONG, "GitHub doesn't know the token.", hint)
    if status != 200:
        return Finding(subject, Verdict.WARNING, f"GitHub answered {status} when asked whose the token is.")
    # A fine-grained token has no scopes, and nobody but its owner can see what it allows.
    if scopes and not {"repo", "public_repo"} & {scope.strip() for scope in scopes.split(",")}:
        message = f"The token has the scopes {scopes}, and needs `repo`."
        return Finding(subject, Verdict.WRONG, message, "Make one with that scope, or an App.")
    return Finding(subject, Verdict.FINE, "GitHub knows the token.")
