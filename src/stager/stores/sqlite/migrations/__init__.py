"""Migrates an older database to `schema`, with Alembic and without a configuration file.

Each file in `versions/` is one migration, written manually; one that is on `main` is never changed.
`version.VERSION` names the newest. A new migration comes with a new `schema.sql`
(`python -m tests.unit.stores.schema_script`), from which new databases are made, and a run of
`tests/integration/test_upgrade.py`.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import StaticPool, create_engine, event
from sqlalchemy.exc import DBAPIError


def is_known(version: str) -> bool:
    """Whether there is a migration with this id."""
    revisions = ScriptDirectory.from_config(_config()).walk_revisions()
    return version in {revision.revision for revision in revisions}


def upgrade(connection: sqlite3.Connection) -> None:
    """Run all outstanding migrations in one transaction.

    Raises:
        sqlite3.Error: a migration failed; nothing is changed.
    """
    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
    event.listen(engine, "begin", lambda begun: begun.exec_driver_sql("BEGIN IMMEDIATE"))
    config = _config()
    try:
        with engine.connect() as config.attributes["connection"], config.attributes["connection"].begin():
            command.upgrade(config, "head")
            _check_foreign_keys(connection)
    except DBAPIError as error:
        raise (error.orig if isinstance(error.orig, sqlite3.Error) else error) from error


def _check_foreign_keys(connection: sqlite3.Connection) -> None:
    lost = connection.execute("PRAGMA foreign_key_check").fetchone()
    if lost is not None:
        raise sqlite3.IntegrityError(
            f"the migration left a row in {lost[0]} whose foreign key points to nothing"
        )


def _config() -> Config:
    config = Config()
    folder = str(Path(__file__).parent)
    config.set_main_option("script_location", folder.replace("%", "%%"))
    return config
