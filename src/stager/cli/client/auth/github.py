"""Sign-in with a GitHub account: in a browser, or with a code on another machine. The server talks to
GitHub."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import httpx

from stager.cli.client.api.connection import TRANSIENT
from stager.cli.client.api.errors import ClientError, Code
from stager.cli.client.auth.browser import open_at
from stager.cli.client.auth.strategy import AuthStrategy
from stager.cli.client.output import has_display, is_interactive

SESSION = "/api/v1/session"
PAUSE = 2.0
"""Seconds between two polls for the result of a sign-in in the browser."""
HINT = "Set STAGER_TOKEN, or run `stager login` where there is a terminal."


class Github(AuthStrategy):
    """Signs in at GitHub: in a browser, or with a code where there is none."""

    secret_name: ClassVar[str] = "github"  # noqa: S105
    """The name under which the token is stored."""
    parameters: ClassVar[Mapping[str, str]] = {}
    """Parameters that select another provider than GitHub."""
    title: ClassVar[str] = "GitHub"
    required: ClassVar[str] = "GithubAuthentication and GithubAuthorization in its configuration"
    _token = ""

    def headers(self) -> Mapping[str, str]:
        self._token = self._token or self.account.secret(self.secret_name)
        if not self._token:
            self.sign_in()
            self.accepted()
        return {"Authorization": f"Bearer {self._token}"}

    def sign_in(self, secret: str = "") -> None:
        if not secret and not is_interactive():
            raise ClientError("Signing in needs a terminal.", hint=HINT, code=Code.NOT_SIGNED_IN)
        self._token = secret or self._token_from_server()

    def accepted(self) -> None:
        self.account.save_secret(self.secret_name, self._token)

    def sign_out(self) -> bool:
        token = self.account.secret(self.secret_name)
        deleted = self.account.delete_secret(self.secret_name)
        if token and not self._end_session(token):
            self.account.say(
                "The session on the server couldn't be ended. End it on the server's page /account."
            )
        return deleted

    def _end_session(self, token: str) -> bool:
        """End the session on the server, which makes its token invalid. Returns whether the session has
        ended."""
        try:
            answer = self.account.send("DELETE", SESSION, headers={"Authorization": f"Bearer {token}"})
        except ClientError:
            return False
        return answer.is_success or answer.status_code in (401, 404, 405)

    def _token_from_server(self) -> str:
        return next(filter(None, (flow() for flow in self._flows())), "") or self._unavailable()

    def _flows(self) -> Sequence[Callable[[], str]]:
        """The flows, in the order in which to try them."""
        return (self._in_browser, self._with_code) if has_display() else (self._with_code, self._in_browser)

    def _in_browser(self) -> str:
        """The web flow with PKCE (RFC 7636): only this process can collect the token. Empty where the server
        doesn't support it."""
        verifier = secrets.token_urlsafe(32)
        digest = hashlib.sha256(verifier.encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        form = {"action": "get_oauth_url", "challenge": challenge, **self.parameters}
        started = self._post("/event_receiver", data=form)
        if started is None:
            return ""
        self.account.say(f"Open this URL, sign in, and authorize the command line:\n  {started['url']}")
        if started.get("code"):
            self.account.say(f"Check that the page shows this code: {started['code']}")
        if has_display():
            open_at(str(started["url"]))
        form = {
            "action": "get_oauth_token",
            "state": started["state"],
            "verifier": verifier,
            **self.parameters,
        }
        return self._poll("/event_receiver", float(started["expires_in"]), PAUSE, data=form)

    def _with_code(self) -> str:
        """The device flow (RFC 8628). Empty where the server doesn't support it."""
        started = self._post("/api/v1/login/device")
        if started is None:
            return ""
        self.account.say(
            f"Open {started['verification_uri']} in any browser and enter this code: {started['user_code']}"
        )
        poll = {"handle": started["handle"]}
        return self._poll(
            "/api/v1/login/device/poll", float(started["expires_in"]), float(started["interval"]), json=poll
        )

    def _poll(self, path: str, seconds: float, pause: float, **how: Any) -> str:
        """Return the token once the user has authorized the command line."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(pause)
            answer = self._poll_once(path, **how)
            if answer.get("token"):
                self.account.say(f"Signed in as {answer.get('login', '')}.")
                return str(answer["token"])
            pause = float(answer.get("interval", pause))
        raise ClientError("The sign-in wasn't completed in time.", hint="Try again.", code=Code.NOT_SIGNED_IN)

    def _poll_once(self, path: str, **how: Any) -> dict[str, Any]:
        """Return the state of the sign-in; empty while the server or the provider doesn't answer."""
        try:
            return self._post(path, **how) or {}
        except ClientError as error:
            if error.is_transient:
                return {}
            raise

    def _post(self, path: str, **how: Any) -> dict[str, Any] | None:
        """Send a request and return the JSON response; None where the server doesn't support this flow."""
        response = self.account.send("POST", path, **how)
        if response.status_code in (404, 405) or (response.is_success and not response.content):
            return None
        if not response.is_success:
            raise _refusal(response)
        try:
            found: dict[str, Any] = response.json()
        except ValueError:
            return None
        return found

    def _unavailable(self) -> str:
        raise ClientError(
            f"This server doesn't offer signing in with {self.title}.",
            hint=f"It needs {self.required}.",
            code=Code.NOT_SIGNED_IN,
        )


def _refusal(response: httpx.Response) -> ClientError:
    """The error of a response: a problem document of the API, or plain text of other routes."""
    kind, message, hint = response.headers.get("content-type", ""), "", ""
    if kind.startswith("application/problem+json"):
        problem = response.json()
        message, hint = str(problem.get("title", "")), str(problem.get("detail", ""))
    elif kind.startswith("text/plain"):
        message = response.text.strip()
    return ClientError(
        message or f"The server responded with status {response.status_code}.",
        hint=hint,
        code=Code.NOT_SIGNED_IN,
        is_transient=response.status_code in TRANSIENT,
    )
