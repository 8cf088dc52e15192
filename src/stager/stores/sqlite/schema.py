"""The tables. Times are microseconds since 1970 in UTC; mappings are JSON. `rows` reads and writes both.

A change here needs a migration and the next number in `version`; a test compares the migrated schema with
this one. Only migrations and tests import this module: SQLAlchemy is large, and `transaction` has SQL.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Float,
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
    Column("run", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("sha", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("parameters", Text, nullable=False),
    Column("trust", Text, nullable=False),
    Column("suspension", Text),
    Column("created_at", Integer, nullable=False),
    Column("updated_at", Integer, nullable=False),
    Column("change", Text),
    Column("comment_id", Text, nullable=False),
    Column("serving", Integer),
    Column("approved_sha", Text, nullable=False),
    Column("volume_epoch", Integer, nullable=False, server_default=text("0")),
    Column("has_cloned_data", Boolean, nullable=False, server_default=text("0")),
    Column("depth", Text, nullable=False, server_default=text("'paused'")),
    Column("min_idle", Float, nullable=False, server_default=text("0")),
    Column("asleep_runs", Text, nullable=False, server_default=text("'[]'")),
    UniqueConstraint("app", "subject"),
    Index("ix_environments_host", "host", "updated_at"),
    Index("ix_environments_subject", "subject", "created_at"),
    Index("uq_environments_present_host", "host", unique=True, sqlite_where=text("run <> 'absent'")),
)


def _environment_id(**options: Any) -> Column[str]:
    """The environment that a row belongs to; the row is deleted with it."""
    return Column(
        "environment_id", Text, ForeignKey(environments.c.id, ondelete="CASCADE"), nullable=False, **options
    )


deployments = Table(
    "deployments",
    metadata,
    Column("id", Text, primary_key=True),
    _environment_id(),
    Column("sha", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("retry_at", Integer),
    Column("outcome", Text),
    Column("final", Boolean, nullable=False),
    Column("healthy_runs", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("image", Text, nullable=False),
    Column("starting_at", Integer),
    Column("checking_at", Integer),
    Column("live_at", Integer),
    Column("ended_at", Integer),
    Column("log", Text, nullable=False),
    Column("building_at", Integer),
    Column("build", Text, nullable=False),
    Column("manifest", Text, nullable=False),
    Column("services", Text, nullable=False, server_default=text("'[]'")),
    Column("failed_services", Text, nullable=False, server_default=text("'{}'")),
    UniqueConstraint("environment_id", "generation"),
)

# The hosts of services other than the main one. A host is in `environments` or here, and never belongs to two
# present environments.
service_hosts = Table(
    "service_hosts",
    metadata,
    Column("host", Text, primary_key=True),
    _environment_id(index=True),
    Column("service", Text, nullable=False),
)

environment_state = Table(
    "environment_state",
    metadata,
    _environment_id(primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# The payload comes behind the other columns: SQLite reads a row from its beginning, and payloads may be
# megabytes. Of finished deliveries, only those of the newest are kept, unless they are long.
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
    Column("about", Text, nullable=False, server_default=text("''")),
    UniqueConstraint("forge", "id"),
    Index("ix_deliveries_payload", "seq", sqlite_where=text("payload <> ''")),
)

# Deliveries that weren't accepted, counted by cause: anyone can send any number of them, so they aren't
# recorded one by one.
refused_deliveries = Table(
    "refused_deliveries",
    metadata,
    Column("forge", Text, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("total", Integer, nullable=False),
    Column("at", Integer, nullable=False),
    Column("message", Text, nullable=False),
    Column("hint", Text, nullable=False),
)

# A row for a delivery that is being processed, or is set aside. It is a table of its own so that counting an
# attempt doesn't rewrite the payload.
delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    Column("forge", Text, primary_key=True),
    Column("delivery_id", Text, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("set_aside", Boolean, nullable=False, server_default=text("0")),
    ForeignKeyConstraint(
        ["forge", "delivery_id"],
        ["deliveries.forge", "deliveries.id"],
        name="fk_delivery_attempts_deliveries",
        ondelete="CASCADE",
    ),
)

processed_events = Table(
    "processed_events",
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
    Column("labels", Text, nullable=False),
    Column("draft", Boolean, nullable=False),
    Column("description", Text, nullable=False),
    Column("author_is_bot", Boolean, nullable=False),
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

snapshots = Table(
    "snapshots",
    metadata,
    Column("id", Text, primary_key=True),
    Column("app", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("sha", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("images", Text, nullable=False),
    Column("volumes", Text, nullable=False),
    Column("is_masked", Boolean, nullable=False),
    Column("forks_allowed", Boolean, nullable=False),
    Column("storage", Text, nullable=False),
    Column("is_chosen", Boolean, nullable=False),
    Column("secrets_of", Text, nullable=False),
    Column("progress", Text, nullable=False),
    Column("problem", Text),
    UniqueConstraint("app", "number"),
)

facts = Table(
    "facts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)


def _person() -> tuple[Column[str], ...]:
    """The columns of a `Person`."""
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
    _environment_id(index=True),
    Column("created_by", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
    Column("revoked_at", Integer),
)

# Triggers, which the migration creates, reject changes and deletions of its rows.
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
