"""Where people sign in at a GitHub of our own on 127.0.0.1: an OAuth application's two flows, and what a
token gives access to. It answers as GitHub does, which differs from the standard: errors come with
status 200, and a request without `Accept: application/json` gets a form.

https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps

It misbehaves on request: see `answers` and `fault_mode`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from aiohttp import web

from stager.domain.source import Access
from stager.ports.login import challenge_of
from stager.testing.fakes.faults import FaultMode
from tests.doubles.serving import LoopbackServer

ID, SECRET = "Iv1.0123456789abcdef", "the-clients-secret"
CALLBACK = "http://stager.test/event_receiver"


@dataclass
class Code:
    """What a browser brings back."""

    login: str
    challenge: str
    redirect: str


@dataclass
class GithubLogin:
    """See the module.

    Attributes:
        tokens: whose each token is.
        rights: a user's access to a repository, by login and `owner/name`.
        agreed: the user who typed in a device flow's code, by that code; None if they refused.
        fault_mode: `FaultMode.NEVER`: it takes connections and answers nothing; `FaultMode.SLOW`: a byte at
            a time.
        answers: what is answered next instead, by path: an error, or whatever it is.
        asked: the form of each request, by path.
        device_flow: whether the application has that switched on.
        callback: what is registered as its callback URL.
        visitor: whose browser comes; they agree at once.
    """

    tokens: dict[str, str] = field(default_factory=dict)
    rights: dict[tuple[str, str], Access] = field(default_factory=dict)
    agreed: dict[str, str | None] = field(default_factory=dict)
    fault_mode: FaultMode = FaultMode.WELL
    answers: dict[str, list[web.StreamResponse | str]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    device_flow: bool = True
    callback: str = CALLBACK
    visitor: str = "octocat"
    url: str = ""
    _codes: dict[str, Code] = field(default_factory=dict)
    _devices: dict[str, str] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._as_in_this_mood])
        app.router.add_get("/login/oauth/authorize", self._authorize)
        app.router.add_post("/login/oauth/access_token", self._token)
        app.router.add_post("/login/device/code", self._device)
        app.router.add_get("/user", self._user)
        app.router.add_get("/repos/{owner}/{name}", self._repository)
        self._release = asyncio.Event()
        self._server = LoopbackServer(app)
        self.url = await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._release.set()
        await self._server.cleanup()

    # What people do.

    def token(self, login: str) -> str:
        """A good token of this account."""
        token = f"gho_{login.replace('-', '_')}{len(self.tokens):016d}"
        self.tokens[token] = login
        return token

    def agree(self, login: str, address: str) -> str:
        """Sign in at this address, and agree. Returns the code in the redirect."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert address.startswith(f"{self.url}/login/oauth/authorize?")
        assert (query["client_id"], query["redirect_uri"]) == (ID, self.callback)
        assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
        code = f"code{len(self._codes):016d}"
        self._codes[code] = Code(login, query["code_challenge"], query["redirect_uri"])
        return code

    # What it answers.

    @web.middleware
    async def _as_in_this_mood(self, request: web.Request, handler: Any) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append((request.path, form))
        if self.fault_mode is FaultMode.NEVER:
            await self._release.wait()
        if self.fault_mode is FaultMode.SLOW:
            return await self._trickle(request)
        if self.answers.get(request.path):
            answer = self.answers[request.path].pop(0)
            return _error(request, answer) if isinstance(answer, str) else answer
        answered: web.StreamResponse = await handler(request)
        return answered

    async def _trickle(self, request: web.Request) -> web.StreamResponse:
        """An answer that comes at a byte in 50 ms, without end."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        with suppress(ConnectionError):
            while not self._release.is_set():
                await response.write(b" ")
                await asyncio.sleep(0.05)
        return response

    async def _authorize(self, request: web.Request) -> web.StreamResponse:
        code = self.agree(self.visitor, f"{self.url}{request.path_qs}")
        answer = urlencode({"code": code, "state": request.query["state"]})
        raise web.HTTPFound(f"{self.callback}?{answer}")

    async def _token(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        if form.get("device_code"):
            return self._of_device(request, str(form["device_code"]))
        if (form.get("client_id"), form.get("client_secret")) != (ID, SECRET):
            return _error(request, "incorrect_client_credentials")
        code = self._codes.pop(str(form.get("code")), None)
        if code is None or challenge_of(str(form.get("code_verifier"))) != code.challenge:
            return _error(request, "bad_verification_code")
        if form.get("redirect_uri") != code.redirect:
            return _error(request, "redirect_uri_mismatch")
        return self._given(request, code.login)

    def _of_device(self, request: web.Request, secret: str) -> web.StreamResponse:
        code = self._devices.get(secret)
        if code is None:
            return _error(request, "incorrect_device_code")
        if code not in self.agreed:
            return _error(request, "authorization_pending")
        del self._devices[secret]
        login = self.agreed.pop(code)
        return _error(request, "access_denied") if login is None else self._given(request, login)

    def _given(self, request: web.Request, login: str) -> web.StreamResponse:
        return respond(
            request, {"access_token": self.token(login), "scope": "repo,gist", "token_type": "bearer"}
        )

    async def _device(self, request: web.Request) -> web.StreamResponse:
        if not self.device_flow:
            return _error(request, "device_flow_disabled")
        number = len(self._devices)
        secret, code = f"device{number:034d}", f"WDJB-{number:04d}"
        self._devices[secret] = code
        return respond(
            request,
            {
                "device_code": secret,
                "user_code": code,
                "verification_uri": f"{self.url}/login/device",
                "expires_in": 899,
                "interval": 5,
            },
        )

    async def _user(self, request: web.Request) -> web.StreamResponse:
        login = self._login(request)
        if not login:
            return web.json_response({"message": "Bad credentials", "status": "401"}, status=401)
        return web.json_response({"login": login, "id": len(login), "type": "User"})

    async def _repository(self, request: web.Request) -> web.StreamResponse:
        login = self._login(request)
        if not login:
            return web.json_response({"message": "Bad credentials", "status": "401"}, status=401)
        name = f"{request.match_info['owner']}/{request.match_info['name']}"
        access = self.rights.get((login, name), Access.NONE)
        if access is Access.NONE:
            return web.json_response({"message": "Not Found", "status": "404"}, status=404)
        permissions = {
            "admin": access is Access.ADMIN,
            "maintain": access is Access.ADMIN,
            "push": access in (Access.ADMIN, Access.WRITE),
            "triage": access in (Access.ADMIN, Access.WRITE),
            "pull": True,
        }
        return web.json_response({"id": 1, "full_name": name, "permissions": permissions})

    def _login(self, request: web.Request) -> str:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return self.tokens.get(token, "") if scheme.lower() in ("bearer", "token") else ""


@contextmanager
def running_login(callback: str) -> Iterator[GithubLogin]:
    """One that answers for as long as the block lasts, for tests that aren't asynchronous."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    double = GithubLogin(callback=callback)
    try:
        asyncio.run_coroutine_threadsafe(double.__aenter__(), loop).result(10)
        yield double
        asyncio.run_coroutine_threadsafe(double.__aexit__(None, None, None), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def respond(request: web.Request, answer: Mapping[str, Any], status: int = 200) -> web.Response:
    """As JSON if that is requested, otherwise as a form."""
    if "json" in request.headers.get("Accept", ""):
        return web.json_response(dict(answer), status=status)
    return web.Response(text=urlencode(answer), content_type="application/x-www-form-urlencoded")


def _error(request: web.Request, error: str) -> web.Response:
    about = "https://docs.github.com/developers/apps"
    return respond(request, {"error": error, "error_description": f"It is {error}.", "error_uri": about})
