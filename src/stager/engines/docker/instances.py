"""Stager's containers: creates, starts, finds and removes them. Every call may be repeated."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import aiodocker
import structlog

from stager.domain.environment import Instance, InstanceLabels
from stager.domain.errors import Fault, Retry
from stager.domain.leftovers import Leftover
from stager.domain.profile import ProfileName
from stager.engines.docker import containers, labels, output
from stager.engines.docker.bodies import CreateBodies
from stager.engines.docker.client import engine_errors, list_containers, remove_container
from stager.engines.docker.creator import ContainerCreator
from stager.engines.docker.data.volumes import Volumes
from stager.engines.docker.events import changed_environments
from stager.engines.docker.exec_in_container import check, run_inside
from stager.engines.docker.inspections import Inspections
from stager.engines.docker.memory_usage import consumption_of, memory_of
from stager.engines.docker.named_volumes import NamedVolumes, Owners
from stager.engines.docker.network.listening_ports import listeners_of
from stager.engines.docker.network.membership import Membership, Rows, network_of, usage_of
from stager.engines.docker.network.pool import NetworkKey, NetworkPool, Usage
from stager.engines.docker.outdated import outdated_leftovers, remove_outdated
from stager.engines.docker.post_mortem import post_mortem
from stager.engines.docker.power import set_state
from stager.engines.docker.stopping import stop_container
from stager.engines.docker.terminal import open_terminal
from stager.ports.engine import (
    Checked,
    Consumption,
    InstanceSpec,
    Listener,
    LogPiece,
    Ran,
    Size,
    Terminal,
    Volume,
)
from stager.ports.firewall import Firewall

log = structlog.get_logger(__name__)

LOADED = ("running", "paused")
"""The states of a container that has memory."""

USER_ERRORS = ("OCI runtime", "unable to find user", "unable to find group")
"""Parts of the messages of Docker's 5xx answers that the image or the configuration causes."""

STUCK = ": already exists"
"""Part of Docker's answer to each start of a container whose last run it lost track of, as when Docker is
restarted at the wrong moment: containerd still has the task."""

START_ERRORS = (*USER_ERRORS, STUCK)
"""Docker's 5xx answers with these parts concern this container only."""

IS_PAUSED = "cannot start a paused container"
"""Part of Docker's answer to a start of a paused container."""

RLIMIT_REFUSED = "error setting rlimit"
"""Part of runc's message where Docker may not give a container a higher limit than its own, as in containers
and without root."""


class DockerInstances:
    """See `ports.engine.Instances`.

    Args:
        installation: the id of the installation, which names and labels contain.
        volumes: creates named volumes; None if there are neither snapshots nor a pool.
        firewall: applies the network rules before a container starts; None for no rules.
        loopback: whether containers are reached by a port published on 127.0.0.1 instead of their own
            address, which some hosts can't connect to.
    """

    def __init__(
        self,
        docker: aiodocker.Docker,
        installation: str,
        networks: NetworkPool,
        *,
        volumes: Volumes | None = None,
        firewall: Firewall | None = None,
        loopback: bool = False,
    ) -> None:
        self._docker = docker
        self._firewall = firewall
        self._installation = installation
        self._networks = networks
        self._membership = Membership(docker, networks, firewall)
        self._loopback = loopback
        self._created: dict[str, tuple[tuple[str, ...], InstanceLabels]] = {}
        """Networks and labels of containers that weren't started yet, which saves an inspect call."""
        self._volumes = NamedVolumes(docker, installation, volumes or Volumes(docker, installation))
        self._bodies = CreateBodies(docker, installation, loopback=loopback)
        self._creator = ContainerCreator(docker, installation, self._volumes, self._bodies)
        self._inspections = Inspections()
        self._is_cleaned = False
        """Whether the containers of other versions are removed."""

    async def find(self, environment: str | None = None) -> list[Instance]:
        """See `ports.engine.Instances.find`."""
        rows = await self._list(environment)
        if environment is None:
            return [containers.summary_of(row) for row in rows]
        found = await asyncio.gather(*(self._inspected(row) for row in rows))
        return [instance for instance in found if instance]

    async def _inspected(self, row: Mapping[str, Any]) -> Instance | None:
        """The instance of a row of Docker's list, with what only an inspect call returns."""
        if (known := self._inspections.get(row)) is not None:
            return known
        changes = self._inspections.changes
        container = await self._inspect(row["Id"])
        if container is None:
            return None
        instance = self._instance(container)
        if container["State"]["Status"] == row["State"]:
            self._inspections.add(row, instance, changes)
        return instance

    async def find_with_labels(self) -> list[tuple[Instance, InstanceLabels]]:
        """See `ports.engine.Instances.find_with_labels`."""
        found = []
        for row in await self._list(None):
            try:
                instance_labels = labels.decode(row["Labels"])
            except (KeyError, ValueError, TypeError) as error:
                log.warning("container_labels_unreadable", container=row["Id"], error=repr(error))
            else:
                found.append((containers.summary_of(row), instance_labels))
        return found

    def prepared(
        self, environment: str, profile: ProfileName, network: int = 0
    ) -> AbstractAsyncContextManager[None]:
        """See `ports.engine.Instances.prepared`."""
        key = NetworkKey(environment, profile, network, is_shared=network > 0)

        async def has_none() -> bool:
            return not network_of(key, await self._list(environment))

        return self._membership.prepared(key, has_none)

    async def create(self, spec: InstanceSpec) -> Instance:
        """See `ports.engine.Instances.create`."""
        wanted = spec.labels
        rows = await self._list(wanted.environment)
        name = f"/{containers.name_of(self._installation, wanted.deployment, wanted.service)}"
        if (existing := next((row for row in rows if name in row["Names"]), None)) is not None:
            return containers.summary_of(existing)
        key = NetworkKey(wanted.environment, wanted.profile, spec.network, is_shared=bool(spec.aliases))
        lease = await self._membership.lease(key, rows)
        try:
            instance = await self._creator.create(spec, lease)
        finally:
            self._membership.release(lease)
        if self._firewall is not None:
            self._created[instance.id] = (lease.network,), wanted
        if spec.aliases and not spec.network:
            return await self._join(instance, wanted, spec.aliases, rows)
        return instance

    async def join(self, instance: str, generation: int) -> Instance:
        """See `ports.engine.Instances.join`."""
        container = await self._inspect(instance)
        if container is None:
            raise Retry("The container was removed before it joined.", reason="instance-gone")
        found, container_labels = self._instance(container), container["Config"]["Labels"]
        if generation in found.generations:
            return found
        wanted = replace(labels.decode(container_labels), generation=generation)
        aliases = json.loads(container_labels.get(labels.ALIASES, "[]"))
        return await self._join(found, wanted, aliases, await self._list(found.environment))

    async def _join(
        self, instance: Instance, wanted: InstanceLabels, aliases: Sequence[str], rows: Rows
    ) -> Instance:
        """Connect an instance to the network of a generation.

        Args:
            wanted: the labels of the instance, with the number of that generation.
            rows: the environment's containers.
        """
        key = NetworkKey(wanted.environment, wanted.profile, wanted.generation, is_shared=True)
        network = await self._membership.join(instance.id, key, rows, wanted, aliases)
        if instance.id in self._created:
            networks, instance_labels = self._created[instance.id]
            self._created[instance.id] = (*networks, network), instance_labels
        return replace(
            instance,
            joined=instance.joined | {network},
            generations=instance.generations | {wanted.generation},
        )

    async def start(self, instance: str) -> Instance:
        """See `ports.engine.Instances.start`."""
        if self._firewall is not None:
            await self._guard(instance)
        self._inspections.forget(instance)
        with engine_errors():
            try:
                await self._docker.containers.container(instance).start()
            except aiodocker.DockerError as error:
                if IS_PAUSED not in error.message:
                    if error.status >= 500 and not any(part in error.message for part in START_ERRORS):
                        raise
                    raise await self._start_error(instance, error) from error
                await set_state(self._docker, instance, "running")
        self._inspections.forget(instance)
        container = await self._inspect(instance)
        if container is None:
            raise Retry("The container was removed while it started.", reason="instance-gone")
        return self._instance(container)

    async def _guard(self, instance: str) -> None:
        created = self._created.pop(instance, None)
        if created is None:
            created = await self._read_created(instance)
            if not await self._membership.are_known(*created):
                await self.remove(instance)
                raise Retry(
                    "The firewall has no rules for the container's network, so it is created again.",
                    reason="network-unknown",
                )
        await self._membership.guard(*created)

    async def _read_created(self, instance: str) -> tuple[tuple[str, ...], InstanceLabels]:
        """The networks and the labels of a container that an earlier process created, or that ran before."""
        container = await self._inspect(instance)
        if container is None:
            raise Retry("The container was removed before it started.", reason="instance-gone")
        container_labels = container["Config"]["Labels"]
        networks = {container_labels[labels.NETWORK], *containers.joined(container)}
        return tuple(sorted(networks)), labels.decode(container_labels)

    async def _start_error(self, instance: str, error: aiodocker.DockerError) -> Exception:
        if error.status == 404 and "network" in error.message:
            # Another program removed its network. The next container gets a new one.
            await self.remove(instance)
            return Retry("The container's network was removed.", reason="network-gone")
        if STUCK in error.message:
            await self.remove(instance)
            return Retry(
                f"Docker can no longer start the container, so it is created again: {error.message}",
                reason="instance-stuck",
            )
        if RLIMIT_REFUSED in error.message and self._bodies.limits_open_files:
            self._bodies.limits_open_files = False
            await self.remove(instance)
            return Retry(
                "Docker's own limit of open files is below the container's, so it is created again without "
                "that limit.",
                reason="limit-not-raised",
            )
        if error.status == 404 and "No such container" in error.message:
            return Retry("The container was removed before it started.", reason="instance-gone")
        cause = await post_mortem(self._docker, instance, error.message)
        return Fault(
            f"The container can't be started: {error.message}",
            hint=cause or "Check that the image contains the command, which `images.NAME.command` sets.",
            reason="start-failed",
        )

    async def stop(self, instance: str) -> int:
        """See `ports.engine.Instances.stop`."""
        self._inspections.forget(instance)
        try:
            return await stop_container(self._docker, instance)
        finally:
            self._inspections.forget(instance)

    async def remove(self, instance: str) -> None:
        """See `ports.engine.Instances.remove`."""
        self._created.pop(instance, None)
        with engine_errors():
            try:
                # With the StopTimeout of its creation.
                await self._docker.containers.container(instance).stop()
            except aiodocker.DockerError as error:
                if error.status not in (404, 409):
                    raise
            else:
                await remove_container(self._docker, instance)

    async def logs(self, instance: str, lines: int) -> str:
        """See `ports.engine.Instances.logs`."""
        return await output.last_lines(self._docker, instance, lines)

    async def post_mortem(self, instance: str, words: str) -> str:
        """See `ports.engine.Instances.post_mortem`."""
        return await post_mortem(self._docker, instance, words)

    def follow(self, instance: str, lines: int, after: str = "") -> AsyncIterator[LogPiece]:
        """See `ports.engine.Instances.follow`."""
        return output.follow(self._docker, instance, lines, after)

    async def check(self, instance: str) -> Checked | None:
        """See `ports.engine.Instances.check`."""
        return await check(self._docker, instance)

    async def listeners(self, instance: str) -> tuple[Listener, ...] | None:
        """See `ports.engine.Instances.listeners`."""
        return await listeners_of(self._docker, instance)

    async def run(self, instance: str, command: Sequence[str], timeout: float) -> Ran:
        """See `ports.engine.Instances.run`."""
        return await run_inside(self._docker, instance, command, timeout)

    async def open(self, instance: str, command: Sequence[str], size: Size, kind: str) -> Terminal:
        """See `ports.engine.Instances.open`."""
        return await open_terminal(self._docker, instance, command, size, kind)

    async def volumes(self, environment: str) -> list[Volume]:
        """See `ports.engine.Instances.volumes`."""
        return await self._volumes.sizes(environment)

    async def memory(self) -> dict[str, int]:
        """See `ports.engine.Instances.memory`."""
        rows = await self._list(None)
        used = await memory_of(self._docker, [row["Id"] for row in rows if row["State"] in LOADED])
        total: Counter[str] = Counter()
        for row in rows:
            total[row["Labels"][labels.ENVIRONMENT]] += used.get(row["Id"], 0)
        return dict(total)

    async def consumption(self) -> dict[str, Consumption]:
        """See `ports.engine.Instances.consumption`."""
        rows = await self._list(None)
        used = await consumption_of(self._docker, [row["Id"] for row in rows if row["State"] in LOADED])
        total: dict[str, Consumption] = {}
        for row in rows:
            environment = row["Labels"][labels.ENVIRONMENT]
            total[environment] = total.get(environment, Consumption()) + used.get(row["Id"], Consumption())
        return total

    async def disk(self) -> dict[str, int]:
        """See `ports.engine.Instances.disk`."""
        filters = labels.filters(self._installation, None)
        rows = await list_containers(self._docker, filters, with_sizes=True)
        total = Counter(await self._volumes.used())
        for row in rows:
            if containers.is_ours(row, self._installation):
                total[row["Labels"][labels.ENVIRONMENT]] += row.get("SizeRw") or 0
        return dict(total)

    async def sweep(self, present: Mapping[str, Collection[int]] | None = None) -> int:
        """See `ports.engine.Instances.sweep`."""
        outdated = 0 if self._is_cleaned else await remove_outdated(self._docker, self._installation)
        self._is_cleaned = True
        outdated += await self._creator.remove_incomplete()
        networks = await self._networks.sweep(self._network_usage)
        return outdated + networks + await self._volumes.sweep(self._volume_owners, present)

    async def leftovers(self, present: Mapping[str, Collection[int]] | None = None) -> list[Leftover]:
        """See `ports.engine.Instances.leftovers`."""
        return [
            *await outdated_leftovers(self._docker, self._installation),
            *await self._creator.leftovers(),
            *await self._networks.leftovers(self._network_usage),
            *await self._volumes.leftovers(self._volume_owners, present),
        ]

    async def _network_usage(self) -> Usage:
        return usage_of(await self._list(None))

    async def _volume_owners(self) -> Owners:
        rows = await self._list(None)
        found = [containers.summary_of(row) for row in rows]
        epochs = (int(row["Labels"].get(labels.VOLUME_EPOCH, "0")) for row in rows)
        return Owners(
            frozenset((i.environment, i.generation) for i in found),
            frozenset((i.environment, epoch) for i, epoch in zip(found, epochs, strict=True)),
        )

    def events(self) -> AsyncIterator[str]:
        """See `ports.engine.Instances.events`."""
        return changed_environments(self._docker, self._installation, self._inspections)

    async def _list(self, environment: str | None) -> list[dict[str, Any]]:
        rows = await list_containers(self._docker, labels.filters(self._installation, environment))
        return [row for row in rows if containers.is_ours(row, self._installation)]

    async def _inspect(self, container: str) -> dict[str, Any] | None:
        with engine_errors():
            try:
                return await self._docker.containers.container(container).show()
            except aiodocker.DockerError as error:
                if error.status == 404:
                    return None
                raise

    def _instance(self, container: Mapping[str, Any]) -> Instance:
        return containers.instance_of(container, loopback=self._loopback)
