"""The records and the files of snapshots, also after an interruption."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import structlog
from pydantic import TypeAdapter, ValidationError

from stager.domain.errors import Outcome
from stager.domain.snapshot import Snapshot, SnapshotState
from stager.ports.data import Data
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)

_SNAPSHOT = TypeAdapter(Snapshot)

INTERRUPTED = Outcome(
    "fault",
    "snapshot-interrupted",
    "Stager was stopped while it made this snapshot. Its files were removed.",
    "Take it again.",
)
LOST = Outcome(
    "fault",
    "snapshot-lost",
    "The files of this snapshot are no longer there.",
    "Restore them from a backup and restart Stager, or delete the snapshot.",
)


class SnapshotFiles:
    """The records and files of snapshots, brought into agreement.

    A snapshot is ready once its files are complete, masked, and have a record beside them, by which it is
    found again after the database was lost. Files without that record are never used.
    """

    def __init__(self, store: Store, data: Data) -> None:
        self._store = store
        self._data = data
        self._lock = asyncio.Lock()

    async def finish(self, snapshot: Snapshot) -> Snapshot:
        """Make a snapshot with complete files ready."""
        ready = replace(snapshot, state=SnapshotState.READY, progress="", problem=None)
        await self._data.record(ready.id, _SNAPSHOT.dump_json(ready).decode())
        await self._store.write(lambda tx: tx.save_snapshot(ready))
        log.info("snapshot_ready", snapshot=ready.id, app=ready.app, number=ready.number, size=ready.size)
        return ready

    async def fail(self, snapshot: str, problem: Outcome) -> None:
        """Record why a snapshot failed, and remove its files; no effect on one that is ready."""

        def work(tx: Transaction) -> bool:
            found = tx.snapshot(snapshot)
            if found is None or found.state is not SnapshotState.MAKING:
                return False
            tx.save_snapshot(replace(found, state=SnapshotState.FAILED, progress="", problem=problem))
            return True

        if await self._store.write(work):
            log.warning("snapshot_failed", snapshot=snapshot, reason=problem.reason, error=problem.message)
            await self._data.remove(snapshot)

    async def remove(self, snapshot: Snapshot) -> None:
        """Remove the files of a snapshot, then its record. What fails is repeated by `repair`."""
        async with self._lock:
            deleting = replace(snapshot, state=SnapshotState.DELETING, is_chosen=False)
            await self._store.write(lambda tx: tx.save_snapshot(deleting))
            await self._finish_removal(snapshot.id)

    async def _finish_removal(self, snapshot: str) -> None:
        await self._data.remove(snapshot)
        await self._store.write(lambda tx: tx.delete_snapshot(snapshot))
        log.info("snapshot_deleted", snapshot=snapshot)

    async def repair(self, is_active: Callable[[str], bool]) -> None:
        """Bring records and files into agreement: what was interrupted is removed, and what is ready but
        isn't in the database is adopted.

        Args:
            is_active: whether the snapshot with an id is being made.

        Raises:
            Retry: the engine or the root helper doesn't answer.
        """
        async with self._lock:
            # In this order: what is ready in the database before the files are listed has files.
            before = await self._store.read(lambda tx: tx.snapshots())
            files = await self._data.snapshots()
            for snapshot in before:
                now = await self._read(snapshot.id)
                if now is not None and now.state is snapshot.state and not is_active(snapshot.id):
                    await self._repair(now, has_files=snapshot.id in files)
            known = {snapshot.id for snapshot in before}
            for id_, record in files.items():
                if id_ not in known and not is_active(id_):
                    await self._adopt(id_, record)
        await self._data.sweep()

    async def _read(self, snapshot: str) -> Snapshot | None:
        return await self._store.read(lambda tx: tx.snapshot(snapshot))

    async def _repair(self, snapshot: Snapshot, *, has_files: bool) -> None:
        match snapshot.state:
            case SnapshotState.MAKING:
                await self.fail(snapshot.id, INTERRUPTED)
            case SnapshotState.DELETING:
                await self._finish_removal(snapshot.id)
            case SnapshotState.FAILED if has_files:
                await self._data.remove(snapshot.id)
            case SnapshotState.READY if not has_files:
                lost = replace(snapshot, state=SnapshotState.FAILED, is_chosen=False, problem=LOST)
                await self._store.write(lambda tx: tx.save_snapshot(lost))
                log.warning("snapshot_failed", snapshot=lost.id, reason=LOST.reason, error=LOST.message)

    async def _adopt(self, snapshot: str, record: str) -> None:
        """Adopt the files of a snapshot that isn't in the database, or remove them if they weren't ready."""

        def save(tx: Transaction, found: Snapshot) -> None:
            taken = {each.number for each in tx.snapshots(found.app)}
            number = max(taken, default=0) + 1 if found.number in taken else found.number
            tx.save_snapshot(replace(found, number=number, state=SnapshotState.READY))

        if await self._store.read(lambda tx: tx.snapshot(snapshot)) is not None:
            return  # it was requested meanwhile
        try:
            found = _SNAPSHOT.validate_json(record)
        except ValidationError:
            log.warning("snapshot_leftover_removed", snapshot=snapshot)
            await self._data.remove(snapshot)
            return
        await self._store.write(lambda tx: save(tx, replace(found, id=snapshot)))
        log.info("snapshot_adopted", snapshot=snapshot, app=found.app)
