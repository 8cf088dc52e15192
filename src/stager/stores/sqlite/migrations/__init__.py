"""Migrates an older database to `schema`, with Alembic and without a configuration file.

Each file in `versions/` is one migration, written manually; one that is on `main` is never changed.
`schema.VERSION` names the newest. A new migration comes with a run of `tests/integration/test_upgrade.py`.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def is_known(version: str) -> bool:
    """Whether there is a migration with this id."""
    revisions = ScriptDirectory.from_config(_config()).walk_revisions()
    return version in {revision.revision for revision in revisions}


def upgrade(connection: Connection) -> None:
    """Run all outstanding migrations within the connection's transaction."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    folder = str(Path(__file__).parent)
    config.set_main_option("script_location", folder.replace("%", "%%"))
    return config
