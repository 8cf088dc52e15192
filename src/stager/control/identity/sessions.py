"""Sessions: who is signed in, in which browser or command line.

What a browser or command line holds is a random secret; kept is its digest. A browser's is replaced every now
and then, and always at a sign-in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from stager.control.identity.audit import Audit
from stager.control.identity.secrets import new_secret
from stager.domain.errors import Refused
from stager.domain.identity.access_policy import digest_of
from stager.domain.identity.accounts import Person, Session
from stager.domain.identity.actor import Actor
from stager.expiring_map import ExpiringMap
from stager.ports.clock import Clock, Ids
from stager.ports.secret_box import SecretBox
from stager.ports.store import Store, Transaction

BEARER = "stager_session_"
"""What a command line's begins with. A browser's doesn't, so that neither can be used as the other."""
GRACE = timedelta(seconds=60)
"""How long a replaced secret is good for requests that were sent at the same time."""
MOST_REPLACED = 10_000
MOST_OF_ONE = 100
"""Sessions of one person; beyond that the oldest ends."""
LONGEST_AGENT = 200


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long sessions last.

    Args:
        idle: a browser's, without a request.
        longest: a browser's, whatever happens.
        renew_every: how often its secret is replaced.
        command_line: a command line's.
        by_strategy: the most for whom a strategy of this class knows, whatever else is said here.
    """

    idle: timedelta = timedelta(hours=12)
    longest: timedelta = timedelta(days=7)
    renew_every: timedelta = timedelta(minutes=15)
    command_line: timedelta = timedelta(days=30)
    by_strategy: Mapping[str, timedelta] = field(default_factory=dict)

    def of(self, strategy: str) -> Lifetimes:
        """Those of sessions of whom this strategy knows."""
        most = self.by_strategy.get(strategy)
        if most is None:
            return self
        return replace(self, longest=min(self.longest, most), command_line=min(self.command_line, most))


class Sessions:
    """Begins sessions, knows whose they are, ends them."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        ids: Ids,
        seal: SecretBox,
        audit: Audit,
        lifetimes: Lifetimes | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._seal = seal
        self._audit = audit
        self._lifetimes = lifetimes or Lifetimes()
        self._replaced: ExpiringMap[str, str, datetime] = ExpiringMap(clock.now, MOST_REPLACED)

    async def begin(self, actor: Actor, agent: str, *, command_line: bool = False) -> tuple[Session, str]:
        """A new session of somebody who has just proved who they are, and its secret.

        Args:
            agent: the browser's own words about itself.
        """
        times, now = self._lifetimes.of(actor.strategy), self._clock.now()
        secret = new_secret(BEARER if command_line else "")
        session = Session(
            self._ids.new(),
            digest_of(secret),
            Person.of(actor, self._seal.close(actor.proof)),
            created_at=now,
            renewed_at=now,
            expires_at=now + (times.command_line if command_line else min(times.idle, times.longest)),
            address=actor.address,
            agent="".join(c for c in agent[:LONGEST_AGENT] if c.isprintable()),
        )
        async with self._audit.of(actor, "sign-in", subject=session.id):
            await self._store.write(lambda tx: self._begun(tx, session))
        return session, secret

    def _begun(self, tx: Transaction, session: Session) -> None:
        for old in tx.sessions():
            if old.expires_at <= session.created_at:
                tx.delete_session(old.id)
        for old in self._of(tx, session.person)[: -MOST_OF_ONE + 1]:
            tx.delete_session(old.id)
        tx.save_session(session)

    async def find(self, secret: str) -> Session | None:
        """The session of this secret, while it lasts."""
        if not secret:
            return None
        digest = digest_of(secret)
        digest = self._replaced.get(digest) or digest
        session = await self._store.read(lambda tx: tx.session(digest))
        return session if session is not None and self._clock.now() < session.expires_at else None

    async def actor(self, secret: str, *, bearer: bool = False) -> Actor | None:
        """Who is signed in by this secret.

        Args:
            bearer: whether it came as a command line's does.
        """
        if secret.startswith(BEARER) is not bearer:
            return None
        session = await self.find(secret)
        return self._actor(session) if session else None

    def _actor(self, session: Session) -> Actor | None:
        person = session.person
        try:
            proof = self._seal.open(person.proof)
        except Refused:  # sealed by another key: whoever it was signs in again
            return None
        return Actor(person.name, person.by, strategy=person.strategy, proof=proof)

    async def renew(self, secret: str) -> tuple[Session, str] | None:
        """The browser is there still: the session lasts on. Its new secret; None while the old one will do.

        Two requests at the same time make one new secret: the other one's is good for `GRACE`.
        """
        session, now = await self.find(secret), self._clock.now()
        if session is None or session.digest != digest_of(secret) or secret.startswith(BEARER):
            return None
        times = self._lifetimes.of(session.person.strategy)
        if now - session.renewed_at < times.renew_every:
            return None
        fresh = new_secret()
        expires_at = min(now + times.idle, session.created_at + times.longest)
        later = replace(session, digest=digest_of(fresh), renewed_at=now, expires_at=expires_at)
        if not await self._store.write(lambda tx: _replaced(tx, session, later)):
            return None
        self._replaced.put(session.digest, later.digest, now + GRACE)
        return later, fresh

    async def of(self, actor: Actor) -> list[Session]:
        """Somebody's, oldest first."""
        now = self._clock.now()
        those = await self._store.read(lambda tx: self._of(tx, Person.of(actor)))
        return [session for session in those if now < session.expires_at]

    async def end(self, actor: Actor, session_id: str) -> None:
        """Sign out there, at once.

        Raises:
            Refused: 404, the actor has no such session.
        """
        async with self._audit.of(actor, "sign-out", subject=session_id):
            if not await self._store.write(lambda tx: self._ended(tx, actor, session_id)):
                raise Refused("There is no such session of yours.", reason="session-unknown", status=404)

    async def end_all(self, actor: Actor) -> None:
        """Sign out everywhere, at once."""
        async with self._audit.of(actor, "sign-out", subject="everywhere"):
            await self._store.write(lambda tx: self._all_ended(tx, actor))

    def _all_ended(self, tx: Transaction, actor: Actor) -> None:
        for session in self._of(tx, Person.of(actor)):
            tx.delete_session(session.id)

    def _ended(self, tx: Transaction, actor: Actor, session_id: str) -> bool:
        if all(session.id != session_id for session in self._of(tx, Person.of(actor))):
            return False
        tx.delete_session(session_id)
        return True

    def _of(self, tx: Transaction, person: Person) -> list[Session]:
        return [session for session in tx.sessions() if session.person.is_same(person)]


def _replaced(tx: Transaction, session: Session, later: Session) -> bool:
    """Unless it was ended or renewed meanwhile."""
    if tx.session(session.digest) != session:
        return False
    tx.save_session(later)
    return True
