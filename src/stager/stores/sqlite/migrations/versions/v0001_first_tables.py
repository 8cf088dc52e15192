"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _make_environments()
    _make_deployments()
    _make_deliveries()
    _make_changes()
    _make_repositories()
    _make_facts()


def _make_environments() -> None:
    op.create_table(
        "environments",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("sha", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("trust", sa.Text(), nullable=False),
        sa.Column("hold", sa.Text()),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.Integer(), nullable=False),
        sa.Column("change", sa.Text()),
        sa.Column("comment_id", sa.Text(), nullable=False),
        sa.Column("serving", sa.Integer()),
        sa.PrimaryKeyConstraint("seq", name="pk_environments"),
        sa.UniqueConstraint("app", "subject", name="uq_environments_app_subject"),
        sa.UniqueConstraint("id", name="uq_environments_id"),
    )
    op.create_index("ix_environments_host", "environments", ["host", "present", "updated_at"])
    op.create_index(
        "uq_environments_present_host",
        "environments",
        ["host"],
        unique=True,
        sqlite_where=sa.text("present = 1"),
    )


def _make_deployments() -> None:
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
        sa.Column("healthy_run", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("starting_at", sa.Integer()),
        sa.Column("checking_at", sa.Integer()),
        sa.Column("live_at", sa.Integer()),
        sa.Column("ended_at", sa.Integer()),
        sa.Column("log", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deployments"),
        sa.UniqueConstraint("environment_id", "generation", name="uq_deployments_environment_id_generation"),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name="fk_deployments_environment_id"
        ),
    )


def _make_deliveries() -> None:
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


def _make_changes() -> None:
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
        sa.PrimaryKeyConstraint("repository_id", "number", name="pk_changes"),
    )
    op.create_index(
        "ix_changes_open", "changes", ["repository_id", "number"], sqlite_where=sa.text("is_open = 1")
    )


def _make_repositories() -> None:
    op.create_table(
        "repositories",
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("repository_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("app", "repository_id", name="pk_repositories"),
    )


def _make_facts() -> None:
    op.create_table(
        "facts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_facts"),
    )
