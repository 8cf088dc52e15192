"""Copies the volumes of an environment into a snapshot, while the services that use them are stopped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from stager.control.reconciler.actions import Actions
from stager.control.reconciler.context import ObservedState
from stager.control.reconciler.worker import Workers
from stager.domain.deployment import DeployedService
from stager.domain.environment import Instance, InstanceState
from stager.domain.errors import Fault, Refused, StagerError
from stager.domain.generation import Generation
from stager.domain.snapshot import SnapshotVolume
from stager.domain.source import Revision
from stager.ports.data import Data, VolumeKey
from stager.ports.engine import Instances

log = structlog.get_logger(__name__)

CLEAN = frozenset({0, 128 + 2, 128 + 3, 128 + 15})
"""Exit codes after a clean stop: success, or 128 + the number of a stop signal (SIGINT, SIGQUIT, SIGTERM). A
Java program ends with 143 after it has shut down."""
KILLED = 137
"""128 + SIGKILL."""

Report = Callable[[str], Awaitable[object]]
"""Stores what is being done, in words."""


@dataclass(frozen=True, slots=True)
class Captured:
    """What a snapshot consists of.

    Args:
        services: those that use the volumes.
        secrets_of: see `Snapshot.secrets_of`.
    """

    services: tuple[DeployedService, ...]
    volumes: tuple[SnapshotVolume, ...]
    revision: Revision = field(default_factory=Revision)
    secrets_of: Mapping[str, str] = field(default_factory=dict)

    @property
    def images(self) -> dict[str, str]:
        """The image references by the name of the service."""
        return {service.name: service.spec.image for service in self.services}


class Capture:
    """Copies volumes of environments."""

    def __init__(self, instances: Instances, data: Data, workers: Workers, actions: Actions) -> None:
        self._instances = instances
        self._data = data
        self._workers = workers
        self._actions = actions

    async def take(self, snapshot: str, environment: str, report: Report) -> Captured:
        """Stop the services of an environment that use volumes, copy the volumes, and start the services
        again. No worker acts on the environment meanwhile. If this process ends, the reconciler starts them.

        Args:
            snapshot: the id of the new snapshot.

        Raises:
            Refused: `preview-busy`, `preview-not-live`, `data-none`; also what `Data.save` raises.
            Fault: `stop-unclean`: a service was killed or failed while it stopped.
            Retry: the engine doesn't answer.
        """
        async with self._workers.held(environment):
            source = _source_of(await self._actions.observe(environment))
            stopped: list[Instance] = []
            try:
                for instance in source.instances:
                    await report(f"Stopping {instance.service}")
                    stopped.append(instance)
                    await self._stop(instance)
                await report(f"Copying {_counted(source.volumes)}")
                sizes = await self._data.save(snapshot, source.volumes)
            finally:
                await self._start(stopped)
        return source.captured(sizes)

    async def _stop(self, instance: Instance) -> None:
        code = await self._instances.stop(instance.id)
        if code in CLEAN:
            return
        killed = "It was killed, because it didn't end within its `stop_grace_period`."
        raise Fault(
            f'The service "{instance.service}" ended with exit code {code} when it was stopped, so its data'
            " may be incomplete.",
            hint=f"{killed} Increase that." if code == KILLED else "Check the last lines of its log.",
            reason="stop-unclean",
        )

    async def _start(self, stopped: Sequence[Instance]) -> None:
        """Start these again, those that were stopped last first. The reconciler repeats what fails."""
        for instance in reversed(stopped):
            try:
                await self._instances.start(instance.id)
            except StagerError as error:
                log.warning("start_after_snapshot_failed", instance=instance.id[:12], reason=error.reason)


@dataclass(frozen=True, slots=True)
class _CaptureSource:
    """What is copied.

    Args:
        instances: to be stopped, in this order.
        volumes: by their names.
        writers: the service that writes to a volume, by the volume's name.
    """

    services: tuple[DeployedService, ...]
    instances: tuple[Instance, ...]
    volumes: Mapping[str, VolumeKey]
    writers: Mapping[str, str]
    revision: Revision
    environment: str

    def captured(self, sizes: Mapping[str, int]) -> Captured:
        """The result."""
        volumes = (SnapshotVolume(self.writers[name], name, sizes.get(name)) for name in self.volumes)
        owners = {each.name: each.secrets_of or self.environment for each in self.services}
        return Captured(self.services, tuple(volumes), self.revision, owners)


def _source_of(state: ObservedState | None) -> _CaptureSource:
    """What is copied of the generation that visitors see."""
    number = state.serving_generation if state else None
    deployment = state.deployments.get(number) if state and number is not None else None
    if state is None or number is None or deployment is None or not deployment.services:
        raise Refused(
            "The preview isn't live, so its data may be incomplete.",
            hint="Wake it first."
            if state and state.environment.desired.is_asleep
            else "Wait until it is live, or launch it again.",
            reason="preview-not-live",
            status=409,
        )
    services = tuple(each for each in deployment.services if data_volumes(each))
    if not services:
        raise Refused(
            f'The preview "{state.environment.name}" has no volumes with data to keep.',
            hint="Mount a named volume in a service; its policy may be `keep` or `clone`.",
            reason="data-none",
            status=409,
        )
    generation = Generation.of(state, number, state.environment.desired)
    running = tuple(
        _running(each, generation) for each in _dependents_first(services) if not each.spec.is_job
    )
    volumes: dict[str, VolumeKey] = {}
    writers: dict[str, str] = {}
    for service in services:
        instance = generation.instances.get(service.name)
        created = instance.generation if instance else number
        for mount in (each for each in service.spec.mounts if each.volume in data_volumes(service)):
            is_fresh = mount.volume in service.fresh_volumes
            key = VolumeKey(state.environment.id, mount.volume, created if is_fresh else service.volume_epoch)
            volumes.setdefault(mount.volume, key)
            if not mount.is_read_only:
                writers.setdefault(mount.volume, service.name)
    volumes = {name: key for name, key in volumes.items() if name in writers}
    return _CaptureSource(services, running, volumes, writers, deployment.revision, state.environment.id)


def data_volumes(service: DeployedService) -> frozenset[str]:
    """The volumes of a service whose content matters: those that are kept or cloned."""
    named = {mount.volume for mount in service.spec.mounts if mount.volume}
    return frozenset(named - (service.fresh_volumes - service.clones.keys()))


def _running(service: DeployedService, generation: Generation) -> Instance:
    instance = generation.instances.get(service.name)
    if instance is not None and instance.state is InstanceState.RUNNING:
        return instance
    raise Refused(
        f'The service "{service.name}" doesn\'t run, so its data may be incomplete.',
        hint="Wait until it runs, or launch the preview again.",
        reason="preview-not-live",
        status=409,
    )


def _dependents_first(services: Sequence[DeployedService]) -> list[DeployedService]:
    """The services, each before those that it depends on."""
    by_name = {each.name: each for each in services}
    ordered: dict[str, DeployedService] = {}

    def add(service: DeployedService) -> None:
        for on in service.spec.depends_on:
            if on in by_name and on not in ordered:
                add(by_name[on])
        ordered.setdefault(service.name, service)

    for service in services:
        add(service)
    return list(reversed(ordered.values()))


def _counted(volumes: Mapping[str, object]) -> str:
    return "1 volume" if len(volumes) == 1 else f"{len(volumes)} volumes"
