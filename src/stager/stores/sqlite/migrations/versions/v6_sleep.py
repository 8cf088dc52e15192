"""Environments that sleep."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "v6"
down_revision = "v5"

COLUMNS = (("depth", sa.Text, "'paused'"), ("min_idle", sa.Float, "0"), ("asleep_runs", sa.Text, "'[]'"))


def upgrade() -> None:
    """Add the columns. No earlier environment sleeps."""
    for name, kind, default in COLUMNS:
        op.add_column("environments", sa.Column(name, kind, nullable=False, server_default=sa.text(default)))


def downgrade() -> None:
    """Remove the columns."""
    for name, _, _ in COLUMNS:
        op.drop_column("environments", name)
