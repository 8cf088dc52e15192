"""Stager's services on Docker Swarm: creates, starts, finds and removes them. Every call may be repeated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace

import aiodocker
import structlog

from stager.domain.environment import Instance, InstanceLabels, InstanceState
from stager.domain.errors import Fault, Retry, StagerError
from stager.domain.leftovers import Leftover, LeftoverKind
from stager.domain.profile import ProfileName
from stager.engines.docker import labels
from stager.engines.docker.client import remove_container
from stager.engines.swarm import marks
from stager.engines.swarm.changes import ChangeStream
from stager.engines.swarm.connections import ImagePublisher, NodeEngines
from stager.engines.swarm.drain import replaceable
from stager.engines.swarm.inside import Inside, gather_dicts
from stager.engines.swarm.manager import Manager
from stager.engines.swarm.membership import Membership
from stager.engines.swarm.networks import OverlayNetworks, leftover
from stager.engines.swarm.node_volumes import NodeVolumes
from stager.engines.swarm.observation import Observed, Row
from stager.engines.swarm.overview import Overview
from stager.engines.swarm.published_ports import PublishedPorts
from stager.engines.swarm.runs import Runs
from stager.engines.swarm.specification import Attachment, Specifications, check_supported
from stager.ports.engine import (
    Checked,
    Consumption,
    InstanceSpec,
    Listener,
    Ran,
    Size,
    Terminal,
    Volume,
    check_volume_names,
)

log = structlog.get_logger(__name__)


class SwarmInstances:
    """See `ports.engine.Instances`.

    Args:
        manager: the engine of a manager.
        installation: the id of the installation, which names and labels contain.
        images: gives the nodes the images.
        nodes: the engines of the nodes.
    """

    def __init__(
        self, manager: aiodocker.Docker, installation: str, images: ImagePublisher, nodes: NodeEngines
    ) -> None:
        self._docker = manager
        self._installation = installation
        self._images = images
        self._nodes = nodes
        self._manager = Manager(
            manager, lambda environment: labels.filters(installation, environment), images
        )
        self._overview = Overview(self._manager, nodes, installation)
        self._networks = OverlayNetworks(manager, installation)
        self._membership = Membership(nodes)
        self._inside = Inside(self._overview, installation)
        self._volumes = NodeVolumes(self._overview, installation)
        self._ports = PublishedPorts(self._manager, installation)
        self._specifications = Specifications(manager, installation)
        self._runs = Runs(
            self._manager, self._overview, self._networks, self._membership, self._inside, installation
        )

    async def find(self, environment: str | None = None) -> list[Instance]:
        """See `ports.engine.Instances.find`."""
        found = await self._present(environment)
        if environment is None:
            return replaceable([each.instance for each in found], found)
        return replaceable(list(await asyncio.gather(*map(self._closely, found))), found)

    async def _present(self, environment: str | None = None) -> list[Observed]:
        """The instances whose node isn't lost."""
        return [each for each in await self._overview.all(environment) if not each.is_gone]

    async def _closely(self, found: Observed) -> Instance:
        """The instance, with what only its node's engine knows."""
        instance = found.instance
        if instance.state is InstanceState.STOPPED and instance.exit_code:
            return replace(instance, memory_exceeded=await self._inside.exceeded(found))
        return instance

    async def find_with_labels(self) -> list[tuple[Instance, InstanceLabels]]:
        """See `ports.engine.Instances.find_with_labels`."""
        found = []
        for each in await self._present():
            try:
                found.append((each.instance, labels.decode(each.marks)))
            except (KeyError, ValueError, TypeError) as error:
                log.warning("container_labels_unreadable", container=each.id, error=repr(error))
        return found

    def prepared(
        self,
        environment: str,
        profile: ProfileName,  # noqa: ARG002 (each profile has the same networks here)
        network: int = 0,
    ) -> AbstractAsyncContextManager[None]:
        """See `ports.engine.Instances.prepared`."""
        return self._prepared(environment, network)

    @asynccontextmanager
    async def _prepared(self, environment: str, generation: int) -> AsyncIterator[None]:
        name = marks.environment_network(self._installation, environment, generation)

        async def keep() -> None:
            async with self._networks.reserved(name, environment, generation):
                await asyncio.Event().wait()

        keeping = asyncio.create_task(keep())
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def create(self, spec: InstanceSpec) -> Instance:
        """See `ports.engine.Instances.create`."""
        check_supported(spec)
        check_volume_names(spec)
        wanted = spec.labels
        name = marks.service_name(self._installation, wanted.deployment, wanted.service)
        existing = await self._manager.service(name)
        if existing is not None:
            found = await self._overview.one(existing["ID"])
            if found is not None and not found.is_gone:
                return found.instance
            await self._runs.remove(existing["ID"])  # its node is lost, and it must not run twice
        return await self._create(spec)

    async def _create(self, spec: InstanceSpec) -> Instance:
        image = await self._image_of(spec)
        async with AsyncExitStack() as reserved:
            network = await reserved.enter_async_context(self._network_of(spec))
            port = await reserved.enter_async_context(self._ports.reserved())
            try:
                body = await self._specifications.of(spec, image, network, port)
                service = await self._manager.create(body)
            except aiodocker.DockerError as error:
                raise _create_error(error) from error
        found = await self._overview.one(service)
        if found is None:
            raise Retry("The service was removed while it was created.", reason="instance-gone")
        return found.instance

    async def _image_of(self, spec: InstanceSpec) -> str:
        try:
            return await self._images.publish(spec.image)
        except Fault as error:
            if error.reason != "image-missing":
                raise
            raise Fault(
                f"Docker refuses to create the container: {error.message}",
                hint=error.hint,
                reason="create-failed",
            ) from error

    @asynccontextmanager
    async def _network_of(self, spec: InstanceSpec) -> AsyncIterator[Attachment]:
        """The network in which an instance has its aliases. That of its generation exists, too."""
        wanted, networks = spec.labels, self._networks
        environment, generation = wanted.environment, spec.network
        name = marks.environment_network(self._installation, environment, generation)
        async with AsyncExitStack() as reserved:
            if spec.aliases and not generation:
                joined = marks.environment_network(self._installation, environment, wanted.generation)
                await reserved.enter_async_context(networks.reserved(joined, environment, wanted.generation))
                name = marks.own_network(self._installation, wanted.deployment, wanted.service)
            network = await reserved.enter_async_context(networks.reserved(name, environment, generation))
            yield Attachment(name, network, spec.aliases)

    async def join(self, instance: str, generation: int) -> Instance:
        """See `ports.engine.Instances.join`."""
        found = await self._overview.one(instance)
        if found is None or found.is_gone:
            raise Retry("The service was removed before it joined.", reason="instance-gone")
        if generation in found.generations:
            return found.instance
        environment = found.marks[labels.ENVIRONMENT]
        async with self._networks.reserved(found.network_of(generation), environment, generation):
            await self._manager.update(instance, _joining(generation))
        members = await self._present(environment)
        await self._membership.settle(members)
        return next((each.instance for each in members if each.id == instance), found.instance)

    async def start(self, instance: str) -> Instance:
        """See `ports.engine.Instances.start`."""
        return await self._closely(await self._runs.start(instance))

    async def stop(self, instance: str) -> int:
        """See `ports.engine.Instances.stop`."""
        return await self._runs.stop(instance)

    async def remove(self, instance: str) -> None:
        """See `ports.engine.Instances.remove`."""
        await self._runs.remove(instance)

    async def logs(self, instance: str, lines: int) -> str:
        """See `ports.engine.Instances.logs`."""
        return await self._inside.logs(instance, lines)

    async def post_mortem(self, instance: str, words: str) -> str:
        """See `ports.engine.Instances.post_mortem`."""
        return await self._inside.post_mortem(instance, words)

    def follow(self, instance: str, lines: int) -> AsyncIterator[str]:
        """See `ports.engine.Instances.follow`."""
        return self._inside.follow(instance, lines)

    async def check(self, instance: str) -> Checked | None:
        """See `ports.engine.Instances.check`."""
        return await self._inside.check(instance)

    async def listeners(self, instance: str) -> tuple[Listener, ...] | None:
        """See `ports.engine.Instances.listeners`."""
        return await self._inside.listeners(instance)

    async def run(self, instance: str, command: Sequence[str], timeout: float) -> Ran:
        """See `ports.engine.Instances.run`."""
        return await self._inside.run(instance, command, timeout)

    async def open(self, instance: str, command: Sequence[str], size: Size, kind: str) -> Terminal:
        """See `ports.engine.Instances.open`."""
        return await self._inside.open(instance, command, size, kind)

    async def volumes(self, environment: str) -> list[Volume]:
        """See `ports.engine.Instances.volumes`."""
        return await self._volumes.of(environment)

    async def memory(self) -> dict[str, int]:
        """See `ports.engine.Instances.memory`."""
        return {environment: used.memory for environment, used in (await self.consumption()).items()}

    async def consumption(self) -> dict[str, Consumption]:
        """See `ports.engine.Instances.consumption`."""
        return await self._inside.consumption()

    async def disk(self) -> dict[str, int]:
        """See `ports.engine.Instances.disk`."""
        return await gather_dicts(self._inside.written(), self._volumes.used())

    async def sweep(self, present: Mapping[str, Collection[int]] | None = None) -> int:
        """See `ports.engine.Instances.sweep`."""
        removed = 0
        for gone in [each for each in await self._overview.all() if each.is_gone]:
            log.info("lost_service_removed", service=gone.id, node=gone.node_id)
            await self._runs.remove(gone.id)
            removed += 1
        for network in await self._networks.unused(self._overview.all):
            removed += await self._remove_network(network)
        removed += await self._remove_strays()
        return removed + await self._volumes.sweep(present)

    async def _remove_network(self, network: Row) -> bool:
        """Remove a network after kept instances have left it."""
        own = network.get("Labels") or {}
        generation = int(own.get(labels.GENERATION, "0"))
        members = [
            each
            for each in await self._present(own.get(labels.ENVIRONMENT))
            if generation and generation in each.generations
        ]
        await self._membership.leave(network["Name"], members)
        for each in members:
            await self._manager.update(each.id, _leaving(generation))
        return await self._networks.remove(network["Id"])

    async def _remove_strays(self) -> int:
        strays = await self._inside.strays()
        for node, container, name in strays:
            log.info("stray_container_removed", container=container, name=name, node=node)
            await remove_container(await self._nodes.docker(node), container)
        return len(strays)

    async def leftovers(self, present: Mapping[str, Collection[int]] | None = None) -> list[Leftover]:
        """See `ports.engine.Instances.leftovers`."""
        services = await self._overview.all()
        gone = [each for each in services if each.is_gone]
        strays = await self._inside.strays()
        kind = LeftoverKind.CONTAINER
        return [
            *(Leftover(kind, each.service["Spec"]["Name"], "its node is lost") for each in gone),
            *(leftover(each, services) for each in await self._networks.unused(self._overview.all)),
            *(Leftover(kind, name, "its service was removed") for _, _, name in strays),
            *await self._volumes.leftovers(present),
        ]

    def events(self) -> AsyncIterator[str]:
        """See `ports.engine.Instances.events`."""
        return ChangeStream(self._docker, self._overview, self._nodes, self._installation).read()


def _joining(generation: int) -> Callable[[Row], None]:
    def change(specification: Row) -> None:
        own = specification["Labels"]
        known = marks.generations_of(own.get(marks.GENERATIONS, ""))
        own[marks.GENERATIONS] = marks.generations_text(known | {generation})

    return change


def _leaving(generation: int) -> Callable[[Row], None]:
    def change(specification: Row) -> None:
        own = specification["Labels"]
        known = marks.generations_of(own.get(marks.GENERATIONS, ""))
        own[marks.GENERATIONS] = marks.generations_text(known - {generation})

    return change


def _create_error(error: aiodocker.DockerError) -> StagerError:
    if error.status == 409:
        return Retry("The service is being created.", reason="create-conflict")
    return Fault(
        f"Docker Swarm refuses to create the service: {error.message}",
        hint="Check the image's `container_create_params` in the configuration first.",
        reason="create-failed",
    )
