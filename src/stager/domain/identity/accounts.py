"""What is written down about people: sessions, tokens, share links, and who did what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a session or a token stands for.

    Args:
        name: as the strategy knows them.
        by: the strategy's name, for people.
        strategy: its class, which is asked for their role.
        proof: what it needs for that, sealed; empty when it needs nothing.
    """

    name: str
    by: str
    strategy: str
    proof: str = ""

    @classmethod
    def of(cls, actor: Actor, proof: str = "") -> Person:
        """Whom this actor stands for.

        Args:
            proof: the actor's own, sealed.
        """
        return cls(actor.name, actor.by, actor.strategy, proof)

    def is_same(self, other: Person) -> bool:
        """Whether it is the same person; proofs are renewed."""
        return (self.name, self.strategy) == (other.name, other.strategy)


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in, in one browser.

    Args:
        digest: of the secret in the browser's cookie.
        id: by which it is spoken of; opens nothing.
        renewed_at: when the secret was last replaced.
        address: from where they signed in.
        agent: the browser's own words about itself.
    """

    id: str
    digest: str
    person: Person
    created_at: datetime
    renewed_at: datetime
    expires_at: datetime
    address: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """A personal access token.

    Args:
        digest: of the token, which isn't kept.
        label: what its owner calls it.
        role: the most that it lets anybody do; never more than its owner may at that time.
        apps: the only applications that it is good for; None for all.
    """

    id: str
    digest: str
    label: str
    owner: Person
    role: Role
    apps: frozenset[str] | None
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_good(self, now: datetime) -> bool:
        """Whether it opens anything."""
        return self.revoked_at is None and now < self.expires_at


@dataclass(frozen=True, slots=True)
class ShareLink:
    """A link by which anybody may see a private preview for a while.

    Args:
        id: part of the link's signed content.
        created_by: who gave it out.
        note: for whom or what it is.
    """

    id: str
    environment_id: str
    created_by: str
    note: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None

    def is_good(self, now: datetime) -> bool:
        """Whether it opens anything."""
        return self.revoked_at is None and now < self.expires_at


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A line of the audit log. Nothing here changes one.

    Args:
        actor: who, with how we know.
        action: what they wanted, such as `launch` or `sign-in`.
        subject: what it was about: an environment's id, a name, a token's id.
        result: `done`, `refused` or `failed`.
        detail: the reason's slug where it wasn't done.
        seq: its number, given by the store.
    """

    at: datetime
    actor: str
    address: str
    action: str
    app: str
    subject: str
    result: str
    detail: str = ""
    seq: int = 0
