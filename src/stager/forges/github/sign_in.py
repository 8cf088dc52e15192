"""Sign-in with GitHub accounts, and queries about people's permissions with their own tokens.

The web flow uses Authlib; the device flow is implemented here, because Authlib has none.
https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from stager.domain.errors import Refused, Retry
from stager.domain.source import Access
from stager.forges.github.account import GithubServer
from stager.forges.github.api import problems, responses
from stager.forges.github.api.request import GONE
from stager.forges.github.api.rest import Rest
from stager.forges.github.app_setup.manifest import LOGIN_PATH
from stager.forges.github.webhooks import wire
from stager.oauth import SECONDS, away, oauth_client
from stager.ports.login import AuthorizationRequest, DeviceCode, Identity, Pending

AUTHORIZE = "/login/oauth/authorize"
TOKEN = "/login/oauth/access_token"  # noqa: S105 (a path)
DEVICE = "/login/device/code"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
RECEIVER = "/event_receiver"
"""The walkthrough's callback path."""

SLOWER_BY = 5.0
"""Seconds added by a `slow_down` without an interval (RFC 8628, 3.5)."""

PAUSE = 0.2
"""Approximate seconds before the first retry: a person waits."""


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """Stager's OAuth client: an OAuth application, or an App.

    Args:
        redirect_path: the path of the callback URL that is registered with GitHub.
    """

    id: str
    secret: str = field(repr=False)
    redirect_path: str = RECEIVER


class GithubSignIn:
    """A `stager.ports.login.Accounts`.

    Args:
        session: closed by the caller.
        client: returns the current client; None while there is none.
        scope: the scope of an OAuth application; an App has its own permissions.
    """

    name = "github"
    title = "GitHub"

    def __init__(
        self,
        session: aiohttp.ClientSession,
        server: GithubServer,
        client: Callable[[], OAuthClient | None],
        scope: str = "repo",
    ) -> None:
        self._session = session
        self._server = server
        self._client = client
        self._scope = scope
        self._seconds = min(server.timeout, SECONDS)

    @property
    def is_ready(self) -> bool:
        return self._client() is not None

    @property
    def redirect_path(self) -> str:
        client = self._client()
        return client.redirect_path if client else LOGIN_PATH

    async def address(self, request: AuthorizationRequest) -> str:
        async with self._oauth(request.redirect) as oauth:
            url, _ = oauth.create_authorization_url(
                self._url(AUTHORIZE), state=request.state, code_verifier=request.verifier
            )
        return str(url)

    async def exchange(self, code: str, request: AuthorizationRequest) -> Identity:
        async with self._oauth(request.redirect) as oauth:
            token = await oauth.fetch_token(
                self._url(TOKEN),
                grant_type="authorization_code",
                code=code,
                code_verifier=request.verifier,
                headers={"Accept": "application/json"},
            )
        return await self._identity(token)

    async def begin(self) -> DeviceCode:
        answer = await self._post(DEVICE, {"client_id": self._require_client().id, "scope": self._scope})
        if "error" in answer:
            raise _refused(str(answer["error"]))
        try:
            code = responses.read_device_code(answer)
        except wire.Unreadable as error:
            raise problems.unreadable(error, f"POST {DEVICE}") from None
        if not code.verification_uri.startswith(f"{self._server.web_url}/"):
            raise Refused(
                "GitHub's device flow returned a verification URL on another host.",
                hint="Check `github.web_url`.",
                reason="sign-in-failed",
                status=403,
            )
        return code

    async def poll(self, secret: str) -> Identity | Pending:
        client = self._require_client()
        form = {"client_id": client.id, "device_code": secret, "grant_type": DEVICE_GRANT}
        answer = await self._post(TOKEN, form)
        error = answer.get("error")
        if error in ("authorization_pending", "slow_down"):
            interval = problems.number(str(answer.get("interval", "")))
            return Pending(interval or 0.0, SLOWER_BY if error == "slow_down" and not interval else 0.0)
        if error:
            raise _refused(str(error))
        return await self._identity(answer)

    async def who(self, proof: str) -> str:
        try:
            return responses.read_login(await self._rest(proof).read("/user", {}))
        except Refused as error:
            if error.status in {401, 403}:
                return ""
            raise Retry(error.message, reason=error.reason) from None
        except wire.Unreadable as error:
            raise problems.unreadable(error, "GET /user") from None

    async def access(self, proof: str, owner: str, name: str) -> Access:
        try:
            names = {"owner": owner, "repo": name}
            return responses.read_access(await self._rest(proof).read("/repos/{owner}/{repo}", names))
        except Refused as error:
            if error.status in {401, 403, *GONE}:
                return Access.NONE
            raise Retry(error.message, reason=error.reason) from None
        except wire.Unreadable as error:
            raise problems.unreadable(error, "GET /repos/{owner}/{repo}") from None

    def _require_client(self) -> OAuthClient:
        client = self._client()
        if client is None:
            raise Refused(
                "Sign-in with GitHub isn't configured.",
                hint="Set `github.client_id` and `github.client_secret`, or create an App at /setup/github.",
                reason="sign-in-unavailable",
                status=404,
            )
        return client

    def _url(self, path: str) -> str:
        return self._server.web_url.rstrip("/") + path

    def _oauth(self, redirect: str) -> AbstractAsyncContextManager[Any]:
        client = self._require_client()
        return oauth_client(
            (client.id, client.secret),
            self.title,
            _refused,
            seconds=self._seconds,
            scope=self._scope,
            redirect_uri=redirect,
            token_endpoint_auth_method="client_secret_post",  # noqa: S106 (a method)
        )

    async def _post(self, path: str, form: Mapping[str, str]) -> dict[str, Any]:
        """GitHub's response. Errors have status 200 or, as in the standard, 400."""
        try:
            async with self._session.post(
                self._url(path),
                data=form,
                headers={"Accept": "application/json"},
                timeout=aiohttp.ClientTimeout(total=self._seconds),
                allow_redirects=False,
            ) as response:
                answer = await response.json(content_type=None)
        except (*problems.TRANSPORT, *problems.DECODING) as error:
            raise away(self.title, type(error).__name__) from None
        if not isinstance(answer, dict) or (response.status >= 400 and "error" not in answer):
            raise away(self.title, f"status {response.status}")
        return answer

    async def _identity(self, answer: object) -> Identity:
        try:
            token = responses.read_access_token(answer)
        except wire.Unreadable as error:
            raise problems.unreadable(error, f"POST {TOKEN}") from None
        if name := await self.who(token):
            return Identity(name, token)
        raise _refused("bad_token")

    def _rest(self, token: str) -> Rest:
        pause = min(self._server.pause, PAUSE)
        return Rest(self._session, self._server.api_url, _Bearer(token), timeout=self._seconds, pause=pause)


class _Bearer:
    """A person's token, as `rest.RequestCredentials`."""

    def __init__(self, token: str) -> None:
        self._authorization = f"Bearer {token}"

    async def authorization(self, owner: str, repository: str) -> str:  # noqa: ARG002 (the same for all)
        return self._authorization

    def renew(self, authorization: str) -> bool:  # noqa: ARG002
        return False

    def hint(self, status: int, permission: str) -> str:  # noqa: ARG002
        return ""


_SENTENCES = {
    "access_denied": "The authorization was denied at GitHub.",
    "expired_token": "The sign-in expired.",
    "device_flow_disabled": "The device flow is disabled in the application's settings at GitHub.",
    "bad_verification_code": "The code is unknown to GitHub or has expired.",
    "incorrect_client_credentials": "GitHub rejects `github.client_id` and `github.client_secret`.",
    "redirect_uri_mismatch": "The callback URL differs from the one registered with GitHub.",
}
_STATUSES = {"expired_token": 410, "device_flow_disabled": 404}
"""Other than 403. After a 404 the command line tries the web flow: new applications have no device flow."""


def _refused(error: str) -> Refused:
    known = _SENTENCES.get(error)
    return Refused(
        "Sign-in with GitHub failed.",
        hint=known or f"GitHub's error: {error[:60]!r}.",
        reason={
            "access_denied": "sign-in-denied",
            "device_flow_disabled": "sign-in-unavailable",
            "expired_token": "sign-in-expired",
        }.get(error, "sign-in-failed"),
        status=_STATUSES.get(error, 403),
    )
