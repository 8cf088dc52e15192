"""Deliveries whose processing was begun, and events that were acted on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("forge", sa.Text(), nullable=False),
        sa.Column("delivery", sa.Text(), nullable=False),
        sa.Column("begun", sa.Integer(), nullable=False),
        sa.Column("set_aside", sa.Boolean(), nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("forge", "delivery", name="pk_attempts"),
        sa.ForeignKeyConstraint(
            ["forge", "delivery"],
            ["deliveries.forge", "deliveries.id"],
            name="fk_attempts_forge_deliveries",
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "acted_on",
        sa.Column("repository_id", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("at", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "event", name="pk_acted_on"),
    )
    op.create_index("ix_acted_on_at", "acted_on", ["at"])
