"""Opens the database file: how every connection is set up, and what is looked at before the first write."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection

from stager.stores.sqlite import schema
from stager.stores.sqlite.errors import broken, explained, inaccessible, newer

BUSY_TIMEOUT = 5.0
"""Seconds to wait for another process that writes."""

_WAL_LIMIT = 64 * 1024 * 1024
"""Bytes that the -wal file is cut back to after it had to hold more."""

_CONNECTION = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA journal_size_limit={_WAL_LIMIT}",
)


def engine_for(path: Path, busy_timeout: float, *, writable: bool) -> Engine:
    """Makes the connections for transactions; a writable one takes the write lock when it begins."""
    engine = _plain_engine(path, busy_timeout, begin="BEGIN IMMEDIATE" if writable else "BEGIN")
    event.listen(engine, "connect", _set_up)
    return engine


def _set_up(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in _CONNECTION:
        cursor.execute(pragma)
    cursor.close()


def _plain_engine(path: Path, busy_timeout: float, *, begin: str) -> Engine:
    # The sqlite3 module would begin transactions by rules of its own; without an isolation level it leaves
    # that to us.
    connect_args = {"isolation_level": None, "timeout": busy_timeout}
    url = URL.create("sqlite", database=str(path.absolute()))
    engine = create_engine(url, poolclass=NullPool, connect_args=connect_args)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def prepare(path: Path, busy_timeout: float = BUSY_TIMEOUT) -> None:
    """Make the database, or see that it is sound and bring it up to date; it blocks.

    Raises:
        Fault, Retry: see `open_store`.
    """
    _make_file(path)
    engine = _plain_engine(path, busy_timeout, begin="BEGIN IMMEDIATE")
    # Foreign keys are off on this connection, as SQLite wants it where tables are made anew.
    with explained(path), engine.connect() as connection, connection.begin():
        _see_that_it_is_sound(path, connection)
        version = _version(path, connection)
        if version != schema.VERSION:
            _migrate(path, connection, version)
    # Write-ahead logging is a property of the file; one connection switches it on before several come.
    with explained(path):
        engine_for(path, busy_timeout, writable=True).connect().close()


def _make_file(path: Path) -> None:
    """Have a file there that nobody else may read: payloads may tell of private repositories."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        raise inaccessible(path, error.strerror or str(error)) from error


def _see_that_it_is_sound(path: Path, connection: Connection) -> None:
    complaint = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if complaint != "ok":
        raise broken(path, str(complaint))


def _version(path: Path, connection: Connection) -> str:
    """The schema's version; empty for a new database."""
    tables = set(connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars())
    if "alembic_version" in tables:
        return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())
    if tables:
        raise broken(path, f"it has tables of something else, such as {min(tables)}")
    return ""


def _migrate(path: Path, connection: Connection, version: str) -> None:
    # Alembic costs 12 MB and a sixth of a second, which a database that is up to date can save.
    from stager.stores.sqlite.migrations import knows, upgrade  # noqa: PLC0415

    if version and not knows(version):
        raise newer(path, version)
    upgrade(connection)
    lost = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if lost is not None:
        raise sqlite3.IntegrityError(f"the migration left a row in {lost[0]} without what it belongs to")
