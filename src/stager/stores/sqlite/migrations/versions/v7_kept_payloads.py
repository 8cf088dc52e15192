"""An index of the deliveries whose payload is kept, so that old payloads are discarded without a scan."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "v7"
down_revision = "v6"

INDEX = "ix_deliveries_payload"


def upgrade() -> None:
    """Create the index."""
    op.create_index(INDEX, "deliveries", ["seq"], sqlite_where=sa.text("payload <> ''"))


def downgrade() -> None:
    """Remove the index."""
    op.drop_index(INDEX, table_name="deliveries")
