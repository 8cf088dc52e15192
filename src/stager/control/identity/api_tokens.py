"""Personal API tokens for automation, with a maximum role and a limited lifetime."""

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
"""The prefix of all tokens."""
BY = "token"
MAX_LIFETIME = timedelta(days=366)
MIN_LIFETIME = timedelta(minutes=1)
MAX_TOKENS = 100
"""Valid tokens per person."""
LAST_USE_RESOLUTION = timedelta(minutes=1)
"""Resolution of the time of last use: a write for each request would cost too much."""


class Tokens:
    """Creates, verifies and revokes tokens."""

    def __init__(self, store: Store, clock: Clock, ids: Ids, seal: SecretBox, audit: Audit) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._seal = seal
        self._audit = audit

    async def actor(self, secret: str) -> Actor | None:
        """Return the actor of a token; None when it is unknown, expired or revoked."""
        if not secret.startswith(PREFIX):
            return None
        token = await self._store.read(lambda tx: tx.token(digest_of(secret)))
        if token is None or not token.is_valid(self._clock.now()):
            return None
        await self._record_use(token)
        owner = token.owner
        return Actor(
            owner.name,
            f"{owner.by}, {BY} {token.label}",
            role=token.role,
            apps=token.apps,
            strategy=owner.strategy,
            proof=self._seal.open(owner.proof),
        )

    async def _record_use(self, token: Token) -> None:
        now = self._clock.now()
        if token.used_at is None or now - token.used_at >= LAST_USE_RESOLUTION:
            await self._store.write(lambda tx: _save_use(tx, token, replace(token, used_at=now)))

    async def create(
        self, actor: Actor, label: str, role: Role, apps: Collection[str] | None, lifetime: timedelta
    ) -> tuple[Token, str]:
        """Create a token for this actor. Returns it with its secret, which isn't stored.

        Raises:
            Refused: the actor used a token; the lifetime is too long or too short; there are too many tokens.
        """
        if not actor.strategy or actor.role is not None:
            raise Refused(
                "A token can't create other tokens.",
                hint="Sign in to create one.",
                reason="token-by-token",
                status=403,
            )
        if not MIN_LIFETIME <= lifetime <= MAX_LIFETIME:
            raise Refused(
                f"A token's lifetime must be between one minute and {MAX_LIFETIME.days} days.",
                reason="token-time",
            )
        secret, now = new_secret(PREFIX), self._clock.now()
        owner = Person.of(actor, self._seal.close(actor.proof))
        scope = None if apps is None else frozenset(apps)
        token = Token(self._ids.new(), digest_of(secret), label, owner, role, scope, now, now + lifetime)
        async with self._audit.recorded(actor, "make-token", subject=token.id):
            await self._store.write(lambda tx: self._save_new(tx, token))
        return token, secret

    def _save_new(self, tx: Transaction, token: Token) -> None:
        if len(self._valid(tx, token.owner)) >= MAX_TOKENS:
            raise Refused(
                f"You already have {MAX_TOKENS} tokens.",
                hint="Revoke some of them.",
                reason="token-limit",
                status=409,
            )
        tx.save_token(token)

    async def all(self) -> list[Token]:
        """Return everybody's valid tokens, oldest first."""
        now = self._clock.now()
        return [each for each in await self._store.read(lambda tx: tx.tokens()) if each.is_valid(now)]

    async def of(self, actor: Actor) -> list[Token]:
        """Return the actor's valid tokens, oldest first."""
        return await self._store.read(lambda tx: self._valid(tx, Person.of(actor)))

    async def revoke(self, actor: Actor, token_id: str, *, of_anyone: bool = False) -> None:
        """Revoke a token immediately.

        Args:
            of_anyone: whether the token may belong to someone else.

        Raises:
            Refused: 404, there is no such token, or it belongs to someone else.
        """
        async with self._audit.recorded(actor, "revoke-token", subject=token_id):
            await self._store.write(lambda tx: self._revoke(tx, actor, token_id, of_anyone=of_anyone))

    def _revoke(self, tx: Transaction, actor: Actor, token_id: str, *, of_anyone: bool) -> None:
        token = next((t for t in tx.tokens() if t.id == token_id), None)
        if token is None or not (of_anyone or token.owner.is_same(Person.of(actor))):
            raise Refused("You have no token with this id.", reason="token-unknown", status=404)
        if token.revoked_at is None:
            tx.save_token(replace(token, revoked_at=self._clock.now()))

    def _valid(self, tx: Transaction, owner: Person) -> list[Token]:
        now = self._clock.now()
        return [t for t in tx.tokens() if t.owner.is_same(owner) and t.is_valid(now)]


def _save_use(tx: Transaction, known: Token, used: Token) -> None:
    """Save the token unless it was revoked meanwhile."""
    if tx.token(known.digest) == known:
        tx.save_token(used)
