"""An OpenID provider, as far as it takes to have somebody sign in there: what it publishes of itself, and who
came back with a code.

The authorization code flow of OpenID Connect Core 1.0, 3.1, with PKCE (RFC 7636); discovery by OpenID Connect
Discovery 1.0. `oidc` makes a person of what is found out here.
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
KEPT = 3600.0
"""Seconds for which what a provider publishes is believed: a key that it withdraws is good for no longer."""
PAUSE = 60.0
"""Seconds between two looks for a key that isn't known."""
BASIC, POST = "client_secret_basic", "client_secret_post"

T = TypeVar("T")
Clock = Callable[[], float]
Enough = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class Client:
    """Who we are at the provider."""

    id: str
    secret: str = field(repr=False)
    scope: str = "openid"


@dataclass(frozen=True, slots=True)
class Published:
    """What a provider says of itself (Discovery 1.0, 3), as far as we use it."""

    authorization: str
    token: str
    keys: str
    userinfo: str = ""
    method: str = BASIC


class Provider:
    """One OpenID provider.

    Args:
        issuer: its address, to the letter.
        title: its name, for people.
        seconds: how long each of its answers may take.
    """

    def __init__(
        self, issuer: str, client: Client, title: str, clock: Clock = time.time, seconds: float = SECONDS
    ) -> None:
        self._issuer = issuer
        self._client = client
        self._title = title
        self._clock = clock
        self._seconds = seconds
        self._published = _Kept(self._discovered, clock)
        self._keys = _Kept(self._fetched_keys, clock)

    async def address(self, asked: AuthorizationRequest) -> str:
        """Where to send a browser.

        Raises:
            Refused: the provider isn't the one that is meant, or not safe to use.
            Retry: it doesn't answer, or not what it should.
        """
        published = await self._published.get()
        async with self._oauth(scope=self._client.scope, redirect_uri=asked.redirect) as oauth:
            url, _ = oauth.create_authorization_url(
                published.authorization, state=asked.state, code_verifier=asked.verifier, nonce=asked.nonce
            )
        return str(url)

    async def claims(self, code: str, asked: AuthorizationRequest, enough: Enough) -> dict[str, Any]:
        """What the provider says of whoever came back with this code.

        Args:
            enough: whether an ID token's claims are all that is wanted; if not, the provider is asked for
                more.

        Raises:
            Refused: it doesn't know the code, or what it says isn't to be believed.
            Retry: it doesn't answer, or not what it should.
        """
        published = await self._published.get()
        how = {"redirect_uri": asked.redirect, "token_endpoint_auth_method": published.method}
        async with self._oauth(**how) as oauth:
            answer = await oauth.fetch_token(
                published.token,
                grant_type="authorization_code",
                code=code,
                code_verifier=asked.verifier,
                headers={"Accept": "application/json"},
            )
        told = await self._verified(answer, asked.nonce)
        if enough(told) or not published.userinfo:
            return told
        return {**await self._more(published.userinfo, answer, told["sub"]), **told}

    async def _verified(self, answer: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """The ID token's claims. For a key that isn't known, the keys are fetched anew."""
        from stager.auth.openid import id_tokens  # noqa: PLC0415 (only whoever signs in needs it)

        token, access = answer.get("id_token"), str(answer.get("access_token", ""))
        expected = id_tokens.Expected(self._issuer, self._client.id, nonce, access)
        try:
            return await self._by_keys(token, expected)
        except id_tokens.UntrueError as error:
            raise _untrue(self._title, f"Its ID token isn't believed: {error}.") from None

    async def _by_keys(self, token: object, expected: Expected) -> dict[str, Any]:
        from stager.auth.openid import id_tokens  # noqa: PLC0415 (as above)

        try:
            return id_tokens.verified(token, await self._keys.get(), expected, self._clock())
        except id_tokens.UnknownKeyError:
            keys = await self._keys.get(anew=True)
            return id_tokens.verified(token, keys, expected, self._clock())

    async def _more(self, url: str, answer: Mapping[str, Any], subject: str) -> dict[str, Any]:
        """The claims of the UserInfo endpoint, if they are about the same person (Core 1.0, 5.3.2)."""
        found = await self._document(url, authorization=f"Bearer {answer.get('access_token', '')}")
        if found.get("sub") != subject:
            raise _untrue(self._title, "Its ID token and its UserInfo are about two people.")
        return found

    async def _discovered(self) -> Published:
        found = await self._document(self._issuer.rstrip("/") + WELL_KNOWN)
        if found.get("issuer") != self._issuer:
            raise _untrue(
                self._title,
                f"It calls itself {str(found.get('issuer'))[:200]!r}; `oidc.issuer` should be exactly that,"
                " if it is the one that you mean.",
            )
        methods = found.get("token_endpoint_auth_methods_supported")
        posts = isinstance(methods, list) and BASIC not in methods and POST in methods
        return Published(
            self._endpoint(found, "authorization_endpoint"),
            self._endpoint(found, "token_endpoint"),
            self._endpoint(found, "jwks_uri"),
            self._endpoint(found, "userinfo_endpoint") if found.get("userinfo_endpoint") else "",
            POST if posts else BASIC,
        )

    def _endpoint(self, found: Mapping[str, Any], name: str) -> str:
        """An address that the provider publishes. It may be without encryption only where the issuer is."""
        url = found.get(name)
        local = self._issuer.startswith("http://")
        if not isinstance(url, str) or not is_safe(url) or (url.startswith("http://") and not local):
            raise _untrue(self._title, f"Its `{name}` is no address that begins with https://.")
        return url

    async def _fetched_keys(self) -> KeySet:
        from stager.auth.openid import id_tokens  # noqa: PLC0415 (as above)

        return id_tokens.keys_in(await self._document((await self._published.get()).keys))

    async def _document(self, url: str, **headers: str) -> dict[str, Any]:
        """A JSON object that the provider has."""
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
        return _untrue(self._title, _SENTENCES.get(error, f"It says {error[:60]!r}."))


class _Kept(Generic[T]):
    """Something that a provider publishes: fetched when it is needed, and kept for a while."""

    def __init__(self, fetch: Callable[[], Awaitable[T]], clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._kept: tuple[T, float] | None = None

    async def get(self, *, anew: bool = False) -> T:
        """It.

        Args:
            anew: whether the one that is kept won't do; it will still, if it is fresh.
        """
        good_for = PAUSE if anew else KEPT
        if self._kept is None or not 0 <= self._clock() - self._kept[1] < good_for:
            self._kept = (await self._fetch(), self._clock())
        return self._kept[0]


def is_safe(url: str) -> bool:
    """Whether nobody on the way can read or change what goes there: https, or this machine itself."""
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
    "invalid_client": "It doesn't know `oidc.client_id` and `oidc.client_secret`.",
    "invalid_grant": "It doesn't know this code, or not any more.",
}


def _untrue(title: str, why: str) -> Refused:
    return Refused(f"Signing in with {title} has failed.", hint=why, reason="sign-in-failed", status=403)
