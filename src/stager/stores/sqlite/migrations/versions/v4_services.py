"""The services of deployments, and their hosts. Earlier deployments consist of one service, `web`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "v4"
down_revision = "v3"


def upgrade() -> None:
    """Add the columns and the table, and the service of each deployment that has an image."""
    op.add_column(
        "deployments", sa.Column("services", sa.Text, nullable=False, server_default=sa.text("'[]'"))
    )
    op.add_column(
        "deployments", sa.Column("failed_services", sa.Text, nullable=False, server_default=sa.text("'{}'"))
    )
    op.execute(
        """UPDATE deployments SET services = json_array(json_object(
            'spec', json_object('name', 'web'),
            'image', image,
            'build', build,
            'is_main', json('true'),
            'has_healthcheck', json(iif(json_extract(manifest, '$.has_healthcheck'), 'true', 'false'))
        )) WHERE image <> ''"""
    )
    op.create_table(
        "service_hosts",
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("environment_id", sa.Text, nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"],
            ["environments.id"],
            name="fk_service_hosts_environment_id_environments",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("host", name="pk_service_hosts"),
    )
    op.create_index("ix_service_hosts_environment_id", "service_hosts", ["environment_id"])


def downgrade() -> None:
    """Remove the table and the columns."""
    op.drop_table("service_hosts")
    op.drop_column("deployments", "failed_services")
    op.drop_column("deployments", "services")
