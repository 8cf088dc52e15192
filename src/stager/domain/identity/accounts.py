"""Sessions, API tokens, share links and audit records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role


@dataclass(frozen=True, slots=True)
class Person:
    """The person of a session or token.

    Args:
        name: the name at the strategy.
        by: the strategy's display name.
        strategy: the strategy's class, which determines the role.
        proof: what the strategy needs for that, encrypted; may be empty.
    """

    name: str
    by: str
    strategy: str
    proof: str = ""

    @classmethod
    def of(cls, actor: Actor, proof: str = "") -> Person:
        """Return the person of an actor.

        Args:
            proof: the actor's proof, encrypted.
        """
        return cls(actor.name, actor.by, actor.strategy, proof)

    def is_same(self, other: Person) -> bool:
        """Whether it is the same person. Proofs are ignored, because they are renewed."""
        return (self.name, self.strategy) == (other.name, other.strategy)


@dataclass(frozen=True, slots=True)
class Session:
    """A session of a browser or command line.

    Args:
        id: identifies the session; not a secret.
        digest: of the session's secret.
        renewed_at: the last rotation of the secret.
        address: the address of the sign-in.
        agent: the `User-Agent` of the sign-in.
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
    """An API token.

    Args:
        digest: of the secret, which isn't stored.
        label: its name.
        role: the maximum role; the permissions never exceed those of the owner at the time of use.
        apps: the applications that it is limited to; None for all.
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

    def is_valid(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and now < self.expires_at


@dataclass(frozen=True, slots=True)
class ShareLink:
    """A link that gives access to a private preview for a limited time.

    Args:
        id: part of the link's signed content.
        created_by: the actor.
        note: for whom or what the link is.
    """

    id: str
    environment_id: str
    created_by: str
    note: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and now < self.expires_at


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A record of the audit log, never changed.

    Args:
        actor: the name, with how the actor was identified.
        action: such as `launch` or `sign-in`.
        subject: what the action was applied to: an environment's id, a name, a token's id.
        result: `done`, `refused` or `failed`.
        detail: the reason slug unless the result is `done`.
        seq: the sequence number, assigned by the store.
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


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which records of the audit log to list. An empty field matches all records.

    Args:
        text: part of the actor, address, action, application, subject or detail; the case of ASCII letters
            is ignored.
    """

    text: str = ""
    action: str = ""
    app: str = ""
    result: str = ""
