"""Opens the database file: sets up connections, checks the file and migrates it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection

from stager.stores.sqlite import schema
from stager.stores.sqlite.errors import broken, inaccessible, newer, pre_release, translated

BUSY_TIMEOUT = 5.0
"""Seconds to wait for another process's write."""

_WAL_LIMIT = 64 * 1024 * 1024
"""Bytes to which the -wal file is truncated after it has grown beyond."""

_CONNECTION = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA journal_size_limit={_WAL_LIMIT}",
)


def engine_for(path: Path, busy_timeout: float, *, writable: bool) -> Engine:
    """Creates connections for transactions; a writable transaction takes the write lock when it begins."""
    engine = _plain_engine(path, busy_timeout, begin="BEGIN IMMEDIATE" if writable else "BEGIN")
    event.listen(engine, "connect", _set_up)
    return engine


def _set_up(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in _CONNECTION:
        cursor.execute(pragma)
    cursor.close()


def _plain_engine(path: Path, busy_timeout: float, *, begin: str) -> Engine:
    # With an isolation level, the sqlite3 module begins transactions implicitly.
    connect_args = {"isolation_level": None, "timeout": busy_timeout}
    url = URL.create("sqlite", database=str(path.absolute()))
    engine = create_engine(url, poolclass=NullPool, connect_args=connect_args)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def prepare(path: Path, busy_timeout: float = BUSY_TIMEOUT) -> None:
    """Create the database, or check and migrate it. Blocks.

    Raises:
        Fault, Retry: see `open_store`.
    """
    _create_file(path)
    engine = _plain_engine(path, busy_timeout, begin="BEGIN IMMEDIATE")
    # Foreign keys are off on this connection: SQLite requires that where a migration recreates a table.
    with translated(path), engine.connect() as connection, connection.begin():
        _check_integrity(path, connection)
        version = _version(path, connection)
        if version != schema.VERSION:
            _migrate(path, connection, version)
    # Write-ahead logging is a property of the file; one connection enables it before there are several.
    with translated(path):
        engine_for(path, busy_timeout, writable=True).connect().close()


def _create_file(path: Path) -> None:
    """Create the file with mode 0600 where it is missing: payloads contain data of private repositories."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        raise inaccessible(path, error.strerror or str(error)) from error


def _check_integrity(path: Path, connection: Connection) -> None:
    complaint = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if complaint != "ok":
        raise broken(path, str(complaint))


def _version(path: Path, connection: Connection) -> str:
    """The schema's version; empty for a new database."""
    tables = set(connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars())
    if "alembic_version" in tables:
        return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())
    if tables:
        raise broken(path, f"it contains tables of another program, such as {min(tables)}")
    return ""


def _migrate(path: Path, connection: Connection, version: str) -> None:
    if version in schema.PRE_RELEASE:
        raise pre_release(path, version)
    # Imported only where needed: Alembic costs 12 MB and a sixth of a second.
    from stager.stores.sqlite.migrations import is_known, upgrade  # noqa: PLC0415

    if version and not is_known(version):
        raise newer(path, version)
    upgrade(connection)
    lost = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if lost is not None:
        raise sqlite3.IntegrityError(
            f"the migration left a row in {lost[0]} whose foreign key points to nothing"
        )
