"""An OpenID provider of our own on 127.0.0.1, which gives wrong answers on request.

oidc-provider (see `tests.forge.doubles`) is the correct one. This one signs any claims, with keys
of its own making, and answers slowly, at length or not at all.

    async with OpenIDDouble() as provider:
        provider.claims["groups"] = ["makers"]
        address = await sign_in.address(asked)
        identity = await sign_in.exchange(provider.agree(address), asked)
"""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, Key, RSAKey

from stager.ports.login import challenge_of
from tests.doubles.serving import LoopbackServer

CLIENT, SECRET = "stager", "client-secret"
Json = dict[str, Any]


@dataclass
class Granted:
    """A code from a redirect."""

    nonce: str
    challenge: str
    redirect: str


class OpenIDDouble:
    """See above.

    Attributes:
        keys: those that it publishes; the first signs.
        claims: claims about the user, besides the required ones.
        without: claims that the ID token lacks.
        more: what its UserInfo says; None: there is none.
        says: what its discovery says over what it has to.
        signs: makes an ID token out of claims, instead of the first key.
        answers: what it answers at a path, instead of what it should.
        asked: how often each path was asked.
        forms: what the token endpoint was sent.
    """

    def __init__(self) -> None:
        self.keys: list[Key] = [new_curve_key("first")]
        self.claims: Json = {"sub": "0815", "preferred_username": "octocat"}
        self.without: set[str] = set()
        self.more: Json | None = None
        self.says: Json = {}
        self.signs: Any = None
        self.answers: dict[str, web.Response] = {}
        self.hangs: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.forms: list[dict[str, str]] = []
        self.url = ""
        self._codes: dict[str, Granted] = {}
        self._free = asyncio.Event()

    async def __aenter__(self) -> Self:
        application = web.Application(middlewares=[self._fails])
        application.router.add_get("/.well-known/openid-configuration", self._discovery)
        application.router.add_get("/keys", self._keys)
        application.router.add_post("/token", self._token)
        application.router.add_get("/userinfo", self._userinfo)
        self._server = LoopbackServer(application)
        self.url = await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._free.set()
        await self._server.cleanup()

    def agree(self, address: str) -> str:
        """Sign in at this address. Returns the code in the redirect."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert (query["response_type"], query["client_id"]) == ("code", CLIENT)
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = f"code-{len(self._codes)}"
        self._codes[code] = Granted(query["nonce"], query["code_challenge"], query["redirect_uri"])
        return code

    def signed(self, claims: Json, key: Key | None = None, **header: Any) -> str:
        """An ID token by this key, or by the first."""
        by = key or self.keys[0]
        alg = "RS256" if isinstance(by, RSAKey) else "ES256"
        return jwt.encode({"alg": alg, "kid": by.kid, **header}, claims, by)

    @web.middleware
    async def _fails(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked[request.path] += 1
        if request.path in self.hangs:
            await self._free.wait()
        if request.path in self.answers:
            return self.answers[request.path]
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _discovery(self, request: web.Request) -> web.Response:
        published = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        }
        if self.more is not None:
            published["userinfo_endpoint"] = f"{self.url}/userinfo"
        return web.json_response(published | self.says)

    async def _keys(self, request: web.Request) -> web.Response:
        return web.json_response({"keys": [key.as_dict(private=False) for key in self.keys]})

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append(form)
        if not _is_us(request, form):
            return web.json_response({"error": "invalid_client"}, status=401)
        granted = self._codes.pop(form.get("code", ""), None)
        if granted is None or (granted.challenge, granted.redirect) != (
            challenge_of(form["code_verifier"]),
            form["redirect_uri"],
        ):
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": granted.nonce,
            **self.claims,
        }
        claims = {name: value for name, value in claims.items() if name not in self.without}
        token = self.signs(claims) if self.signs else self.signed(claims)
        answer = {"access_token": "at-secret", "token_type": "Bearer", "expires_in": 5, "id_token": token}
        return web.json_response({name: value for name, value in answer.items() if value is not None})

    async def _userinfo(self, request: web.Request) -> web.Response:
        if request.headers.get("authorization") != "Bearer at-secret":
            return web.json_response({"error": "invalid_token"}, status=401)
        return web.json_response(self.more)


def new_key(kid: str) -> RSAKey:
    """A key pair that takes a moment to make."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


def new_curve_key(kid: str) -> ECKey:
    """A key pair of another kind, made at once."""
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig"})


def _is_us(request: web.Request, form: dict[str, str]) -> bool:
    basic = "Basic " + b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
    by_form = (form.get("client_id"), form.get("client_secret")) == (CLIENT, SECRET)
    return by_form or request.headers.get("authorization") == basic
