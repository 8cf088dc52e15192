"""What SQLite's errors mean to people: which of the three endings each is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from stager.domain.errors import Fault, Retry, StagerError

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_INACCESSIBLE = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
_PRIMARY = 0xFF
"""The part of SQLite's extended error codes that tells the kind."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise what SQLite says of the database at `path` as a Fault or a Retry; all else passes unchanged."""
    try:
        yield
    except DBAPIError as error:
        ending = _ending_of(error.orig, path)
        if ending is None:
            raise
        raise ending from error


def broken(path: Path, why: str) -> Fault:
    """The file is there and is no use."""
    return Fault(
        f"{path} isn't a database that Stager can read: {why}.",
        hint=_move_away(path),
        reason="database-broken",
    )


def newer(path: Path, version: str) -> Fault:
    """The file was written by a later release."""
    return Fault(
        f"{path} was written by a newer Stager (schema {version}) than this one.",
        hint=f"Install that release again. Or start over: {_move_away(path)}",
        reason="database-newer",
    )


def inaccessible(path: Path, why: str) -> Fault:
    """The file can't be opened, read or written."""
    return Fault(
        f"The database {path} can't be used: {why}.",
        hint=f"Check that {path.parent} is a directory that Stager may write to, on a disk that works.",
        reason="database-inaccessible",
    )


def _move_away(path: Path) -> str:
    return (
        f"Move {path.name}, and the -wal and -shm files beside it, out of {path.parent} and start again; "
        "Stager makes a new database and adopts the previews that run."
    )


def _ending_of(error: BaseException | None, path: Path) -> StagerError | None:
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    if code in _BUSY:
        return Retry(
            f"Another process is writing to the database {path}.",
            hint="Stager tries again; end the other process if it doesn't end by itself.",
            reason="database-busy",
        )
    if code == sqlite3.SQLITE_FULL:
        return Retry(
            f"There is no room to write to the database {path}.",
            hint="Free some space on its disk.",
            reason="database-disk-full",
        )
    if code in _BROKEN:
        return broken(path, str(error))
    return inaccessible(path, str(error)) if code in _INACCESSIBLE else None
