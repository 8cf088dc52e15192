"""Alembic's environment script; `upgrade` passes it the connection."""

from __future__ import annotations

from alembic import context

from stager.stores.sqlite.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
