"""Runs transactions in two threads with a connection each, one for writes and one for reads.

SQLite allows one writer at a time; a dedicated thread keeps the order and never blocks the event loop. Reads
have their own thread, so that no page waits for a write.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from stager.stores.sqlite.database import BUSY_TIMEOUT, connect, prepare, transaction
from stager.stores.sqlite.errors import translated
from stager.stores.sqlite.transaction import SqliteTransaction

T = TypeVar("T")


async def open_store(path: Path, *, busy_timeout: float = BUSY_TIMEOUT) -> SqliteStore:
    """Open the database at `path`; create or migrate it where needed.

    Args:
        path: of the database file; missing parent directories are created.
        busy_timeout: seconds to wait for another process's write.

    Raises:
        Fault: `database-broken`, `database-newer`, `database-pre-release` or `database-inaccessible`.
        Retry: `database-busy` or `database-disk-full`.
    """
    await asyncio.to_thread(prepare, path, busy_timeout)
    return SqliteStore(path, busy_timeout)


class SqliteStore:
    """A `stager.ports.store.Store` in a file that `prepare` has checked; `open_store` creates one.

    A transaction that has begun is committed or rolled back in its thread even if the task that waits for it
    is cancelled. A committed transaction survives the end of this process; a power failure may undo the last
    transactions, but never a part of one.
    """

    def __init__(self, path: Path, busy_timeout: float = BUSY_TIMEOUT) -> None:
        self._writer = _Lane(path, busy_timeout, writable=True)
        self._reader = _Lane(path, busy_timeout, writable=False)

    async def read(self, work: Callable[[SqliteTransaction], T]) -> T:
        """Run `work` on a consistent snapshot.

        Raises:
            RuntimeError: `work` tried to write, or the store is closed.
            Fault, Retry: see `open_store`.
        """
        return await self._reader.run(work)

    async def write(self, work: Callable[[SqliteTransaction], T]) -> T:
        """Run `work` and commit; roll back when it raises.

        Raises:
            RuntimeError: the store is closed.
            Fault, Retry: see `open_store`.
        """
        return await self._writer.run(work)

    async def close(self) -> None:
        """Finish queued transactions, and close."""
        await self._reader.close()
        await self._writer.close()


class _Lane:
    """One thread with its own connection, in which transactions run one after another."""

    def __init__(self, path: Path, busy_timeout: float, *, writable: bool) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._writable = writable
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, "stager-store-writer" if writable else "stager-store-reader")
        self._closed = False

    async def run(self, work: Callable[[SqliteTransaction], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)

    def _transact(self, work: Callable[[SqliteTransaction], T]) -> T:
        with translated(self._path):
            connection = self._connection = self._connection or connect(self._path, self._busy_timeout)
            with transaction(connection, writable=self._writable):
                try:
                    return work(SqliteTransaction(connection, writable=self._writable))
                except StopIteration as error:  # A future can't carry it: its task would never end.
                    raise RuntimeError("the transaction raised StopIteration") from error

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        last = self._thread.submit(self._disconnect)
        self._thread.shutdown(wait=False)
        await asyncio.shield(asyncio.wrap_future(last))

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
