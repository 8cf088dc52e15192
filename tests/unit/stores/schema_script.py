"""Makes `schema.sql`, from which a new database is created, of the migrations: run
`python -m tests.unit.stores.schema_script` after adding one.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from stager.stores import sqlite
from stager.stores.sqlite.migrations import upgrade
from stager.stores.sqlite.version import VERSION

SCRIPT = Path(sqlite.__file__).parent / "schema.sql"


def migrated() -> str:
    """Return the statements that make what all migrations make, separated by empty lines."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        upgrade(connection)
        # Tables first. An index without SQL belongs to a constraint; a sequence to SQLite.
        query = (
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
            " ORDER BY type <> 'table', rowid"
        )
        found = [sql for (sql,) in connection.execute(query)]
    lines = ["\n".join(line.rstrip() for line in sql.splitlines() if line.strip()) for sql in found]
    return "\n\n".join([*lines, f"INSERT INTO alembic_version VALUES ('{VERSION}')"]) + "\n"


if __name__ == "__main__":
    SCRIPT.write_text(migrated(), "utf-8")
