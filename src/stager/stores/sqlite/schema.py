"""The tables. Times are microseconds since 1970 in UTC, mappings are JSON; `rows` reads and writes both.

A change here needs a migration with it; the tests hold the two against each other.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

VERSION = "0004"
"""The migration that brings a database to these tables."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

environments = Table(
    "environments",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("app", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("present", Boolean, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("sha", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("parameters", Text, nullable=False),
    Column("trust", Text, nullable=False),
    Column("hold", Text),
    Column("created_at", Integer, nullable=False),
    Column("updated_at", Integer, nullable=False),
    Column("change", Text),
    Column("comment_id", Text, nullable=False),
    Column("serving", Integer),
    Column("approved_sha", Text, nullable=False, server_default=text("''")),
    UniqueConstraint("app", "subject"),
    Index("ix_environments_host", "host", "present", "updated_at"),
    Index("uq_environments_present_host", "host", unique=True, sqlite_where=text("present = 1")),
)

deployments = Table(
    "deployments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("environment_id", Text, ForeignKey(environments.c.id), nullable=False),
    Column("sha", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("retry_at", Integer),
    Column("outcome", Text),
    Column("final", Boolean, nullable=False),
    Column("healthy_run", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("image", Text, nullable=False),
    Column("starting_at", Integer),
    Column("checking_at", Integer),
    Column("live_at", Integer),
    Column("ended_at", Integer),
    Column("log", Text, nullable=False),
    Column("building_at", Integer),
    Column("build", Text, nullable=False, server_default=text("''")),
    Column("manifest", Text, nullable=False, server_default="{}"),
    UniqueConstraint("environment_id", "generation"),
)

# The payload comes last: SQLite reads a row from its beginning, and payloads may be megabytes.
deliveries = Table(
    "deliveries",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("forge", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("received_at", Integer, nullable=False),
    Column("finished_at", Integer, index=True),
    Column("outcome", Text),
    Column("payload", Text, nullable=False),
    UniqueConstraint("forge", "id"),
)

# A row for a delivery that is being processed, or is set aside; a table of its own, so that a beginning
# doesn't write the payload again.
attempts = Table(
    "attempts",
    metadata,
    Column("forge", Text, primary_key=True),
    Column("delivery", Text, primary_key=True),
    Column("begun", Integer, nullable=False),
    Column("set_aside", Boolean, nullable=False, server_default=text("0")),
    ForeignKeyConstraint(
        ["forge", "delivery"],
        ["deliveries.forge", "deliveries.id"],
        name="fk_attempts_forge_deliveries",
        ondelete="CASCADE",
    ),
)

acted_on = Table(
    "acted_on",
    metadata,
    Column("repository_id", Text, primary_key=True),
    Column("event", Text, primary_key=True),
    Column("at", Integer, nullable=False, index=True),
)

changes = Table(
    "changes",
    metadata,
    Column("repository_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("repository", Text, nullable=False),
    Column("is_open", Boolean, nullable=False),
    Column("head_sha", Text, nullable=False),
    Column("head_ref", Text, nullable=False),
    Column("head_repository", Text),
    Column("base_ref", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("updated_at", Integer, nullable=False),
    Column("merged", Boolean, nullable=False),
    Column("head_before", Text, nullable=False),
    Column("labels", Text, nullable=False, server_default="[]"),
    Column("draft", Boolean, nullable=False, server_default=text("0")),
    Column("description", Text, nullable=False, server_default=text("''")),
    Column("author_is_bot", Boolean, nullable=False, server_default=text("0")),
    Index("ix_changes_open", "repository_id", "number", sqlite_where=text("is_open = 1")),
)

repositories = Table(
    "repositories",
    metadata,
    Column("app", Text, primary_key=True),
    Column("repository_id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
)

facts = Table(
    "facts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)


def _person() -> tuple[Column[str], ...]:
    """Whom a row stands for."""
    return tuple(Column(name, Text, nullable=False) for name in ("name", "by", "strategy", "proof"))


sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),
    *_person(),
    Column("created_at", Integer, nullable=False),
    Column("renewed_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),
    *_person(),
    Column("label", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("apps", Text),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
    Column("used_at", Integer),
    Column("revoked_at", Integer),
)

share_links = Table(
    "share_links",
    metadata,
    Column("id", Text, primary_key=True),
    Column("environment_id", Text, nullable=False, index=True),
    Column("made_by", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
    Column("revoked_at", Integer),
)

# Triggers, which the migration makes, keep its rows from being changed or removed.
audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("at", Integer, nullable=False),
    *(
        Column(name, Text, nullable=False)
        for name in ("actor", "address", "action", "app", "subject", "result", "detail")
    ),
    sqlite_autoincrement=True,
)
