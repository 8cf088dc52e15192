"""One-time sign-in links for administrators, created from the server's own terminal."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from stager.control.identity.audit import ANONYMOUS, SIGN_IN, Audit
from stager.control.identity.secrets import new_secret
from stager.control.identity.sessions import Sessions
from stager.control.identity.throttle import Throttle
from stager.domain.errors import Refused
from stager.domain.identity.access_policy import digest_of
from stager.domain.identity.accounts import Session
from stager.domain.identity.actor import LOGIN_LINK, Actor
from stager.domain.identity.client_addresses import holder
from stager.ports.clock import Clock
from stager.ports.store import Store, Transaction

LIFETIME = timedelta(hours=1)
NAME = "administrator"
CREATED = "login-link"
"""The action in the audit log."""
FACT = "login_link"
_USED = "used"


@dataclass(frozen=True, slots=True)
class _Stored:
    """The stored link: the digest of its secret, and when it expires in microseconds since 1970."""

    digest: str
    expires: int

    def __str__(self) -> str:
        return f"{self.digest} {self.expires}"

    @classmethod
    def parse(cls, text: str) -> _Stored:
        digest, _, expires = text.partition(" ")
        return cls(digest, int(expires) if expires.isdigit() else 0)

    def accepts(self, secret: str, now: datetime) -> bool:
        """Whether this is its secret, and it hasn't expired."""
        is_same = hmac.compare_digest(self.digest, digest_of(secret))
        return is_same and _micros(now) < self.expires


class LoginLinks:
    """Creates and redeems sign-in links. One link is valid at a time, once, for `LIFETIME`; its secret isn't
    stored.

    Args:
        throttle: counts invalid links by address.
    """

    def __init__(
        self, store: Store, clock: Clock, *, sessions: Sessions, audit: Audit, throttle: Throttle
    ) -> None:
        self._store = store
        self._clock = clock
        self._sessions = sessions
        self._audit = audit
        self._throttle = throttle

    async def create(self) -> str:
        """Create a link, which replaces the last one. Its caller is a command on this machine. Returns its
        secret."""
        secret = new_secret()
        link = _Stored(digest_of(secret), _micros(self._clock.now() + LIFETIME))
        async with self._audit.recorded(Actor(NAME, "server terminal"), CREATED):
            await self._store.write(lambda tx: tx.save_fact(FACT, str(link)))
        return secret

    async def was_used(self) -> bool:
        """Whether the last link was used."""
        return await self._store.read(lambda tx: tx.fact(FACT)) == _USED

    async def redeem(self, secret: str, address: str, agent: str) -> tuple[Session, str]:
        """Start an administrator's session. Returns it with its secret.

        Args:
            address: from which the link was opened.
            agent: the browser's `User-Agent`.

        Raises:
            Refused: 410, the link is unknown, was used or has expired; 429, too many invalid links from that
                address.
        """
        actor = Actor(NAME, "sign-in link", strategy=LOGIN_LINK, address=address)
        try:
            async with self._throttle.attempt(f"link {holder(address)}") as attempt:
                attempt.is_successful = await self._store.write(lambda tx: self._consume(tx, secret))
                if not attempt.is_successful:
                    raise _gone()
        except Refused as error:
            anonymous = Actor(ANONYMOUS, SIGN_IN, address=address)
            self._audit.refused(anonymous, SIGN_IN, subject=CREATED, reason=error.reason)
            raise
        return await self._sessions.start(actor, agent)

    def _consume(self, tx: Transaction, secret: str) -> bool:
        """Whether the link was valid; it no longer is."""
        if not _Stored.parse(tx.fact(FACT)).accepts(secret, self._clock.now()):
            return False
        tx.save_fact(FACT, _USED)
        return True


def _micros(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _gone() -> Refused:
    return Refused(
        "This sign-in link is unknown, was used already, or has expired.",
        hint="It works once, for an hour. Create another on the server: `stager login-link`.",
        reason="login-link-gone",
        status=410,
    )
