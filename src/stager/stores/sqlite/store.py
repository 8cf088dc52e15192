"""The store itself: two threads with a connection each, one that writes and one that reads.

SQLite has one writer at a time anyhow; a thread of its own keeps the order and never blocks the event loop.
Reads have theirs, so that no page waits for a write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine

from stager.stores.sqlite.database import BUSY_TIMEOUT, engine_for, prepare
from stager.stores.sqlite.errors import explained
from stager.stores.sqlite.transaction import SqliteTransaction

T = TypeVar("T")


async def open_store(path: Path, *, busy_timeout: float = BUSY_TIMEOUT) -> SqliteStore:
    """Open the database at `path`, made or brought up to date where needed.

    Args:
        path: of the database file; directories above it are made.
        busy_timeout: seconds to wait for another process that writes to it.

    Raises:
        Fault: `database-broken`, `database-newer` or `database-inaccessible`.
        Retry: `database-busy` or `database-disk-full`.
    """
    await asyncio.to_thread(prepare, path, busy_timeout)
    return SqliteStore(path, busy_timeout)


class SqliteStore:
    """A `stager.ports.store.Store` in a file that `prepare` has seen; `open_store` makes one.

    A transaction that has begun ends in its thread, committed or rolled back, whatever becomes of the task
    that waits for it. Committed means that no end of this process can undo it; a power cut may undo the last
    moments, but never half a transaction.
    """

    def __init__(self, path: Path, busy_timeout: float = BUSY_TIMEOUT) -> None:
        self._writer = _Lane(path, busy_timeout, writable=True)
        self._reader = _Lane(path, busy_timeout, writable=False)

    async def read(self, work: Callable[[SqliteTransaction], T]) -> T:
        """Run `work` on a consistent picture.

        Raises:
            RuntimeError: `work` tried to write, or the store is closed.
            Fault, Retry: see `open_store`.
        """
        return await self._reader.run(work)

    async def write(self, work: Callable[[SqliteTransaction], T]) -> T:
        """Run `work` and commit; nothing of it stays when it raises.

        Raises:
            RuntimeError: the store is closed.
            Fault, Retry: see `open_store`.
        """
        return await self._writer.run(work)

    async def close(self) -> None:
        """Finish what was asked for before, and close."""
        await self._reader.close()
        await self._writer.close()


class _Lane:
    """One thread with one connection of its own, in which transactions run one after another."""

    def __init__(self, path: Path, busy_timeout: float, *, writable: bool) -> None:
        self._path = path
        self._writable = writable
        self._engine: Engine = engine_for(path, busy_timeout, writable=writable)
        self._connection: Connection | None = None
        self._thread = ThreadPoolExecutor(1, "stager-store-writer" if writable else "stager-store-reader")
        self._closed = False

    async def run(self, work: Callable[[SqliteTransaction], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)

    def _transact(self, work: Callable[[SqliteTransaction], T]) -> T:
        with explained(self._path):
            connection = self._connection = self._connection or self._engine.connect()
            with connection.begin():
                try:
                    return work(SqliteTransaction(connection, writable=self._writable))
                except StopIteration as error:  # A future can't carry it: its task would wait for ever.
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
        self._engine.dispose()
