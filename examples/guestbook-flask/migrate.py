"""Applies the migrations that the database doesn't have yet, each in a transaction."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg

FOLDER = Path(__file__).parent / "migrations"


def migrate(connection: psycopg.Connection) -> list[str]:
    """Apply the missing migrations in order. Returns their names."""
    with connection.transaction():
        connection.execute("CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY)")
        connection.execute("LOCK TABLE migrations")
        known = {row[0] for row in connection.execute("SELECT name FROM migrations")}
        missing = [path for path in sorted(FOLDER.glob("*.sql")) if path.name not in known]
        for path in missing:
            connection.execute(path.read_bytes())
            connection.execute("INSERT INTO migrations VALUES (%s)", (path.name,))
    return [path.name for path in missing]


if __name__ == "__main__":
    with psycopg.connect(os.environ["DATABASE_URL"]) as database:
        print("applied:", *migrate(database) or ["nothing to do"])
