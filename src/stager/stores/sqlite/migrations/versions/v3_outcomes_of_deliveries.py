"""What a delivery is about, and the causes of refused ones. Payloads of finished deliveries are emptied."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "v3"
down_revision = "v2"


def upgrade() -> None:
    """Add the column and the table, and empty the payloads."""
    op.add_column("deliveries", sa.Column("about", sa.Text, nullable=False, server_default=sa.text("''")))
    op.execute("UPDATE deliveries SET payload = '' WHERE finished_at IS NOT NULL")
    op.create_table(
        "refused_deliveries",
        sa.Column("forge", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("at", sa.Integer, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("hint", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("forge", "reason", name="pk_refused_deliveries"),
    )


def downgrade() -> None:
    """Remove the table and the column."""
    op.drop_table("refused_deliveries")
    op.drop_column("deliveries", "about")
