"""Opens the database file: sets up connections, checks the file and migrates it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path

from stager.stores.sqlite.errors import broken, inaccessible, newer, pre_release, translated
from stager.stores.sqlite.version import PRE_RELEASE, VERSION

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


def connect(path: Path, busy_timeout: float) -> sqlite3.Connection:
    """Open a connection for `transaction`. Raises `sqlite3.Error`."""
    connection = _plain_connection(path, busy_timeout)
    try:
        for pragma in _CONNECTION:
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise
    return connection


def _plain_connection(path: Path, busy_timeout: float) -> sqlite3.Connection:
    # With an isolation level, the sqlite3 module begins transactions implicitly.
    return sqlite3.connect(path.absolute(), busy_timeout, isolation_level=None)


@contextmanager
def transaction(connection: sqlite3.Connection, *, writable: bool) -> Iterator[None]:
    """Commit what the block writes, or roll it back if it raises.

    Args:
        writable: whether to take the write lock at once.
    """
    with connection:
        connection.execute("BEGIN IMMEDIATE" if writable else "BEGIN")
        yield


def prepare(path: Path, busy_timeout: float = BUSY_TIMEOUT) -> None:
    """Create the database, or check and migrate it. Blocks.

    Raises:
        Fault, Retry: see `open_store`.
    """
    _create_file(path)
    # Foreign keys are off on this connection: SQLite requires that where a migration recreates a table.
    with translated(path), closing(_plain_connection(path, busy_timeout)) as connection:
        version = _checked_version(path, connection)
        if version != VERSION:
            _migrate(path, connection, version)
    # Write-ahead logging is a property of the file; one connection enables it before there are several.
    with translated(path):
        connect(path, busy_timeout).close()


def _create_file(path: Path) -> None:
    """Create the file with mode 0600 where it is missing: payloads contain data of private repositories."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        raise inaccessible(path, error.strerror or str(error)) from error


def _checked_version(path: Path, connection: sqlite3.Connection) -> str:
    """Check the file, and create the tables in a new one. Returns the schema's version."""
    with transaction(connection, writable=True):
        _check_integrity(path, connection)
        if not _tables(connection):
            _create_tables(connection)
        return _version(path, connection)


def _create_tables(connection: sqlite3.Connection) -> None:
    """Run `schema.sql`, whose statements are separated by empty lines."""
    for statement in files("stager.stores.sqlite").joinpath("schema.sql").read_text("utf-8").split("\n\n"):
        connection.execute(statement)


def _check_integrity(path: Path, connection: sqlite3.Connection) -> None:
    [complaint] = connection.execute("PRAGMA quick_check(1)").fetchone()
    if complaint != "ok":
        raise broken(path, str(complaint))


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _version(path: Path, connection: sqlite3.Connection) -> str:
    if "alembic_version" not in (tables := _tables(connection)):
        raise broken(path, f"it contains tables of another program, such as {min(tables)}")
    [version] = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(version)


def _migrate(path: Path, connection: sqlite3.Connection, version: str) -> None:
    if version in PRE_RELEASE:
        raise pre_release(path, version)
    # Imported only where needed: Alembic and SQLAlchemy cost 20 MB and a third of a second.
    from stager.stores.sqlite.migrations import is_known, upgrade  # noqa: PLC0415

    if not is_known(version):
        raise newer(path, version)
    upgrade(connection)
