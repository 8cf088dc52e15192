"""Brings a database of an older release up to `schema`, with Alembic and without a configuration file.

Each file in `versions/` is one step, written by hand after the first one's example, and never changed once it
was released. `schema.VERSION` names the last.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def knows(version: str) -> bool:
    """Whether this release has the migration that made `version`."""
    steps = ScriptDirectory.from_config(_config()).walk_revisions()
    return version in {step.revision for step in steps}


def upgrade(connection: Connection) -> None:
    """Run every migration that the database hasn't had, within the connection's transaction."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    here = str(Path(__file__).parent)
    config.set_main_option("script_location", here.replace("%", "%%"))
    return config
