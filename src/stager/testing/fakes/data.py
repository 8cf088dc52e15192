"""Snapshots and workbenches in memory: a volume is a table of files with texts."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stager.domain.errors import Fault, Refused, Retry
from stager.domain.service import ServiceCheck
from stager.ports.data import DataStatus, StorageKind, VolumeKey
from stager.ports.engine import Clone, InstanceSpec, Ran
from stager.testing.fakes.engine import FakeEngine
from stager.testing.fakes.volumes import Files

Script = Callable[[Mapping[str, Files]], Ran]
"""What a script does in a workbench: it may change the files of the volumes, which it gets by their names."""


@dataclass
class _Bench:
    volumes: set[VolumeKey] = field(default_factory=set)


class FakeData:
    """See `ports.data`: `Data` and `Workbench`.

    Args:
        engine: has the volumes.

    Attributes:
        scripts: what scripts do, by their text; others have no effect.
        ran: workbench, service and text of each script that ran, in order.
        copied: the contents of the files that the last script got, by their paths.
        space: the bytes that can still be saved; None: any number.
        delays: seconds that a method takes, by its name.
        fault: raised by the next call of `save` or `run`.
    """

    def __init__(self, engine: FakeEngine, storage: StorageKind = StorageKind.COPIES) -> None:
        self.scripts: dict[str, Script] = {}
        self.ran: list[tuple[str, str, str]] = []
        self.copied: dict[str, bytes] = {}
        self.space: int | None = None
        self.delays: dict[str, float] = {}
        self.fault: Exception | None = None
        self._storage = storage
        self._engine = engine
        self._benches: dict[str, _Bench] = {}
        self._records: dict[str, str] = {}
        self._away = False

    def leave(self) -> None:
        """Be unavailable, as a pool that isn't mounted, until `come_back`."""
        self._away = True

    def come_back(self) -> None:
        self._away = False

    def files(self, environment: str, name: str, number: int = 0) -> Files:
        """The files of an existing volume, which may be changed."""
        return self._engine.stored.files[VolumeKey(environment, name, number)]

    @property
    def benches(self) -> frozenset[str]:
        """The ids of the open workbenches."""
        return frozenset(self._benches)

    def lose_benches(self) -> None:
        """Be as after a restart: no workbench is known to be open."""
        self._benches = {bench: _Bench() for bench in self._benches}

    async def status(self) -> DataStatus:
        """See `ports.data.Data.status`."""
        await self._turn("status")
        if self._storage is StorageKind.POOL:
            return DataStatus(self._storage, file_system="xfs", size=1 << 30, used=1 << 20, available=1 << 29)
        return DataStatus(self._storage, "There is no data pool.", "Run `stager data init`.")

    async def save(self, snapshot: str, volumes: Mapping[str, VolumeKey]) -> Mapping[str, int]:
        """See `ports.data.Data.save`."""
        await self._turn("save")
        self._raise_fault()
        for volume in volumes.values():
            if volume not in self._engine.stored.files:
                raise Fault(f"There is no volume {volume.name} of this preview.", reason="volume-missing")
            if self._engine.uses(volume):
                raise Refused(f"The volume {volume.name} is in use.", reason="volume-in-use", status=409)
        if snapshot in self._engine.stored.snapshots:
            raise Refused(f"There is already a snapshot {snapshot}.", reason="snapshot-exists", status=409)
        saved = {part: dict(self._engine.stored.files[volume]) for part, volume in volumes.items()}
        if self.space is not None and sum(map(_size, saved.values())) > self.space:
            raise Fault(f"There isn't enough disk space for the snapshot {snapshot}.", reason="data-full")
        self._engine.stored.snapshots[snapshot] = saved
        return await self.sizes(snapshot)

    async def remove(self, snapshot: str) -> None:
        """See `ports.data.Data.remove`."""
        await self._turn("remove")
        self._records.pop(snapshot, None)
        self._engine.stored.snapshots.pop(snapshot, None)

    async def record(self, snapshot: str, text: str) -> None:
        """See `ports.data.Data.record`."""
        await self._turn("record")
        self._records[snapshot] = text

    async def snapshots(self) -> Mapping[str, str]:
        """See `ports.data.Data.snapshots`."""
        await self._turn("snapshots")
        return {
            snapshot: self._records.get(snapshot, "") for snapshot in sorted(self._engine.stored.snapshots)
        }

    async def sizes(self, snapshot: str) -> Mapping[str, int]:
        """See `ports.data.Data.sizes`."""
        await self._turn("sizes")
        return {part: _size(files) for part, files in self._engine.stored.snapshots.get(snapshot, {}).items()}

    async def changed(self, environment: str) -> Mapping[VolumeKey, int]:
        """See `ports.data.Data.changed`."""
        await self._turn("changed")
        if self._storage is not StorageKind.POOL:
            return {}
        origins = self._engine.stored.origins
        return {
            volume: _size(dict(files.items() - self._original(origins[volume]).items()))
            for volume, files in self._engine.stored.files.items()
            if volume.environment == environment and volume in origins
        }

    def _original(self, clone: Clone) -> Files:
        return self._engine.stored.snapshots.get(clone.snapshot, {}).get(clone.part, {})

    async def export(self, snapshot: str, part: str) -> AsyncIterator[bytes]:
        """See `ports.data.Data.export`."""
        await self._turn("export")
        files = self._engine.stored.cloned(Clone(snapshot, part))
        archived = io.BytesIO()
        with tarfile.open(fileobj=archived, mode="w") as archive:
            folder = tarfile.TarInfo("volume")
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
            for name, text in files.items():
                entry = tarfile.TarInfo(f"volume/{name}")
                entry.size = len(text.encode())
                archive.addfile(entry, io.BytesIO(text.encode()))
        yield archived.getvalue()

    async def sweep(self) -> int:
        """See `ports.data.Data.sweep`."""
        await self._turn("sweep")
        known = {volume for bench in self._benches.values() for volume in bench.volumes}
        left = self._engine.stored.benches - known
        for volume in left:
            self._engine.stored.drop(volume)
        self._benches = {bench: each for bench, each in self._benches.items() if each.volumes}
        return len(left)

    async def open(self, bench: str, volumes: Mapping[str, Clone | None]) -> None:
        """See `ports.data.Workbench.open`."""
        await self._turn("open")
        opened = self._benches.setdefault(bench, _Bench())
        for name, clone in volumes.items():
            volume = VolumeKey(bench, name)
            self._engine.stored.create(volume, clone)
            self._engine.stored.benches.add(volume)
            opened.volumes.add(volume)

    async def run(
        self,
        bench: str,
        spec: InstanceSpec,
        check: ServiceCheck | None,  # noqa: ARG002
        script: str,
        files: Mapping[str, Path],
        timeout: float,
    ) -> Ran:
        """See `ports.data.Workbench.run`. Health, exit codes and stops are those of the image's `Program`."""
        await self._turn("run")
        self._raise_fault()
        program = self._engine.program(spec.image)
        if program.exit_code is not None or program.healthy is False:
            raise Fault(
                f'The service "{spec.labels.service}" isn\'t healthy in the workbench.',
                reason="workbench-unhealthy",
                detail=program.output,
            )
        self.copied = {path: file.read_bytes() for path, file in files.items()}
        self.ran.append((bench, spec.labels.service, script))
        mounted = {mount.volume for mount in spec.container.mounts if mount.volume}
        ran = Ran(0, "")
        if does := self.scripts.get(script):
            ran = does({name: self._engine.stored.files[VolumeKey(bench, name)] for name in sorted(mounted)})
        await asyncio.sleep(min(self.delays.get("script", 0.0), timeout))
        if program.stop_code:
            raise Fault(
                f'The service "{spec.labels.service}" exited with {program.stop_code}.',
                reason="workbench-unclean",
            )
        return ran

    async def close(self, bench: str) -> None:
        """See `ports.data.Workbench.close`."""
        await self._turn("close")
        self._benches.pop(bench, None)
        for volume in [each for each in self._engine.stored.benches if each.environment == bench]:
            self._engine.stored.drop(volume)

    def _raise_fault(self) -> None:
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault

    async def _turn(self, method: str) -> None:
        await asyncio.sleep(self.delays.get(method, 0))
        if self._away:
            raise Retry("The data pool can't be used.", reason="data-away")
        if self._engine.is_away:
            raise Retry("The engine doesn't answer.", reason="engine-away")


def _size(files: Files) -> int:
    return sum(len(text.encode()) for text in files.values())
