"""Sign-in with a provider, such as GitHub or an OpenID Connect provider."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Protocol

from stager.domain.source import Access


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """An OAuth authorization request.

    Args:
        state: returned by the provider; unguessable, valid once.
        verifier: PKCE's code verifier (RFC 7636); a secret.
        redirect: the exact redirect URI.
        nonce: must be repeated in the ID token (OpenID Connect Core, 3.1.2.1).
    """

    state: str
    verifier: str = field(repr=False)
    redirect: str
    nonce: str = ""

    @property
    def challenge(self) -> str:
        """The verifier's S256 challenge."""
        return challenge_of(self.verifier)


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated user.

    Args:
        name: their name at the provider.
        proof: a secret from which their role is determined later, such as the provider's token.
    """

    name: str
    proof: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """A device authorization (RFC 8628, 3.2).

    Args:
        secret: the device code, for polling.
        user_code: the code that the user enters at `verification_uri`.
        interval: seconds between two polls.
        expires_in: its lifetime in seconds.
    """

    secret: str = field(repr=False)
    user_code: str
    verification_uri: str
    interval: float
    expires_in: float


@dataclass(frozen=True, slots=True)
class Pending:
    """The user hasn't confirmed yet.

    Args:
        interval: seconds until the next poll, if the provider gives them; else 0.
        slower_by: seconds to add to the interval (RFC 8628, 3.5).
    """

    interval: float
    slower_by: float = 0.0


class SignIn(Protocol):
    """A sign-in provider.

    Attributes:
        name: as in Stager's paths, such as `github`.
        title: its display name.
    """

    name: str
    title: str

    @property
    def is_ready(self) -> bool:
        """Whether it is configured."""

    @property
    def redirect_path(self) -> str:
        """The path of the redirect URI."""

    async def address(self, request: AuthorizationRequest) -> str:
        """The URL to send the browser to. Raises `Refused` when the provider can't be used, `Retry` when it
        doesn't answer."""

    async def exchange(self, code: str, request: AuthorizationRequest) -> Identity:
        """Exchange an authorization code for the user's identity.

        Raises:
            Refused: the provider rejects the code or the verifier.
            Retry: the provider doesn't answer as it should.
        """


class DeviceSignIn(SignIn, Protocol):
    """A provider with the device flow (RFC 8628)."""

    async def begin(self) -> DeviceCode:
        """Start a device flow. Raises `Refused` when the provider doesn't offer it, `Retry` when it doesn't
        answer."""

    async def poll(self, secret: str) -> Identity | Pending:
        """The result of a device flow so far.

        Raises:
            Refused: the user declined, or the code expired.
            Retry: the provider doesn't answer.
        """


class Accounts(DeviceSignIn, Protocol):
    """A forge's accounts, queried with a user's token."""

    async def who(self, proof: str) -> str:
        """The login of a token; empty when it isn't valid. Raises `Retry`."""

    async def access(self, proof: str, owner: str, name: str) -> Access:
        """The permission of a token's user on this repository. Raises `Retry` when it isn't certain."""


@dataclass(frozen=True, slots=True)
class Started:
    """A sign-in that a command line has started.

    Args:
        url: the URL to open in a browser.
        state: identifies the sign-in.
        code: shown by the command line and on the confirmation page, for comparison.
        expires_in: seconds.
    """

    url: str
    state: str
    code: str
    expires_in: float


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """The token that a command line gets.

    Args:
        token: a secret of Stager's, for `Authorization: Bearer`.
        login: its user.
    """

    token: str = field(repr=False)
    login: str


class Logins(Protocol):
    """Pending sign-ins, for handlers and strategies."""

    @property
    def accounts(self) -> Accounts | None:
        """GitHub's accounts; None where GitHub isn't configured."""

    async def start(self, challenge: str, address: str, provider: str = "") -> Started:
        """Start a sign-in for a command line.

        Args:
            challenge: the command line's S256 challenge (RFC 7636); the token is issued for its verifier
                only.
            address: the command line's network address, which the confirmation page shows.
            provider: the provider's name; empty for GitHub.

        Raises:
            Refused: the challenge is invalid, or signing in isn't possible.
            Retry: the provider doesn't answer.
        """

    async def collect(self, state: str, verifier: str) -> IssuedToken | None:
        """The issued token, once; None while the user hasn't confirmed.

        Raises:
            Refused: 403 for the wrong verifier, 410 for an unknown or expired sign-in.
        """


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636, 4.2)."""
    digest = hashlib.sha256(verifier.encode("ascii", "replace")).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
