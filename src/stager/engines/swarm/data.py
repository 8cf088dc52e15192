"""Swarm has no snapshots: the volumes of a preview are on the node where it runs."""

# ruff: noqa: ARG002 (the arguments are the port's)

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from stager.domain.service import ServiceCheck
from stager.engines.swarm.unsupported import unsupported
from stager.ports.data import DataStatus, StorageKind, VolumeKey
from stager.ports.engine import Clone, InstanceSpec, Ran

NO_SNAPSHOTS = "Snapshots aren't available with the engine `swarm`."


HINT = "Volumes of previews start empty; to fill them, use `hooks.after_launch`."


class SwarmData:
    """See `ports.data.Data`: one that has no snapshots and makes none."""

    async def status(self) -> DataStatus:
        """See `ports.data.Data.status`."""
        return DataStatus(StorageKind.NONE, NO_SNAPSHOTS, HINT)

    async def save(self, snapshot: str, volumes: Mapping[str, VolumeKey]) -> Mapping[str, int]:
        """See `ports.data.Data.save`. Always raises `Fault`: `not-on-swarm`."""
        raise unsupported("make snapshots")

    async def remove(self, snapshot: str) -> None:
        """See `ports.data.Data.remove`."""

    async def record(self, snapshot: str, text: str) -> None:
        """See `ports.data.Data.record`."""

    async def snapshots(self) -> Mapping[str, str]:
        """See `ports.data.Data.snapshots`."""
        return {}

    async def sizes(self, snapshot: str) -> Mapping[str, int]:
        """See `ports.data.Data.sizes`."""
        return {}

    async def changed(self, environment: str) -> Mapping[VolumeKey, int]:
        """See `ports.data.Data.changed`."""
        return {}

    def export(self, snapshot: str, part: str) -> AsyncIterator[bytes]:
        """See `ports.data.Data.export`. Always raises `Fault`: `not-on-swarm`."""
        raise unsupported("export snapshots")

    async def sweep(self) -> int:
        """See `ports.data.Data.sweep`."""
        return 0


class SwarmWorkbench:
    """See `ports.data.Workbench`: none can be opened."""

    async def open(self, bench: str, volumes: Mapping[str, Clone | None]) -> None:
        """See `ports.data.Workbench.open`. Always raises `Fault`: `not-on-swarm`."""
        raise unsupported("make snapshots")

    async def run(
        self,
        bench: str,
        spec: InstanceSpec,
        check: ServiceCheck | None,
        script: str,
        files: Mapping[str, Path],
        timeout: float,
    ) -> Ran:
        """See `ports.data.Workbench.run`. Always raises `Fault`: `not-on-swarm`."""
        raise unsupported("make snapshots")

    async def close(self, bench: str) -> None:
        """See `ports.data.Workbench.close`."""
