"""GitHub accounts: in a browser here, or with a code in one elsewhere. The server does what needs a
secret."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import httpx

from stager.cli.client.api.connection import PASSING
from stager.cli.client.api.errors import ClientError, Code
from stager.cli.client.auth.browser import open_at
from stager.cli.client.auth.strategy import AuthStrategy
from stager.cli.client.output import has_display, is_terminal

SESSION = "/api/v1/session"
PAUSE = 2.0
"""Seconds between two questions whether somebody has agreed in the browser."""
INSTEAD = "Set STAGER_TOKEN, or run `stager login` where there is a terminal."


class Github(AuthStrategy):
    """Signs in at GitHub: in a browser, or with a code where there is none."""

    kept_as: ClassVar[str] = "github"
    """The name under which the token is kept."""
    asked_with: ClassVar[Mapping[str, str]] = {}
    """What tells the server that this is about another provider than GitHub."""
    title: ClassVar[str] = "GitHub"
    needs: ClassVar[str] = "GithubAuthentication and GithubAuthorization in its configuration"
    _token = ""

    def headers(self) -> Mapping[str, str]:
        self._token = self._token or self.account.secret(self.kept_as)
        if not self._token:
            self.sign_in()
            self.accepted()
        return {"Authorization": f"Bearer {self._token}"}

    def sign_in(self, secret: str = "") -> None:
        if not secret and not is_terminal():
            raise ClientError("Nobody can be asked to sign in here.", hint=INSTEAD, code=Code.NOT_SIGNED_IN)
        self._token = secret or self._asked()

    def accepted(self) -> None:
        self.account.keep(self.kept_as, self._token)

    def sign_out(self) -> bool:
        token = self.account.secret(self.kept_as)
        forgotten = self.account.forget(self.kept_as)
        if token and not self._ended(token):
            self.account.say("The server can't be told to end the session there; its page /account ends it.")
        return forgotten

    def _ended(self, token: str) -> bool:
        """End the session at the server, so that no copy of its token is good for anything. Returns whether
        there is none any more."""
        try:
            answer = self.account.send("DELETE", SESSION, headers={"Authorization": f"Bearer {token}"})
        except ClientError:
            return False
        return answer.is_success or answer.status_code in (401, 404, 405)

    def _asked(self) -> str:
        return next(filter(None, (way() for way in self._ways())), "") or self._unavailable()

    def _ways(self) -> Sequence[Callable[[], str]]:
        """In which order to try them."""
        return (self._in_browser, self._with_code) if has_display() else (self._with_code, self._in_browser)

    def _in_browser(self) -> str:
        """The web flow with a challenge (RFC 7636): nobody but us can collect what comes of it. Empty where
        the server hasn't got it."""
        verifier = secrets.token_urlsafe(32)
        digest = hashlib.sha256(verifier.encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        asking = {"action": "get_oauth_url", "challenge": challenge, **self.asked_with}
        begun = self._post("/event_receiver", data=asking)
        if begun is None:
            return ""
        self.account.say(f"Sign in here, and let this command line in:\n  {begun['url']}")
        if begun.get("code"):
            self.account.say(f"The page shows this code: {begun['code']}")
        if has_display():
            open_at(str(begun["url"]))
        asked = {
            "action": "get_oauth_token",
            "state": begun["state"],
            "verifier": verifier,
            **self.asked_with,
        }
        return self._waited("/event_receiver", float(begun["expires_in"]), PAUSE, data=asked)

    def _with_code(self) -> str:
        """The device flow (RFC 8628). Empty where the server hasn't got it."""
        begun = self._post("/api/v1/login/device")
        if begun is None:
            return ""
        self.account.say(f"Open {begun['verification_uri']} anywhere, and type in: {begun['user_code']}")
        asked = {"handle": begun["handle"]}
        return self._waited(
            "/api/v1/login/device/poll", float(begun["expires_in"]), float(begun["interval"]), json=asked
        )

    def _waited(self, path: str, seconds: float, pause: float, **how: Any) -> str:
        """The token, once somebody has agreed."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(pause)
            answer = self._looked(path, **how)
            if answer.get("token"):
                self.account.say(f"Signed in as {answer.get('login', '')}.")
                return str(answer["token"])
            pause = float(answer.get("interval", pause))
        raise ClientError("Nobody has agreed in time.", hint="Try again.", code=Code.NOT_SIGNED_IN)

    def _looked(self, path: str, **how: Any) -> dict[str, Any]:
        """How it stands; nothing where the server, or the provider behind it, doesn't answer just now."""
        try:
            return self._post(path, **how) or {}
        except ClientError as error:
            if error.passes:
                return {}
            raise

    def _post(self, path: str, **how: Any) -> dict[str, Any] | None:
        """What is answered; None where the server hasn't got this way to sign in."""
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
            f"Nobody can sign in with {self.title} at this server.",
            hint=f"That takes {self.needs}.",
            code=Code.NOT_SIGNED_IN,
        )


def _refusal(response: httpx.Response) -> ClientError:
    """What a server says when it refuses: a problem under the API, a sentence elsewhere."""
    kind, message, hint = response.headers.get("content-type", ""), "", ""
    if kind.startswith("application/problem+json"):
        told = response.json()
        message, hint = str(told.get("title", "")), str(told.get("detail", ""))
    elif kind.startswith("text/plain"):
        message = response.text.strip()
    return ClientError(
        message or f"The server answered {response.status_code}.",
        hint=hint,
        code=Code.NOT_SIGNED_IN,
        passes=response.status_code in PASSING,
    )
