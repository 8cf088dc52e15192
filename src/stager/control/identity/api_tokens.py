"""Personal access tokens: for automation, with less than their owner may, for a limited time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

from stager.control.identity.audit import Audit
from stager.control.identity.secrets import new_secret
from stager.domain.errors import Refused
from stager.domain.identity.access_policy import digest_of
from stager.domain.identity.accounts import Person, Token
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.ports.clock import Clock, Ids
from stager.ports.secret_box import SecretBox
from stager.ports.store import Store, Transaction

PREFIX = "stager_"
"""What every token begins with."""
BY = "token"
LONGEST = timedelta(days=366)
SHORTEST = timedelta(minutes=1)
MOST = 100
"""Tokens that one person may have at a time."""
USE_NOTED_EVERY = timedelta(minutes=1)
"""The last use is known to the minute; a write for each request would cost too much."""


class Tokens:
    """Makes tokens, knows their bearers, takes them back."""

    def __init__(self, store: Store, clock: Clock, ids: Ids, seal: SecretBox, audit: Audit) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._seal = seal
        self._audit = audit

    async def actor(self, secret: str) -> Actor | None:
        """Whoever bears this token; None when it isn't good, or not any more."""
        if not secret.startswith(PREFIX):
            return None
        token = await self._store.read(lambda tx: tx.token(digest_of(secret)))
        if token is None or not token.is_good(self._clock.now()):
            return None
        await self._note_use(token)
        owner = token.owner
        return Actor(
            owner.name,
            f"{owner.by}, {BY} {token.label}",
            role=token.role,
            apps=token.apps,
            strategy=owner.strategy,
            proof=self._seal.open(owner.proof),
        )

    async def _note_use(self, token: Token) -> None:
        now = self._clock.now()
        if token.used_at is None or now - token.used_at >= USE_NOTED_EVERY:
            await self._store.write(lambda tx: _noted(tx, token, replace(token, used_at=now)))

    async def make(
        self, actor: Actor, label: str, role: Role, apps: Collection[str] | None, good_for: timedelta
    ) -> tuple[Token, str]:
        """A new token for this actor, and the secret itself, which nobody can look up afterwards.

        Raises:
            Refused: a token can't make others; the time is too long or too short; there are too many.
        """
        if not actor.strategy or actor.role is not None:
            raise Refused(
                "Only somebody who is signed in can make tokens.", reason="token-by-token", status=403
            )
        if not SHORTEST <= good_for <= LONGEST:
            raise Refused(
                f"A token is good for a minute at least and {LONGEST.days} days at most.",
                reason="token-time",
            )
        secret, now = new_secret(PREFIX), self._clock.now()
        owner = Person.of(actor, self._seal.close(actor.proof))
        scope = None if apps is None else frozenset(apps)
        token = Token(self._ids.new(), digest_of(secret), label, owner, role, scope, now, now + good_for)
        async with self._audit.of(actor, "make-token", subject=token.id):
            await self._store.write(lambda tx: self._made(tx, token))
        return token, secret

    def _made(self, tx: Transaction, token: Token) -> None:
        if len(self._good(tx, token.owner)) >= MOST:
            raise Refused(
                f"You have {MOST} tokens already.", hint="Revoke some.", reason="token-limit", status=409
            )
        tx.save_token(token)

    async def of(self, actor: Actor) -> list[Token]:
        """The actor's own that are good still, oldest first."""
        return await self._store.read(lambda tx: self._good(tx, Person.of(actor)))

    async def revoke(self, actor: Actor, token_id: str, *, anybodys: bool = False) -> None:
        """Take a token back, at once.

        Args:
            anybodys: whether it may be another's.

        Raises:
            Refused: 404, there is none of this id that the actor may take back.
        """
        async with self._audit.of(actor, "revoke-token", subject=token_id):
            await self._store.write(lambda tx: self._revoked(tx, actor, token_id, anybodys=anybodys))

    def _revoked(self, tx: Transaction, actor: Actor, token_id: str, *, anybodys: bool) -> None:
        token = next((t for t in tx.tokens() if t.id == token_id), None)
        if token is None or not (anybodys or token.owner.is_same(Person.of(actor))):
            raise Refused("There is no such token of yours.", reason="token-unknown", status=404)
        if token.revoked_at is None:
            tx.save_token(replace(token, revoked_at=self._clock.now()))

    def _good(self, tx: Transaction, owner: Person) -> list[Token]:
        now = self._clock.now()
        return [t for t in tx.tokens() if t.owner.is_same(owner) and t.is_good(now)]


def _noted(tx: Transaction, known: Token, noted: Token) -> None:
    """Unless it was taken back meanwhile."""
    if tx.token(known.digest) == known:
        tx.save_token(noted)
