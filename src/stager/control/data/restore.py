"""Loads a dump into a service on a workbench, and saves its volumes."""

from __future__ import annotations

from dataclasses import replace

import structlog

from stager.control.data.benches import BenchService
from stager.control.data.capture import Captured, Report
from stager.control.data.masking import ending, last_lines
from stager.domain.application import Application
from stager.domain.deployment import DeployedService
from stager.domain.errors import Fault, Refused
from stager.domain.restore import DUMP, restore_script
from stager.domain.snapshot import FromDump, Snapshot, SnapshotVolume
from stager.domain.source import Trust
from stager.ports.data import Data, VolumeKey, Workbench
from stager.ports.engine import Images
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)

RESTORE_SECONDS = 3_600.0
"""For the start of the service, and for the dump."""


class Restore:
    """Loads dumps.

    Args:
        key: of the installation.
    """

    def __init__(self, data: Data, workbench: Workbench, store: Store, images: Images, key: bytes) -> None:
        self._data = data
        self._workbench = workbench
        self._store = store
        self._images = images
        self._key = key

    async def find(self, application: Application, name: str) -> DeployedService:
        """The service of this name: as the newest preview of trusted code has it, else as the configuration
        declares it.

        Raises:
            Refused: `service-unknown`; `restore-unsupported`: it can't load a dump, or has no volume.
        """
        found = await self._store.read(lambda tx: _deployed(tx, application.name, name))
        declared = next((each for each in application.declared.services if each.name == name), None)
        service = found or (DeployedService(declared, "") if declared else None)
        if service is None:
            raise Refused(
                f'"{application.name}" has no service "{name}".',
                hint="Name a service of the configuration, or launch a preview that has it.",
                reason="service-unknown",
                status=404,
            )
        if not restore_script(service.spec.image) or not _volumes(service):
            raise Refused(
                f'A dump can\'t be loaded into the service "{name}".',
                hint="PostgreSQL, MySQL and MariaDB with a named volume can load one. For others, make the"
                " snapshot from a preview, or by a command.",
                reason="restore-unsupported",
                status=409,
            )
        return service

    async def take(
        self, snapshot: Snapshot, application: Application, source: FromDump, report: Report
    ) -> Captured:
        """Load a dump into a service with empty volumes, and save these as the snapshot.

        Raises:
            Fault: `restore-failed`; see `Workbench`.
        """
        service = await self.find(application, source.service)
        image = service.image or await self._images.resolve(service.spec.image)
        bench = BenchService(snapshot, application, replace(service, image=image), snapshot.id, self._key)
        volumes = _volumes(service)
        try:
            await self._workbench.open(snapshot.id, dict.fromkeys(volumes))
            await report(f"Loading {source.file_name} into {source.service}")
            await self._load(bench, source)
            await report("Copying the data")
            sizes = await self._data.save(
                snapshot.id, {name: VolumeKey(snapshot.id, name) for name in volumes}
            )
        finally:
            await self._workbench.close(snapshot.id)
        saved = tuple(SnapshotVolume(service.name, name, sizes.get(name)) for name in volumes)
        return Captured((bench.service,), saved, secrets_of={service.name: snapshot.id})

    async def _load(self, bench: BenchService, source: FromDump) -> None:
        script = restore_script(bench.service.spec.image)
        files = {DUMP: source.path}
        ran = await self._workbench.run(
            bench.snapshot.id, bench.spec, bench.check, script, files, RESTORE_SECONDS
        )
        if ran.exit_code != 0:
            raise Fault(
                f"{source.file_name} couldn't be loaded: the import {ending(ran, RESTORE_SECONDS)}.",
                hint="Check the end of its output. A dump should contain one database, without its owners and"
                " privileges: `pg_dump --no-owner --no-privileges`.",
                reason="restore-failed",
                detail=last_lines(bench, ran),
            )


def _deployed(tx: Transaction, app: str, name: str) -> DeployedService | None:
    """The service of this name in the newest prepared deployment of trusted code."""
    pairs = (
        (environment, deployment)
        for environment, deployment in reversed(tx.environments_with_deployments(present=True))
        if environment.app == app and environment.desired.trust is Trust.TRUSTED
    )
    found = (deployment.service(name) for _, deployment in pairs if deployment is not None)
    return next((each for each in found if each is not None), None)


def _volumes(service: DeployedService) -> list[str]:
    return sorted({m.volume for m in service.spec.mounts if m.volume and not m.is_read_only})
