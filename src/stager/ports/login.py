"""How people sign in somewhere else, and what that place says of them."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Protocol

from stager.domain.source import Access


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """One request to a provider to say who somebody is.

    Args:
        state: comes back with the provider's answer; unguessable, good once.
        verifier: PKCE's (RFC 7636); only we know it.
        redirect: where the provider sends the browser back to, exactly.
        nonce: what an ID token must say again (OpenID Connect Core, 3.1.2.1).
    """

    state: str
    verifier: str = field(repr=False)
    redirect: str
    nonce: str = ""

    @property
    def challenge(self) -> str:
        """The verifier's, by S256."""
        return challenge_of(self.verifier)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is.

    Args:
        name: as the provider knows them.
        proof: what tells their role later on, such as the provider's token. A secret.
    """

    name: str
    proof: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """A sign-in that was begun where there is no browser (RFC 8628, 3.2).

    Args:
        secret: by which the provider is asked how it went.
        user_code: what somebody types in at `verification_uri`.
        interval: seconds to wait between two questions.
        expires_in: seconds that it is good for.
    """

    secret: str = field(repr=False)
    user_code: str
    verification_uri: str
    interval: float
    expires_in: float


@dataclass(frozen=True, slots=True)
class Pending:
    """Nobody has said yes yet.

    Args:
        interval: seconds to wait before the next question, where the provider says so; else 0.
        slower_by: seconds by which each wait is to be longer from now on (RFC 8628, 3.5).
    """

    interval: float
    slower_by: float = 0.0


class SignIn(Protocol):
    """A provider: where people sign in.

    Attributes:
        name: in our own paths, such as `github`.
        title: for people.
    """

    name: str
    title: str

    @property
    def is_ready(self) -> bool:
        """Whether it can be used, as far as we know."""

    @property
    def redirect_path(self) -> str:
        """Where on our own host the provider sends browsers back to."""

    async def address(self, asked: AuthorizationRequest) -> str:
        """Where to send a browser. Raises `Refused` when it can't be used, `Retry` when it doesn't answer."""

    async def exchange(self, code: str, asked: AuthorizationRequest) -> Identity:
        """Who came back with this code.

        Raises:
            Refused: the provider doesn't know the code, or not for this verifier.
            Retry: it doesn't answer, or not what it should.
        """


class DeviceSignIn(SignIn, Protocol):
    """A provider that somebody without a browser can use, too (RFC 8628)."""

    async def begin(self) -> DeviceCode:
        """Begin. Raises `Refused` when the provider doesn't offer it, `Retry` when it doesn't answer."""

    async def poll(self, secret: str) -> Identity | Pending:
        """How it went so far.

        Raises:
            Refused: somebody said no, or it took too long.
            Retry: the provider doesn't answer.
        """


class Accounts(DeviceSignIn, Protocol):
    """The forge, asked with somebody's own token of it."""

    async def who(self, proof: str) -> str:
        """Whose token this is; empty when it is nobody's, or not good any more. Raises `Retry`."""

    async def access(self, proof: str, owner: str, name: str) -> Access:
        """What its bearer may do with this repository. Raises `Retry` when the forge can't tell."""


@dataclass(frozen=True, slots=True)
class Started:
    """A sign-in that waits for somebody's browser.

    Args:
        url: where the browser has to go.
        state: by which it is spoken of.
        code: what people compare: it is on the page that asks whether they agree.
        expires_in: seconds.
    """

    url: str
    state: str
    code: str
    expires_in: float


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """What a command line gets in the end.

    Args:
        token: a secret that we give out, for `Authorization: Bearer`.
        login: whose it is.
    """

    token: str = field(repr=False)
    login: str


class Logins(Protocol):
    """Sign-ins under way, as handlers and strategies see them."""

    @property
    def accounts(self) -> Accounts | None:
        """GitHub's accounts; None where there is no GitHub."""

    async def start(self, challenge: str, address: str, provider: str = "") -> Started:
        """Begin one for a command line.

        Args:
            challenge: the command line's own, by S256 (RFC 7636): only who has its verifier gets the token.
            address: the network address that it asks from, which is shown to whoever is to agree.
            provider: the name of the one to sign in at; empty for GitHub.

        Raises:
            Refused: the challenge isn't one; signing in isn't possible.
            Retry: the provider doesn't answer.
        """

    async def collect(self, state: str, verifier: str) -> IssuedToken | None:
        """What came of it, once; None while nobody has agreed yet.

        Raises:
            Refused: 403 for the wrong verifier, 410 when there is no such sign-in, or not any more.
        """


def challenge_of(verifier: str) -> str:
    """A verifier's challenge by S256 (RFC 7636, 4.2)."""
    digest = hashlib.sha256(verifier.encode("ascii", "replace")).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
