"""A GitHub App at the GitHub of our own: proofs that are checked, installations, tokens, and a log."""

from __future__ import annotations

import itertools
import json
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

Json = dict[str, Any]

MANIFEST_CODE = "a-code-of-github"


@cache
def a_key(number: int = 0) -> rsa.RSAPrivateKey:
    """A private key; making one takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem_of(key: rsa.RSAPrivateKey) -> str:
    """As GitHub gives it out."""
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


@dataclass
class Installation:
    """Where the App is installed.

    Args:
        repositories: the names of those that were chosen.
    """

    id: int
    owner: str
    repositories: set[str]


@dataclass
class IssuedToken:
    """A token that was given out.

    Args:
        repositories: the names of those that it is good for.
        permissions: those that it was narrowed to; empty for all.
    """

    installation: Installation
    expires_at: datetime
    repositories: set[str]
    permissions: dict[str, str]


@dataclass
class LoggedDelivery:
    guid: str
    event: str
    status_code: int
    at: datetime
    id: int = field(default_factory=itertools.count(9001).__next__)


class GithubApp:
    """The App, and the routes that are about it.

    Attributes:
        lifetime: of tokens.
        issued: all tokens that were given out, and that weren't revoked.
        log: of deliveries, newest first.
        redelivered: the ids of the attempts that were asked for again.
        page: the number of entries in a page of the log.
    """

    def __init__(self, web_url: str, id: str = "4711", slug: str = "stager-acme") -> None:  # noqa: A002
        self.id = id
        self.slug = slug
        self.web_url = web_url
        self.lifetime = timedelta(hours=1)
        self.installations: list[Installation] = []
        self.issued: dict[str, IssuedToken] = {}
        self.log: list[LoggedDelivery] = []
        self.redelivered: list[str] = []
        self.page = 100
        self._key = a_key()

    @property
    def pem(self) -> str:
        return pem_of(self._key)

    def install(self, owner: str, *repositories: str) -> Installation:
        installation = Installation(500 + len(self.installations), owner, set(repositories))
        self.installations.append(installation)
        return installation

    def uninstall(self, installation: Installation) -> None:
        self.installations.remove(installation)
        self.issued = {t: i for t, i in self.issued.items() if i.installation is not installation}

    def revoke(self) -> None:
        """End all tokens before their time."""
        self.issued.clear()

    # Who asks.

    def knows(self, request: web.Request) -> bool:
        """Whether the request proves enough. Raises for what it may not do."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if request.path.startswith("/api/v3/app/") or request.path == "/api/v3/app":
            return self._is_proof(token)
        if request.path.endswith("/installation"):
            return self._is_proof(token)
        return self._may(token, request)

    def _is_proof(self, token: str) -> bool:
        try:
            claims = jwt.decode(token, self._key.public_key(), ["RS256"], issuer=self.id)
        except jwt.PyJWTError:
            return False
        return int(claims["exp"] - time.time()) <= 10 * 60

    def _may(self, token: str, request: web.Request) -> bool:
        issued = self.issued.get(token)
        if issued is None or issued.expires_at < datetime.now(UTC):
            return False
        owner, repository = request.match_info.get("owner"), request.match_info.get("repo")
        if owner is None:
            raise web.HTTPForbidden(reason="Resource not accessible by integration")
        if owner != issued.installation.owner or repository not in issued.repositories:
            raise web.HTTPNotFound(reason="Not Found")
        if issued.permissions:
            raise web.HTTPForbidden(reason="Resource not accessible by integration")
        return True

    # What it is asked.

    def add_to(self, router: web.UrlDispatcher, prefix: str) -> None:
        router.add_get("/api/v3/app", self._get)
        router.add_get(prefix + "/installation", self._get_installation)
        router.add_post("/api/v3/app/installations/{installation}/access_tokens", self._issue)
        router.add_get("/api/v3/app/hook/deliveries", self._deliveries)
        router.add_post("/api/v3/app/hook/deliveries/{delivery}/attempts", self._attempt)
        router.add_post("/api/v3/app-manifests/{code}/conversions", self._convert)

    async def _get(self, _: web.Request) -> web.Response:
        return web.json_response(self._json())

    async def _get_installation(self, request: web.Request) -> web.Response:
        owner, repository = request.match_info["owner"], request.match_info["repo"]
        for installation in self.installations:
            if installation.owner == owner and repository in installation.repositories:
                return web.json_response({"id": installation.id, "app_id": int(self.id)})
        raise web.HTTPNotFound(reason="Not Found")

    async def _issue(self, request: web.Request) -> web.Response:
        wanted = request.match_info["installation"]
        installation = next((i for i in self.installations if str(i.id) == wanted), None)
        if installation is None:
            raise web.HTTPNotFound(reason="Not Found")
        asked = json.loads(await request.text() or "{}")
        repositories = set(asked.get("repositories", installation.repositories))
        if not repositories <= installation.repositories:
            raise web.HTTPUnprocessableEntity(reason="There is at least one repository that isn't accessible")
        token, expires_at = f"ghs_{secrets.token_hex(18)}", datetime.now(UTC) + self.lifetime
        self.issued[token] = IssuedToken(installation, expires_at, repositories, asked.get("permissions", {}))
        body = {"token": token, "expires_at": f"{expires_at:%Y-%m-%dT%H:%M:%SZ}"}
        return web.json_response(body, status=201)

    async def _deliveries(self, request: web.Request) -> web.Response:
        start = int(request.query.get("cursor", "0").removeprefix("v1_"))
        shown, headers = self.log[start : start + self.page], {}
        if len(self.log) > start + self.page:
            following = f"https://elsewhere.test/app/hook/deliveries?cursor=v1_{start + self.page}"
            headers["link"] = f'<{following}>; rel="next"'
        return web.json_response([_delivery_json(delivery) for delivery in shown], headers=headers)

    async def _attempt(self, request: web.Request) -> web.Response:
        wanted = request.match_info["delivery"]
        if wanted not in {str(delivery.id) for delivery in self.log}:
            raise web.HTTPNotFound(reason="Not Found")
        self.redelivered.append(wanted)
        return web.json_response({}, status=202)

    async def _convert(self, request: web.Request) -> web.Response:
        if request.match_info["code"] != MANIFEST_CODE:
            raise web.HTTPNotFound(reason="Not Found")
        secret = {"client_secret": "a-client-secret", "webhook_secret": "a-hook-secret", "pem": self.pem}
        return web.json_response(self._json() | {"client_id": "Iv1.abc"} | secret, status=201)

    def _json(self) -> Json:
        url = f"{self.web_url}/apps/{self.slug}"
        return {"id": int(self.id), "slug": self.slug, "name": self.slug, "html_url": url}


def _delivery_json(delivery: LoggedDelivery) -> Json:
    return {
        "id": delivery.id,
        "guid": delivery.guid,
        "delivered_at": delivery.at.isoformat().replace("+00:00", "Z"),
        "redelivery": False,
        "duration": 0.1,
        "status": "OK" if delivery.status_code == 202 else "Invalid HTTP Response",
        "status_code": delivery.status_code,
        "event": delivery.event,
        "action": "opened",
        "installation_id": 500,
        "repository_id": 1,
    }
