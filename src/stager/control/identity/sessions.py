"""Sessions of browsers and command lines.

A browser or command line holds a random secret; the database has its digest. A browser's secret is rotated
regularly and at each sign-in.
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
"""The prefix of a command line's secret. A browser's has none, so neither is accepted as the other."""
GRACE = timedelta(seconds=60)
"""How long a rotated secret is still accepted, for concurrent requests."""
MAX_REPLACED = 10_000
MAX_SESSIONS = 100
"""Sessions per person; the oldest ends when there are more."""
MAX_AGENT = 200


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long sessions last.

    Args:
        idle: of a browser without requests.
        longest: of a browser.
        renew_every: how often a browser's secret is rotated.
        command_line: of a command line.
        by_strategy: maximum for people authenticated by a strategy of this class.
    """

    idle: timedelta = timedelta(hours=12)
    longest: timedelta = timedelta(days=7)
    renew_every: timedelta = timedelta(minutes=15)
    command_line: timedelta = timedelta(days=30)
    by_strategy: Mapping[str, timedelta] = field(default_factory=dict)

    def of(self, strategy: str) -> Lifetimes:
        """Return the lifetimes for people authenticated by this strategy."""
        limit = self.by_strategy.get(strategy)
        if limit is None:
            return self
        return replace(self, longest=min(self.longest, limit), command_line=min(self.command_line, limit))


class Sessions:
    """Starts, finds, renews and ends sessions."""

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
        self._replaced: ExpiringMap[str, str, datetime] = ExpiringMap(clock.now, MAX_REPLACED)

    async def start(self, actor: Actor, agent: str, *, command_line: bool = False) -> tuple[Session, str]:
        """Start a session for an authenticated actor. Returns it with its secret.

        Args:
            agent: the browser's `User-Agent`.
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
            agent="".join(c for c in agent[:MAX_AGENT] if c.isprintable()),
        )
        async with self._audit.recorded(actor, "sign-in", subject=session.id):
            await self._store.write(lambda tx: self._save_new(tx, session))
        return session, secret

    def _save_new(self, tx: Transaction, session: Session) -> None:
        for old in tx.sessions():
            if old.expires_at <= session.created_at:
                tx.delete_session(old.id)
        for old in self._of(tx, session.person)[: -MAX_SESSIONS + 1]:
            tx.delete_session(old.id)
        tx.save_session(session)

    async def find(self, secret: str) -> Session | None:
        """Return the session of a secret; None when it is unknown or expired."""
        if not secret:
            return None
        digest = digest_of(secret)
        digest = self._replaced.get(digest) or digest
        session = await self._store.read(lambda tx: tx.session(digest))
        return session if session is not None and self._clock.now() < session.expires_at else None

    async def actor(self, secret: str, *, bearer: bool = False) -> Actor | None:
        """Return the actor of a session.

        Args:
            bearer: whether the secret was sent as a bearer token, as by a command line.
        """
        if secret.startswith(BEARER) is not bearer:
            return None
        session = await self.find(secret)
        return self.actor_of(session.person) if session else None

    def actor_of(self, person: Person) -> Actor | None:
        """Return a person as an actor; None if the proof can't be decrypted any more."""
        try:
            proof = self._seal.open(person.proof)
        except Refused:  # encrypted with another key: a new sign-in is needed
            return None
        return Actor(person.name, person.by, strategy=person.strategy, proof=proof)

    async def renew(self, secret: str) -> tuple[Session, str] | None:
        """Extend a browser's session and rotate its secret. Returns None while the current secret is recent
        enough.

        Of concurrent requests, one rotates the secret; the old one is accepted for `GRACE`.
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
        if not await self._store.write(lambda tx: _replace(tx, session, later)):
            return None
        self._replaced.put(session.digest, later.digest, now + GRACE)
        return later, fresh

    async def of(self, actor: Actor) -> list[Session]:
        """Return the actor's sessions, oldest first."""
        now = self._clock.now()
        found = await self._store.read(lambda tx: self._of(tx, Person.of(actor)))
        return [session for session in found if now < session.expires_at]

    async def all(self) -> list[Session]:
        """Return everybody's sessions, oldest first."""
        now = self._clock.now()
        return [each for each in await self._store.read(lambda tx: tx.sessions()) if now < each.expires_at]

    async def end(self, actor: Actor, session_id: str, *, of_anyone: bool = False) -> None:
        """End a session immediately.

        Args:
            of_anyone: whether the session may be someone else's.

        Raises:
            Refused: 404, there is no such session, or it is someone else's.
        """
        async with self._audit.recorded(actor, "sign-out", subject=session_id):
            if not await self._store.write(lambda tx: self._end(tx, actor, session_id, of_anyone=of_anyone)):
                raise Refused("You have no session with this id.", reason="session-unknown", status=404)

    async def end_all(self, actor: Actor, person: Person | None = None) -> None:
        """End all sessions of a person immediately.

        Args:
            person: by default the actor.
        """
        of = person or Person.of(actor)
        subject = f"everywhere: {of.name}" if person else "everywhere"
        async with self._audit.recorded(actor, "sign-out", subject=subject):
            await self._store.write(lambda tx: self._end_all(tx, of))

    def _end_all(self, tx: Transaction, person: Person) -> None:
        for session in self._of(tx, person):
            tx.delete_session(session.id)

    def _end(self, tx: Transaction, actor: Actor, session_id: str, *, of_anyone: bool) -> bool:
        those = tx.sessions() if of_anyone else self._of(tx, Person.of(actor))
        if all(session.id != session_id for session in those):
            return False
        tx.delete_session(session_id)
        return True

    def _of(self, tx: Transaction, person: Person) -> list[Session]:
        return [session for session in tx.sessions() if session.person.is_same(person)]


def _replace(tx: Transaction, session: Session, later: Session) -> bool:
    """Save the renewed session unless it was ended or renewed meanwhile."""
    if tx.session(session.digest) != session:
        return False
    tx.save_session(later)
    return True
