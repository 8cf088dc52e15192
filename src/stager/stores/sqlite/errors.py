"""Translates SQLite's errors to `Fault` and `Retry`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
"""The bits of an extended error code that hold the primary one."""


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise errors of the database at `path` as `Fault` or `Retry`; others pass unchanged."""
    try:
        yield
    except sqlite3.Error as error:
        translation = _translation_of(error, path)
        if translation is None:
            raise
        raise translation from error


def broken(path: Path, why: str) -> Fault:
    """The file isn't a readable database of Stager."""
    return Fault(
        f"{path} isn't a database that Stager can read: {why}.",
        hint=_move_away(path),
        reason="database-broken",
    )


def newer(path: Path, version: str) -> Fault:
    """The file was written by a newer version."""
    return Fault(
        f"{path} was written by a newer version of Stager (schema {version}).",
        hint=f"Install that version again. Or start with an empty database: {_move_away(path)}",
        reason="database-newer",
    )


def pre_release(path: Path, version: str) -> Fault:
    """The file was written by a version from before the first supported schema."""
    return Fault(
        f"{path} was written by a pre-release version of Stager (schema {version}) and can't be upgraded.",
        hint=f"Remove {path.name}, and the -wal and -shm files beside it, or move them out of {path.parent}, "
        "and start again. Stager creates a new database and launches previews of open pull requests again.",
        reason="database-pre-release",
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
        "Stager creates a new database and adopts the running previews."
    )


def _translation_of(error: sqlite3.Error, path: Path) -> StagerError | None:
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    if code in _BUSY:
        return Retry(
            f"Another process is writing to the database {path}.",
            hint="Stager tries again; stop the other process if it doesn't end.",
            reason="database-busy",
        )
    if code == sqlite3.SQLITE_FULL:
        return Retry(
            f"The disk is full: the database {path} can't be written.",
            hint="Free some space on its disk.",
            reason="database-disk-full",
        )
    if code in _BROKEN:
        return broken(path, str(error))
    return inaccessible(path, str(error)) if code in _INACCESSIBLE else None
