"""The configuration of deployments, as it was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "v8"
down_revision = "v7"


def upgrade() -> None:
    """Add the table. Of earlier deployments it isn't known."""
    op.create_table(
        "configurations",
        sa.Column("environment_id", sa.Text, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"],
            ["environments.id"],
            name="fk_configurations_environment_id_environments",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("environment_id", "generation", name="pk_configurations"),
    )


def downgrade() -> None:
    """Remove the table."""
    op.drop_table("configurations")
