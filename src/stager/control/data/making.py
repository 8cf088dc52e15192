"""Makes snapshots in the background."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from stager.control.data.capture import Capture, Captured, Report
from stager.control.data.files import SnapshotFiles
from stager.control.data.masking import Masking
from stager.control.data.restore import Restore
from stager.control.data.seeding import Seeding
from stager.control.environments.lookup import existing
from stager.domain.application import Application, Applications
from stager.domain.errors import Outcome, Refused, StagerError
from stager.domain.snapshot import (
    CreateSnapshot,
    FromCommand,
    FromDump,
    FromPreview,
    Snapshot,
    SnapshotState,
    expired,
)
from stager.domain.source import Trust
from stager.domain.unexpected import ending_of
from stager.ports.clock import Clock, Ids
from stager.ports.data import Data, StorageKind
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)

MAX_NAME = 60
CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Methods:
    """The ways to make a snapshot, and the masking that follows each."""

    capture: Capture
    restore: Restore
    seeding: Seeding
    masking: Masking


class Making:
    """Makes snapshots, at most one of an application at a time."""

    def __init__(
        self,
        store: Store,
        data: Data,
        clock: Clock,
        ids: Ids,
        applications: Applications,
        methods: Methods,
        files: SnapshotFiles,
    ) -> None:
        self._store = store
        self._data = data
        self._clock = clock
        self._ids = ids
        self._applications = applications
        self._methods = methods
        self._files = files
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._beginning: set[str] = set()

    def is_active(self, snapshot: str) -> bool:
        """Whether the snapshot with this id is being made."""
        return snapshot in self._tasks or snapshot in self._beginning

    async def begin(self, request: CreateSnapshot, created_by: str) -> Snapshot:
        """Record a new snapshot, and begin to make it.

        Raises:
            Refused: with the reason; nothing has changed.
        """
        application = self._applications.get(request.app)
        status = await self._data.status()
        if status.storage is StorageKind.NONE:
            raise Refused(status.problem, hint=status.hint, reason="no-snapshots", status=409)
        origin = await self._origin(request, application)
        id_ = self._ids.new()
        self._beginning.add(id_)
        try:
            new = Snapshot(
                id=id_,
                app=application.name,
                number=0,
                state=SnapshotState.MAKING,
                created_at=self._clock.now(),
                created_by=created_by,
                origin=origin,
                name=request.name,
                forks_allowed=application.data.forks_allowed if request.forks is None else request.forks,
                storage=status.storage.value,
                progress="Queued",
            )
            snapshot = await self._store.write(lambda tx: _insert(tx, new))
            task = asyncio.get_running_loop().create_task(self._make(snapshot, application, request))
            self._tasks[id_] = task
            task.add_done_callback(lambda _: self._tasks.pop(id_, None))
        finally:
            self._beginning.discard(id_)
        log.info("snapshot_begun", snapshot=id_, app=snapshot.app, number=snapshot.number, origin=origin)
        return snapshot

    async def _origin(self, request: CreateSnapshot, application: Application) -> str:
        """What a snapshot is made from, in words. Raises `Refused` if it can't be."""
        if len(request.name) > MAX_NAME or not request.name.isprintable():
            raise Refused(
                f"The name of a snapshot has at most {MAX_NAME} printable characters.", reason="name-invalid"
            )
        match request.source:
            case FromPreview(environment):
                return await self._store.read(lambda tx: _origin_of_preview(tx, application, environment))
            case FromDump(service, _, file_name):
                await self._methods.restore.find(application, service)
                return f"dump {file_name[:100]}"
            case FromCommand(command, branch):
                if not command.strip():
                    raise Refused("The command is empty.", reason="command-missing")
                if application.needs_commit and not branch:
                    raise Refused(
                        f'"{application.name}" is built from a commit, and no branch was given.',
                        hint="Name the branch whose code runs the command, such as `--branch main`.",
                        reason="branch-missing",
                    )
                return f"command {command[:100]}"

    async def _make(self, snapshot: Snapshot, application: Application, request: CreateSnapshot) -> None:
        """Make a snapshot; a failure is recorded in it. Cancelled, it leaves what `repair` removes."""
        try:
            await self._make_files(snapshot, application, request)
            await self.retain(application)
        except Exception as error:
            known = ending_of(error)
            if known is not error:
                log.exception("snapshot_failed_unexpectedly", snapshot=snapshot.id)
            with suppress(StagerError):  # it is repeated by `repair`
                await self._files.fail(snapshot.id, Outcome.of(known))
        finally:
            if isinstance(request.source, FromDump):
                await asyncio.to_thread(request.source.path.unlink, missing_ok=True)

    async def _make_files(
        self, snapshot: Snapshot, application: Application, request: CreateSnapshot
    ) -> None:
        async def report(progress: str) -> None:
            await self._store.write(lambda tx: tx.save_snapshot(replace(snapshot, progress=progress)))

        captured = await self._captured(snapshot, application, request, report)
        sizes = await self._methods.masking.mask(snapshot, application, captured, report)
        complete = replace(
            snapshot,
            revision=captured.revision,
            images=captured.images,
            volumes=tuple(replace(v, size=sizes.get(v.volume, v.size)) for v in captured.volumes),
            secrets_of=captured.secrets_of,
            is_masked=bool(application.data.mask),
        )
        await self._files.finish(complete)

    async def _captured(
        self, snapshot: Snapshot, application: Application, request: CreateSnapshot, report: Report
    ) -> Captured:
        methods = self._methods
        match request.source:
            case FromPreview(environment):
                return await methods.capture.take(snapshot.id, environment, report)
            case FromDump() as dump:
                return await methods.restore.take(snapshot, application, dump, report)
            case FromCommand() as command:
                return await methods.seeding.take(snapshot, application, command, report)

    async def retain(self, application: Application) -> None:
        """Delete the snapshots of an application that retention doesn't keep."""
        snapshots = await self._store.read(lambda tx: tx.snapshots(application.name))
        for each in expired(snapshots, application.data.keep):
            log.info("snapshot_expired", snapshot=each.id, app=each.app, number=each.number)
            await self._files.remove(each)

    async def wait(self, snapshot: str, seconds: float) -> None:
        """Wait until a snapshot is no longer being made, at most this long."""
        task = self._tasks.get(snapshot)
        if task is not None:
            await asyncio.wait({task}, timeout=seconds)

    async def cancel(self, snapshot: str) -> None:
        """Stop making a snapshot; no effect when it isn't being made."""
        task = self._tasks.get(snapshot)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """Cancel all, and wait a moment until they have started again what they stopped. The next start
        removes what they leave."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)


def _origin_of_preview(tx: Transaction, application: Application, environment_id: str) -> str:
    environment = existing(tx, environment_id)
    if environment.app != application.name:
        raise Refused(
            f'The preview "{environment.name}" is one of {environment.app}, not of {application.name}.',
            hint=f"Name a preview of {application.name}, or take the snapshot for {environment.app}.",
            reason="preview-of-another",
        )
    if environment.desired.trust is not Trust.TRUSTED:
        raise Refused(
            f'The code of the preview "{environment.name}" is from a fork, so its data isn\'t trusted.',
            hint="Take the snapshot from a preview of a branch of the repository.",
            reason="preview-of-a-fork",
            status=409,
        )
    return f"preview {environment.name}"


def _insert(tx: Transaction, snapshot: Snapshot) -> Snapshot:
    """Save a new snapshot with the next number of its application, which no deleted one had.

    Raises:
        Refused: `snapshot-busy`: another one of the application is being made.
    """
    others = tx.snapshots(snapshot.app)
    busy = next((each for each in others if each.state is SnapshotState.MAKING), None)
    if busy is not None:
        raise Refused(
            f"{busy.title.capitalize()} of {snapshot.app} is being made.",
            hint="Try again when it is ready.",
            reason="snapshot-busy",
            status=409,
        )
    fact = f"snapshots:{snapshot.app}"
    number = max([int(tx.fact(fact) or 0), *(each.number for each in others)]) + 1
    tx.save_fact(fact, str(number))
    numbered = replace(snapshot, number=number)
    tx.save_snapshot(numbered)
    return numbered
