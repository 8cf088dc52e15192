"""An index that finds the previews of a pull request."""

from __future__ import annotations

from alembic import op

revision = "v2"
down_revision = "v1"


def upgrade() -> None:
    """Create the index of subjects."""
    op.create_index("ix_environments_subject", "environments", ["subject", "created_at"])


def downgrade() -> None:
    """Remove it."""
    op.drop_index("ix_environments_subject", "environments")
