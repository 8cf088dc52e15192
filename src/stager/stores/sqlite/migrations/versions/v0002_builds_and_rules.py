"""What builds, approvals and the rules for pull requests need to remember."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _add("environments", sa.Column("approved_sha", sa.Text(), nullable=False, server_default=sa.text("''")))
    _add("deployments", sa.Column("building_at", sa.Integer()))
    _add("deployments", sa.Column("build", sa.Text(), nullable=False, server_default=sa.text("''")))
    _add("deployments", sa.Column("manifest", sa.Text(), nullable=False, server_default="{}"))
    _add("changes", sa.Column("labels", sa.Text(), nullable=False, server_default="[]"))
    _add("changes", sa.Column("draft", sa.Boolean(), nullable=False, server_default=sa.text("0")))
    _add("changes", sa.Column("description", sa.Text(), nullable=False, server_default=sa.text("''")))
    _add("changes", sa.Column("author_is_bot", sa.Boolean(), nullable=False, server_default=sa.text("0")))


def _add(table: str, column: sa.Column[object]) -> None:
    op.add_column(table, column)
