"""Client of an OpenID provider: discovery, and the authorization code flow.

OpenID Connect Core 1.0, 3.1, with PKCE (RFC 7636), and OpenID Connect Discovery 1.0. `stager.auth.oidc`
derives the person and the role from the claims.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlsplit

from stager.domain.errors import Refused
from stager.oauth import SECONDS, away, oauth_client
from stager.ports.login import AuthorizationRequest

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

    from stager.auth.openid.id_tokens import Expected

WELL_KNOWN = "/.well-known/openid-configuration"
CACHE_SECONDS = 3600.0
"""Cache lifetime of metadata and keys; a withdrawn key is accepted for no longer."""
PAUSE = 60.0
"""Minimum seconds between two fetches of keys because of an unknown key."""
BASIC, POST = "client_secret_basic", "client_secret_post"

T = TypeVar("T")
Clock = Callable[[], float]
Enough = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """Stager's client at the provider."""

    id: str
    secret: str = field(repr=False)
    scope: str = "openid"


@dataclass(frozen=True, slots=True)
class ProviderMetadata:
    """The part of a provider's metadata (Discovery 1.0, 3) that is used."""

    authorization: str
    token: str
    keys: str
    userinfo: str = ""
    method: str = BASIC


class Provider:
    """An OpenID provider.

    Args:
        issuer: its exact issuer URL.
        title: its display name.
        seconds: the time limit of each request.
    """

    def __init__(
        self, issuer: str, client: OAuthClient, title: str, clock: Clock = time.time, seconds: float = SECONDS
    ) -> None:
        self._issuer = issuer
        self._client = client
        self._title = title
        self._clock = clock
        self._seconds = seconds
        self._published = _Cached(self._discovered, clock)
        self._keys = _Cached(self._fetched_keys, clock)

    async def address(self, request: AuthorizationRequest) -> str:
        """The authorization URL for a browser.

        Raises:
            Refused: the provider's issuer differs, or one of its addresses isn't safe.
            Retry: it doesn't answer, or its response is invalid.
        """
        published = await self._published.get()
        async with self._oauth(scope=self._client.scope, redirect_uri=request.redirect) as oauth:
            url, _ = oauth.create_authorization_url(
                published.authorization,
                state=request.state,
                code_verifier=request.verifier,
                nonce=request.nonce,
            )
        return str(url)

    async def claims(self, code: str, request: AuthorizationRequest, enough: Enough) -> dict[str, Any]:
        """Exchange a code for the person's claims.

        Args:
            enough: whether the ID token's claims are sufficient; otherwise UserInfo is queried, too.

        Raises:
            Refused: the code is unknown, or the ID token is invalid.
            Retry: it doesn't answer, or its response is invalid.
        """
        published = await self._published.get()
        how = {"redirect_uri": request.redirect, "token_endpoint_auth_method": published.method}
        async with self._oauth(**how) as oauth:
            answer = await oauth.fetch_token(
                published.token,
                grant_type="authorization_code",
                code=code,
                code_verifier=request.verifier,
                headers={"Accept": "application/json"},
            )
        claims = await self._verified(answer, request.nonce)
        if enough(claims) or not published.userinfo:
            return claims
        return {**await self._userinfo(published.userinfo, answer, claims["sub"]), **claims}

    async def _verified(self, answer: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """The ID token's claims. For an unknown key, the keys are fetched again."""
        from stager.auth.openid import id_tokens  # noqa: PLC0415 (imported at the first sign-in)

        token, access = answer.get("id_token"), str(answer.get("access_token", ""))
        expected = id_tokens.Expected(self._issuer, self._client.id, nonce, access)
        try:
            return await self._by_keys(token, expected)
        except id_tokens.InvalidTokenError as error:
            raise _failed(self._title, f"Its ID token is invalid: {error}.") from None

    async def _by_keys(self, token: object, expected: Expected) -> dict[str, Any]:
        from stager.auth.openid import id_tokens  # noqa: PLC0415 (as above)

        try:
            return id_tokens.verified(token, await self._keys.get(), expected, self._clock())
        except id_tokens.UnknownKeyError:
            keys = await self._keys.get(refresh=True)
            return id_tokens.verified(token, keys, expected, self._clock())

    async def _userinfo(self, url: str, answer: Mapping[str, Any], subject: str) -> dict[str, Any]:
        """The claims of the UserInfo endpoint, if they are about the same person (Core 1.0, 5.3.2)."""
        found = await self._document(url, authorization=f"Bearer {answer.get('access_token', '')}")
        if found.get("sub") != subject:
            raise _failed(self._title, "Its ID token and its UserInfo have different subjects.")
        return found

    async def _discovered(self) -> ProviderMetadata:
        found = await self._document(self._issuer.rstrip("/") + WELL_KNOWN)
        if found.get("issuer") != self._issuer:
            raise _failed(
                self._title,
                f"Its metadata has the issuer {str(found.get('issuer'))[:200]!r}; if that is right, set"
                " `oidc.issuer` to exactly that.",
            )
        methods = found.get("token_endpoint_auth_methods_supported")
        posts = isinstance(methods, list) and BASIC not in methods and POST in methods
        return ProviderMetadata(
            self._endpoint(found, "authorization_endpoint"),
            self._endpoint(found, "token_endpoint"),
            self._endpoint(found, "jwks_uri"),
            self._endpoint(found, "userinfo_endpoint") if found.get("userinfo_endpoint") else "",
            POST if posts else BASIC,
        )

    def _endpoint(self, found: Mapping[str, Any], name: str) -> str:
        """An endpoint in the metadata. It may use http:// only if the issuer does."""
        url = found.get(name)
        local = self._issuer.startswith("http://")
        if not isinstance(url, str) or not is_safe(url) or (url.startswith("http://") and not local):
            raise _failed(self._title, f"Its `{name}` isn't a valid https:// URL.")
        return url

    async def _fetched_keys(self) -> KeySet:
        from stager.auth.openid import id_tokens  # noqa: PLC0415 (as above)

        return id_tokens.keys_in(await self._document((await self._published.get()).keys))

    async def _document(self, url: str, **headers: str) -> dict[str, Any]:
        """Fetch a JSON object from the provider."""
        async with self._oauth() as oauth:
            response = await oauth.request(
                "GET", url, withhold_token=True, headers={"accept": "application/json", **headers}
            )
            found = response.json() if response.status_code == 200 else None
        if not isinstance(found, dict):
            raise away(self._title, f"status {response.status_code} at {urlsplit(url).path[:100]}")
        return found

    def _oauth(self, **how: Any) -> AbstractAsyncContextManager[Any]:
        client = self._client.id, self._client.secret
        return oauth_client(client, self._title, self._refused, seconds=self._seconds, **how)

    def _refused(self, error: str) -> Refused:
        return _failed(self._title, _SENTENCES.get(error, f"The provider's error: {error[:60]!r}."))


class _Cached(Generic[T]):
    """A document of the provider: fetched on demand and cached."""

    def __init__(self, fetch: Callable[[], Awaitable[T]], clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._cached: tuple[T, float] | None = None

    async def get(self, *, refresh: bool = False) -> T:
        """The document.

        Args:
            refresh: fetch it again, unless it was fetched within `PAUSE` seconds.
        """
        lifetime = PAUSE if refresh else CACHE_SECONDS
        if self._cached is None or not 0 <= self._clock() - self._cached[1] < lifetime:
            self._cached = (await self._fetch(), self._clock())
        return self._cached[0]


def is_safe(url: str) -> bool:
    """Whether a URL is protected in transit: https, or a loopback address."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return False
    if not host or parts.username is not None or parts.fragment or not url.isprintable() or " " in url:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_this_machine(host))


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_SENTENCES = {
    "invalid_client": "The provider rejects `oidc.client_id` and `oidc.client_secret`.",
    "invalid_grant": "The code is unknown to the provider or has expired.",
}


def _failed(title: str, why: str) -> Refused:
    return Refused(f"Sign-in with {title} failed.", hint=why, reason="sign-in-failed", status=403)
