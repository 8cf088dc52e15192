"""The parts that make, keep and show snapshots, composed."""

from __future__ import annotations

from datetime import timedelta

from stager.control.data.capture import Capture
from stager.control.data.files import SnapshotFiles
from stager.control.data.making import Making, Methods
from stager.control.data.masking import Masking
from stager.control.data.previews import DataQueries, PreviewData
from stager.control.data.restore import Restore
from stager.control.data.schedule import SnapshotSchedule
from stager.control.data.seeding import Seeding
from stager.control.data.snapshots import Snapshots
from stager.control.environments.package import Environments
from stager.control.identity.package import Identity
from stager.control.loops import Loop
from stager.control.ports import Ports
from stager.control.reconciler.package import Reconciler
from stager.domain.application import Applications
from stager.domain.identity.actor import Actor
from stager.ports.data import DataStatus

UPKEEP_INTERVAL = timedelta(minutes=1)


class Snapshotting:
    """Snapshots and what previews have of them.

    Args:
        key: of the installation; generated secrets are derived from it.
    """

    def __init__(
        self,
        ports: Ports,
        applications: Applications,
        identity: Identity,
        environments: Environments,
        reconciler: Reconciler,
        key: bytes,
    ) -> None:
        store, data, workbench = ports.store, ports.data, ports.workbench
        self._store, self._data = store, data
        self._queries = DataQueries(store, environments.queries, data)
        self.files = SnapshotFiles(store, data)
        workers = reconciler.workers
        capture = Capture(ports.instances, data, workers, reconciler.actions)
        self._seeding = Seeding(
            store,
            ports.instances,
            environments.desired_state,
            environments.change_feed,
            environments.waiters,
            capture,
            workers.wake,
        )
        methods = Methods(
            capture,
            Restore(data, workbench, store, ports.images, key),
            self._seeding,
            Masking(data, workbench, key),
        )
        self.making = Making(store, data, ports.clock, ports.ids, applications, methods, self.files)
        self.snapshots = Snapshots(store, data, applications, identity.authorizer, self.making, self.files)
        self.schedule = SnapshotSchedule(store, ports.clock, applications, self.making, identity.audit)

    def loops(self) -> list[Loop]:
        """The repair of what was interrupted, and the schedule."""
        return [
            Loop("snapshots", self.repair, UPKEEP_INTERVAL, after_adoption=True),
            Loop("snapshot schedule", self.schedule.run, UPKEEP_INTERVAL, after_adoption=True),
        ]

    async def repair(self) -> None:
        """Remove what interrupted snapshots left, files and environments; adopt what the database doesn't
        have."""
        await self.files.repair(self.making.is_active)
        left = await self._store.read(
            lambda tx: [e for e in tx.environments(present=True) if e.key.is_of_snapshot]
        )
        for environment in left:
            if not self.making.is_active(environment.key.snapshot):
                await self._seeding.remove(environment.id)

    async def of_preview(self, environment_id: str, actor: Actor, *, usage: bool = False) -> PreviewData:
        """See `DataQueries.of_preview`."""
        return await self._queries.of_preview(environment_id, actor, usage=usage)

    async def status(self) -> DataStatus:
        """Where snapshots are stored, and how much space is left. Raises `Retry`."""
        return await self._data.status()

    async def close(self) -> None:
        """Cancel what is being made. The next start removes what it leaves."""
        await self.making.close()
