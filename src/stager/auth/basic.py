"""HTTP Basic authentication (RFC 7617) with the users of the configuration.

Passwords are plain text, for demonstrations and closed networks, or Argon2 hashes.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import unicodedata
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from stager.domain.errors import Retry
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.ports.handlers import BUSY, AuthenticationStrategy, Credentials

HASHED = "$argon2"
"""Prefix of hashes (the PHC string format); passwords must not begin with it."""
AT_ONCE = 2
"""Concurrent hash comparisons; each takes 64 MiB and a processor."""
MOST_WAITING = 50
PATIENCE_SECONDS = 10.0
"""Limits of the queue of comparisons: its length, and the wait in seconds."""
MOST_VERIFIED = 1_000


class BasicAuthentication(AuthenticationStrategy):
    """Authenticates configured users by their passwords.

    The time that it takes doesn't reveal which users exist: a password is compared with all plain ones, as
    digests of equal length, and an unknown user's with a hash that no password matches.

    Args:
        users: passwords or their hashes by user name.

    Raises:
        ValueError: a name contains a colon, which separates name and password in the header; or a hash is
            malformed.
    """

    name = "BasicAuthentication"
    short_name = "basic"

    def __init__(self, users: Mapping[str, str]) -> None:
        if any(":" in user for user in users):
            raise ValueError("A user's name can't contain a colon.")
        self._key = secrets.token_bytes(32)
        hashed = {user: password for user, password in users.items() if password.startswith(HASHED)}
        plain = {user: password for user, password in users.items() if user not in hashed}
        self._plain = [(user, self._digest(f"{user}:{password}")) for user, password in plain.items()]
        self._hashed = HashedUsers(hashed) if hashed else None
        self._verified: dict[bytes, str] = {}

    async def authenticate(self, credentials: Credentials) -> Actor | None:
        pair = credentials.basic
        if not pair:
            return None
        given = self._digest(pair)
        known = [user for user, digest in self._plain if hmac.compare_digest(digest, given)]
        user = known[0] if known else await self._by_hash(pair, given)
        return Actor(user, self.name) if user is not None else None

    async def _by_hash(self, pair: str, digest: bytes) -> str | None:
        """The user with this hashed password. A match is cached as a digest with a key of this process,
        because comparing hashes is slow by design."""
        if self._hashed is None or digest in self._verified:
            return self._verified.get(digest)
        user, _, password = pair.partition(":")
        if not await self._hashed.matches(user, unicodedata.normalize("NFC", password)):
            return None
        if len(self._verified) >= MOST_VERIFIED:
            self._verified.clear()
        self._verified[digest] = user
        return user

    def role(self, actor: Actor, application: str, owner: str) -> Role:  # noqa: ARG002
        """Administrator, as in the first Stager, unless `roles:` in the configuration says otherwise."""
        return Role.ADMINISTRATOR

    def _digest(self, pair: str) -> bytes:
        return hmac.digest(self._key, unicodedata.normalize("NFC", pair).encode(), "sha256")


class HashedUsers:
    """Users with hashed passwords.

    Args:
        hashes: by user name.

    Raises:
        ValueError: a hash is malformed.
    """

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = hashes
        self._hasher = PasswordHasher()
        self._decoy = self._hasher.hash(secrets.token_urlsafe())
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        for user, given in hashes.items():
            self._check(user, given)

    async def matches(self, user: str, password: str) -> bool:
        """Whether this is the user's password; takes equally long for unknown users.

        Raises:
            Retry: `sign-in-busy`: the queue is full, or the wait was too long.
        """
        given = self._hashes.get(user, self._decoy)
        async with self._turn():
            return await asyncio.to_thread(self._verify, given, password)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait for a slot. Raises `Retry` when the queue is full, or the wait too long."""
        if self._waiting >= MOST_WAITING:
            raise _busy()
        self._waiting += 1
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            raise _busy() from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()

    def _verify(self, given: str, password: str) -> bool:
        try:
            return self._hasher.verify(given, password)
        except VerificationError:
            return False

    def _check(self, user: str, given: str) -> None:
        try:
            self._hasher.check_needs_rehash(given)
        except InvalidHashError:
            raise ValueError(
                f"The password of {user} begins like an Argon2 hash but isn't one;"
                " create one with `stager hash-password`."
            ) from None


def _busy() -> Retry:
    return Retry("Too many sign-ins at the same time.", hint="Try again in a moment.", reason=BUSY)


def hash_of(password: str) -> str:
    """The hash of a password, for the configuration."""
    return PasswordHasher().hash(unicodedata.normalize("NFC", password))
