"""The first supported schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "v1"
down_revision = None


def upgrade() -> None:
    _create_environments()
    _create_deployments()
    _create_deliveries()
    _create_changes()
    _create_repositories()
    _create_sessions()
    _create_tokens()
    _create_share_links()
    _create_audit()


def _create_environments() -> None:
    op.create_table(
        "environments",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("sha", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("trust", sa.Text(), nullable=False),
        sa.Column("suspension", sa.Text()),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.Integer(), nullable=False),
        sa.Column("change", sa.Text()),
        sa.Column("comment_id", sa.Text(), nullable=False),
        sa.Column("serving", sa.Integer()),
        sa.Column("approved_sha", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_environments"),
        sa.UniqueConstraint("app", "subject", name="uq_environments_app_subject"),
        sa.UniqueConstraint("id", name="uq_environments_id"),
    )
    op.create_index("ix_environments_host", "environments", ["host", "updated_at"])
    op.create_index(
        "uq_environments_present_host",
        "environments",
        ["host"],
        unique=True,
        sqlite_where=sa.text("run <> 'absent'"),
    )


def _create_deployments() -> None:
    op.create_table(
        "deployments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("environment_id", sa.Text(), nullable=False),
        sa.Column("sha", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("retry_at", sa.Integer()),
        sa.Column("outcome", sa.Text()),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("healthy_runs", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("starting_at", sa.Integer()),
        sa.Column("checking_at", sa.Integer()),
        sa.Column("live_at", sa.Integer()),
        sa.Column("ended_at", sa.Integer()),
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("building_at", sa.Integer()),
        sa.Column("build", sa.Text(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deployments"),
        sa.UniqueConstraint("environment_id", "generation", name="uq_deployments_environment_id_generation"),
        _with_environment("deployments"),
    )
    op.create_table(
        "environment_state",
        sa.Column("environment_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("environment_id", "kind", name="pk_environment_state"),
        _with_environment("environment_state"),
    )


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("forge", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("received_at", sa.Integer(), nullable=False),
        sa.Column("finished_at", sa.Integer()),
        sa.Column("outcome", sa.Text()),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_deliveries"),
        sa.UniqueConstraint("forge", "id", name="uq_deliveries_forge_id"),
    )
    op.create_index("ix_deliveries_finished_at", "deliveries", ["finished_at"])
    op.create_table(
        "delivery_attempts",
        sa.Column("forge", sa.Text(), nullable=False),
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("set_aside", sa.Boolean(), nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("forge", "delivery_id", name="pk_delivery_attempts"),
        sa.ForeignKeyConstraint(
            ["forge", "delivery_id"],
            ["deliveries.forge", "deliveries.id"],
            name="fk_delivery_attempts_deliveries",
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "processed_events",
        sa.Column("repository_id", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("at", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "event", name="pk_processed_events"),
    )
    op.create_index("ix_processed_events_at", "processed_events", ["at"])


def _create_changes() -> None:
    op.create_table(
        "changes",
        sa.Column("repository_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("repository", sa.Text(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("head_sha", sa.Text(), nullable=False),
        sa.Column("head_ref", sa.Text(), nullable=False),
        sa.Column("head_repository", sa.Text()),
        sa.Column("base_ref", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.Integer(), nullable=False),
        sa.Column("merged", sa.Boolean(), nullable=False),
        sa.Column("head_before", sa.Text(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("draft", sa.Boolean(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("author_is_bot", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "number", name="pk_changes"),
    )
    op.create_index(
        "ix_changes_open", "changes", ["repository_id", "number"], sqlite_where=sa.text("is_open = 1")
    )


def _create_repositories() -> None:
    op.create_table(
        "repositories",
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("repository_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("app", "repository_id", name="pk_repositories"),
    )

    op.create_table(
        "facts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_facts"),
    )


def _create_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        *_texts("name", "by", "strategy", "proof"),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.Column("renewed_at", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.Integer(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.UniqueConstraint("digest", name="uq_sessions_digest"),
    )


def _create_tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        *_texts("name", "by", "strategy", "proof"),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("apps", sa.Text()),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.Integer(), nullable=False),
        sa.Column("used_at", sa.Integer()),
        sa.Column("revoked_at", sa.Integer()),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("digest", name="uq_tokens_digest"),
    )


def _create_share_links() -> None:
    op.create_table(
        "share_links",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("environment_id", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.Integer(), nullable=False),
        sa.Column("revoked_at", sa.Integer()),
        sa.PrimaryKeyConstraint("id", name="pk_share_links"),
        _with_environment("share_links"),
    )
    op.create_index("ix_share_links_environment_id", "share_links", ["environment_id"])


def _create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", sa.Integer(), nullable=False),
        *_texts("actor", "address", "action", "app", "subject", "result", "detail"),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
        sqlite_autoincrement=True,
    )
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER audit_no_{change.lower()} BEFORE {change} ON audit "
            "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
        )


def _with_environment(table: str) -> sa.ForeignKeyConstraint:
    """Deletes a row together with its environment."""
    return sa.ForeignKeyConstraint(
        ["environment_id"], ["environments.id"], name=f"fk_{table}_environment_id", ondelete="CASCADE"
    )


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]
