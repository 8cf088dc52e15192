"""HTTP Basic authentication (RFC 7617) against the users in the configuration.

Their passwords stand there as plain text, for demonstrations and closed networks, or as Argon2 hashes.
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
"""What a hash begins with (the PHC string format), and no password should."""
AT_ONCE = 2
"""Hashes that are compared at the same time: each takes 64 MiB and a processor."""
MOST_WAITING = 50
PATIENCE_SECONDS = 10.0
"""Comparisons that wait for their turn, and for how long."""
MOST_REMEMBERED = 1_000


class BasicAuthentication(AuthenticationStrategy):
    """Knows the configured users by their passwords.

    How long it takes tells nothing about which users there are. Plain passwords: what is given is compared
    with all of them, as digests of one length. Hashed ones: who isn't there has a hash that nothing fits.

    Args:
        users: passwords or their hashes by user name; nobody passes while it is empty.

    Raises:
        ValueError: a name contains a colon, which separates name and password in the header; or a hash isn't
            whole.
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
        self._hashed = Hashed(hashed) if hashed else None
        self._remembered: dict[bytes, str] = {}

    async def authenticate(self, credentials: Credentials) -> Actor | None:
        pair = credentials.basic
        if not pair:
            return None
        given = self._digest(pair)
        known = [user for user, digest in self._plain if hmac.compare_digest(digest, given)]
        user = known[0] if known else await self._by_hash(pair, given)
        return Actor(user, self.name) if user is not None else None

    async def _by_hash(self, pair: str, digest: bytes) -> str | None:
        """The user with a hashed password. What fitted once is remembered as a digest with a key of this
        process: a hash takes its time on purpose, and would for every request."""
        if self._hashed is None or digest in self._remembered:
            return self._remembered.get(digest)
        user, _, password = pair.partition(":")
        if not await self._hashed.fits(user, unicodedata.normalize("NFC", password)):
            return None
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[digest] = user
        return user

    def role(self, actor: Actor, application: str, owner: str) -> Role:  # noqa: ARG002
        """Everything, as in the first Stager; `roles:` in the configuration may say less."""
        return Role.ADMINISTRATOR

    def _digest(self, pair: str) -> bytes:
        return hmac.digest(self._key, unicodedata.normalize("NFC", pair).encode(), "sha256")


class Hashed:
    """Users with hashed passwords.

    Args:
        hashes: by user name.

    Raises:
        ValueError: a hash isn't whole.
    """

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = hashes
        self._hasher = PasswordHasher()
        self._decoy = self._hasher.hash(secrets.token_urlsafe())
        self._few = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        for user, given in hashes.items():
            self._check(user, given)

    async def fits(self, user: str, password: str) -> bool:
        """Whether this is the user's password; it takes as long for users that there aren't.

        Raises:
            Retry: `sign-in-busy`: too many are compared, so this one wasn't.
        """
        given = self._hashes.get(user, self._decoy)
        async with self._turn():
            return await asyncio.to_thread(self._verify, given, password)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One of the few that are compared now. Raises `Retry` when too many wait, or for too long."""
        if self._waiting >= MOST_WAITING:
            raise _busy()
        self._waiting += 1
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._few.acquire()
        except TimeoutError:
            raise _busy() from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._few.release()

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
                f"The password of {user} begins like an Argon2 hash and isn't one;"
                " `stager hash-password` makes one."
            ) from None


def _busy() -> Retry:
    return Retry("Too many passwords are being compared.", hint="Try again in a moment.", reason=BUSY)


def hash_of(password: str) -> str:
    """The hash that may stand in the configuration in the password's place."""
    return PasswordHasher().hash(unicodedata.normalize("NFC", password))
