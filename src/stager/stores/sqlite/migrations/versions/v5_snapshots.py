"""Snapshots of volumes, and what environments have of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "v5"
down_revision = "v4"


def upgrade() -> None:
    """Add the columns and the table. Earlier environments were never reset, and have no cloned data."""
    for name, kind in (("volume_epoch", sa.Integer), ("has_cloned_data", sa.Boolean)):
        op.add_column("environments", sa.Column(name, kind, nullable=False, server_default=sa.text("0")))
    op.create_table(
        "snapshots",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("app", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created_at", sa.Integer, nullable=False),
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in ("created_by", "origin", "name", "sha", "ref")
        ),
        sa.Column("images", sa.Text, nullable=False),
        sa.Column("volumes", sa.Text, nullable=False),
        sa.Column("is_masked", sa.Boolean, nullable=False),
        sa.Column("forks_allowed", sa.Boolean, nullable=False),
        sa.Column("storage", sa.Text, nullable=False),
        sa.Column("is_chosen", sa.Boolean, nullable=False),
        sa.Column("secrets_of", sa.Text, nullable=False),
        sa.Column("progress", sa.Text, nullable=False),
        sa.Column("problem", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_snapshots"),
        sa.UniqueConstraint("app", "number", name="uq_snapshots_app_number"),
    )


def downgrade() -> None:
    """Remove the table and the columns."""
    op.drop_table("snapshots")
    op.drop_column("environments", "has_cloned_data")
    op.drop_column("environments", "volume_epoch")
