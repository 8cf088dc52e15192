"""Snapshots of volumes: in the data pool where there is one, else as archives in the state folder."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import aiodocker

from stager.domain.errors import Fault, Refused
from stager.engines.docker import labels
from stager.engines.docker.client import list_containers
from stager.engines.docker.data.archives import Archives
from stager.engines.docker.data.benches import Benches
from stager.engines.docker.data.copies import Copies, exists, missing
from stager.engines.docker.data.pool import DataHelper, Pool
from stager.engines.docker.data.records import Records
from stager.engines.docker.data.volumes import Volumes
from stager.ports.clock import RandomIds
from stager.ports.data import DataStatus, StorageKind, VolumeKey
from stager.ports.engine import Clone

POOL_USED = "pool-used"
"""In the folder of the snapshots: see `Pool`."""
RUNNING = ("running", "paused", "restarting")
"""The states in which a container may write to its volumes."""


class DockerData:
    """See `ports.data.Data`.

    Args:
        installation: the id of the installation, which names and labels contain.
        folder: for the snapshots without a pool, and the records of all.
        helper: keeps the pool; None if there is none.

    Attributes:
        volumes: creates and removes the volumes of environments.
        benches: the volumes and containers of workbenches.
    """

    def __init__(
        self,
        docker: aiodocker.Docker,
        installation: str,
        folder: Path,
        helper: DataHelper | None = None,
    ) -> None:
        self._docker = docker
        self._installation = installation
        self._folder = folder
        self._archives = Archives(docker, installation)
        self._copies = Copies(folder, self._archives)
        self._pool = Pool(helper or DataHelper(), installation, folder / POOL_USED)
        self._records = Records(folder)
        self.volumes = Volumes(docker, installation, self._copies, self._pool)
        self.benches = Benches(docker, installation, self.volumes)

    async def status(self) -> DataStatus:
        """See `ports.data.Data.status`."""
        found = await self._pool.status()
        if found.storage is StorageKind.POOL:
            return found
        folder = self._folder if self._folder.is_dir() else self._folder.parent
        usage = shutil.disk_usage(folder)
        return DataStatus(
            StorageKind.COPIES,
            found.problem,
            found.hint,
            size=usage.total,
            used=usage.used,
            available=usage.free,
        )

    async def save(self, snapshot: str, volumes: Mapping[str, VolumeKey]) -> Mapping[str, int]:
        """See `ports.data.Data.save`."""
        names = {part: self.volumes.name(volume) for part, volume in volumes.items()}
        shown = {part: await self._existing(volumes[part], name) for part, name in names.items()}
        await self._check_unused(names)
        pool = await self._ready_pool()
        if self._copies.has(snapshot) or (pool and snapshot in await pool.snapshots()):
            raise exists(snapshot)
        if pool is None:
            sizes = await self._copies.save(snapshot, names)
        else:
            others = {part: name for part, name in names.items() if not shown[part].get("Options")}
            async with self._imported(others) as imported:
                sizes = await pool.save(snapshot, {**names, **imported})
        try:
            await self._check_unused(names)
        except Refused:
            await self.remove(snapshot)
            raise
        return sizes

    async def _existing(self, volume: VolumeKey, name: str) -> dict[str, Any]:
        found = await self.volumes.find(name)
        if found is None or (found["Labels"] or {}).get(labels.INSTALLATION) != self._installation:
            raise Fault(
                f"There is no volume {volume.name} of this preview.",
                hint="Its service must have been started once.",
                reason="volume-missing",
            )
        return found

    async def _check_unused(self, names: Mapping[str, str]) -> None:
        """Check that no container that runs has one of these volumes: what is copied under a running server
        may be broken without a sign of it.

        Raises:
            Refused: `volume-in-use`.
        """
        for part, name in names.items():
            wanted = json.dumps({"volume": [name], "status": list(RUNNING)})
            if rows := await list_containers(self._docker, wanted):
                raise Refused(
                    f"The volume {part} is in use by the running container {rows[0]['Names'][0][1:]}.",
                    hint="Only volumes of stopped containers are copied.",
                    reason="volume-in-use",
                    status=409,
                )

    @asynccontextmanager
    async def _imported(self, names: Mapping[str, str]) -> AsyncIterator[Mapping[str, str]]:
        """Copies in the pool of volumes from before there was one, by part."""
        bench = RandomIds().new()
        try:
            copies = await self.benches.open(bench, dict.fromkeys(names)) if names else {}
            for part, copy in copies.items():
                async with aclosing(self._archives.read(names[part])) as archive:
                    await self._archives.write(copy, archive)
            yield copies
        finally:
            if names:
                await asyncio.shield(self.benches.close(bench))

    async def remove(self, snapshot: str) -> None:
        """See `ports.data.Data.remove`."""
        await asyncio.to_thread(self._records.remove, snapshot)
        await self._copies.remove(snapshot)
        if pool := await self._ready_pool():
            await pool.remove(snapshot)

    async def record(self, snapshot: str, text: str) -> None:
        """See `ports.data.Data.record`."""
        await asyncio.to_thread(self._records.write, snapshot, text)

    async def snapshots(self) -> Mapping[str, str]:
        """See `ports.data.Data.snapshots`."""
        found = set(self._copies.snapshots())
        records = await asyncio.to_thread(self._records.all)
        if pool := await self._ready_pool():
            found |= set(await pool.snapshots())
        return {snapshot: records.get(snapshot, "") for snapshot in sorted(found)}

    async def sizes(self, snapshot: str) -> Mapping[str, int]:
        """See `ports.data.Data.sizes`."""
        if self._copies.has(snapshot):
            return await self._copies.sizes(snapshot)
        pool = await self._ready_pool()
        return await pool.sizes(snapshot) if pool else {}

    async def changed(self, environment: str) -> Mapping[VolumeKey, int]:
        """See `ports.data.Data.changed`."""
        pool = await self._ready_pool()
        if pool is None:
            return {}
        listed = await self.volumes.list_labelled(f"{labels.ENVIRONMENT}={environment}")
        clones = {name for name, snapshot in (await pool.volumes()).items() if snapshot}
        keys = {each["Name"]: _key(each["Labels"]) for each in listed if each["Name"] in clones}
        return {keys[name]: usage.unshared for name, usage in (await self.volumes.usage(keys)).items()}

    async def export(self, snapshot: str, part: str) -> AsyncIterator[bytes]:
        """See `ports.data.Data.export`."""
        if self._copies.has(snapshot):
            async with aclosing(self._copies.read(snapshot, part)) as archive:
                async for piece in archive:
                    yield piece
            return
        if await self._ready_pool() is None:
            raise missing(snapshot, part)
        bench = RandomIds().new()
        try:
            volumes = await self.benches.open(bench, {part: Clone(snapshot, part)})
            async with aclosing(self._archives.read(volumes[part])) as archive:
                async for piece in archive:
                    yield piece
        finally:
            await asyncio.shield(self.benches.close(bench))

    async def sweep(self) -> int:
        """See `ports.data.Data.sweep`."""
        removed = await self._copies.sweep() + await self._archives.sweep()
        removed += await self.benches.sweep() + await self.volumes.sweep()
        return removed

    async def _ready_pool(self) -> Pool | None:
        return self._pool if await self._pool.is_ready() else None


def _key(names: Mapping[str, str]) -> VolumeKey:
    return VolumeKey(names[labels.ENVIRONMENT], names[labels.VOLUME], int(names[labels.GENERATION]))
