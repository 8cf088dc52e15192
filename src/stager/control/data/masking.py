"""Runs the masking scripts of an application on a snapshot that isn't ready yet."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from stager.control.data.benches import BenchService
from stager.control.data.capture import Captured, Report
from stager.domain import catalogue
from stager.domain.application import Application
from stager.domain.deployment import DeployedService
from stager.domain.errors import Fault
from stager.domain.snapshot import Snapshot
from stager.ports.data import Data, VolumeKey, Workbench
from stager.ports.engine import Clone, Ran

log = structlog.get_logger(__name__)

LAST_LINES = 30


class Masking:
    """Runs masking scripts.

    Args:
        key: of the installation.
    """

    def __init__(self, data: Data, workbench: Workbench, key: bytes) -> None:
        self._data = data
        self._workbench = workbench
        self._key = key

    async def mask(
        self, snapshot: Snapshot, application: Application, captured: Captured, report: Report
    ) -> Mapping[str, int]:
        """Replace the files of a snapshot by a copy in which each script has succeeded. Returns the sizes of
        its volumes; of an application without scripts, none.

        Raises:
            Fault: `mask-failed`, `mask-without-service`; see `Workbench`. The snapshot may be incomplete.
        """
        scripts = application.data.mask
        if not scripts:
            return {}
        services = {each.name: each for each in captured.services}
        for name in scripts:
            _check_masked(name, captured)
        parts = {each.volume for each in captured.volumes}
        clones = {name: Clone(snapshot.id, name, _left_out(captured.services, name)) for name in parts}
        try:
            await self._workbench.open(snapshot.id, clones)
            for name, script in scripts.items():
                await report(f"Masking {name}")
                bench = BenchService(
                    snapshot, application, services[name], captured.secrets_of[name], self._key
                )
                await self._run(bench, script)
            await report("Copying the masked data")
            await self._data.remove(snapshot.id)
            volumes = {name: VolumeKey(snapshot.id, name) for name in parts}
            return await self._data.save(snapshot.id, volumes)
        finally:
            await self._workbench.close(snapshot.id)

    async def _run(self, bench: BenchService, script: str) -> None:
        timeout = bench.application.data.mask_timeout
        ran = await self._workbench.run(bench.snapshot.id, bench.spec, bench.check, script, {}, timeout)
        name = bench.service.name
        log.info("mask_ran", snapshot=bench.snapshot.id, service=name, exit_code=ran.exit_code)
        if ran.exit_code != 0:
            raise Fault(
                f'The masking script of the service "{name}" {ending(ran, timeout)}. The snapshot was'
                " removed.",
                hint=f"Correct `images.{bench.snapshot.app}.data.mask.{name}`, and take the snapshot again."
                " The script runs in the service itself, without a network.",
                reason="mask-failed",
                detail=last_lines(bench, ran),
            )


def _check_masked(name: str, captured: Captured) -> None:
    """Raises `Fault` unless the snapshot has data of the service of this name."""
    if name in {each.service for each in captured.volumes}:
        return
    raise Fault(
        f'The snapshot has no data of the service "{name}", which `data.mask` has a script for, so it isn\'t'
        " known to be masked. It was removed.",
        hint="Correct the service's name in `data.mask`, or remove its script.",
        reason="mask-without-service",
    )


def _left_out(services: tuple[DeployedService, ...], volume: str) -> tuple[str, ...]:
    mounts = (
        (service.spec.image, mount.target)
        for service in services
        for mount in service.spec.mounts
        if mount.volume == volume
    )
    return tuple(path for image, target in mounts for path in catalogue.left_out(image, target))


def ending(ran: Ran, timeout: float) -> str:
    """How a script ended, in words."""
    return f"took over {timeout:g} s" if ran.exit_code is None else f"ended with exit code {ran.exit_code}"


def last_lines(bench: BenchService, ran: Ran) -> str:
    """The end of a script's output, without the service's secrets."""
    return "\n".join(bench.without_secrets(ran.output).splitlines()[-LAST_LINES:])
