"""Creates containers with their volumes and the files of the commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import aiodocker

from stager.domain.environment import Instance, InstanceState
from stager.domain.errors import Fault, Retry, StagerError
from stager.domain.leftovers import Leftover, LeftoverKind
from stager.engines.docker import containers, labels
from stager.engines.docker.bodies import CreateBodies
from stager.engines.docker.client import engine_errors, list_containers, remove_container
from stager.engines.docker.content import copy_content
from stager.engines.docker.named_volumes import NamedVolumes
from stager.engines.docker.network.pool import Lease
from stager.ports.engine import InstanceSpec


class ContainerCreator:
    """Creates containers, and removes those whose creation was interrupted.

    Args:
        installation: the id of the installation, which names and labels contain.
    """

    def __init__(
        self, docker: aiodocker.Docker, installation: str, volumes: NamedVolumes, bodies: CreateBodies
    ) -> None:
        self._docker = docker
        self._installation = installation
        self._volumes = volumes
        self._bodies = bodies
        self._incomplete: set[str] = set()
        """The names of containers that get their content now."""

    async def create(self, spec: InstanceSpec, lease: Lease) -> Instance:
        """Create the container of an instance, which is in the network of the lease.

        Raises:
            Fault: see `ports.engine.Instances.create`.
            Retry: the engine doesn't answer, or is still creating the container.
        """
        async with self._volumes.reserved(spec) as mounts:
            container = await self._create(spec, lease, mounts)
        return Instance(
            container,
            spec.labels.environment,
            spec.labels.service,
            spec.labels.deployment,
            spec.labels.generation,
            InstanceState.CREATED,
            network=lease.network,
            inputs=spec.inputs,
            generations=frozenset({spec.network}) - {0},
        )

    async def _create(self, spec: InstanceSpec, lease: Lease, mounts: Sequence[Mapping[str, Any]]) -> str:
        with engine_errors():
            try:
                body = await self._bodies.of(spec, lease, mounts)
                return await self._create_with_content(body, spec)
            except aiodocker.DockerError as error:
                if error.status >= 500:
                    raise
                if error.status == 409:  # an earlier call was cancelled, and Docker still works on it
                    raise Retry("The container is being created.", reason="create-conflict") from error
                raise Fault(
                    f"Docker refuses to create the container: {error.message}",
                    hint="Check the image's `container_create_params` in the configuration first.",
                    reason="create-failed",
                ) from error

    async def _create_with_content(self, body: Mapping[str, Any], spec: InstanceSpec) -> str:
        """Create the container; returns its id. It gets its name once its content is complete, so that one
        without is never started."""
        name = containers.name_of(self._installation, spec.labels.deployment, spec.labels.service)
        if not spec.content:
            return (await self._docker.containers.create(body, name=name)).id
        incomplete = f"{name}{containers.INCOMPLETE}"
        await remove_container(self._docker, incomplete)
        self._incomplete.add(incomplete)
        try:
            container = await self._docker.containers.create(body, name=incomplete)
            for content in spec.content:
                await copy_content(self._docker, container.id, content)
            await container.rename(name)
        except StagerError:
            await remove_container(self._docker, incomplete)
            raise
        finally:
            self._incomplete.discard(incomplete)
        return container.id

    async def remove_incomplete(self) -> int:
        """Remove containers whose creation was interrupted before their content was complete; returns their
        number."""
        left = await self._left_incomplete()
        for name in left:
            await remove_container(self._docker, name)
        return len(left)

    async def leftovers(self) -> list[Leftover]:
        """What `remove_incomplete` would remove."""
        why = "its creation was interrupted"
        return [Leftover(LeftoverKind.CONTAINER, name, why) for name in await self._left_incomplete()]

    async def _left_incomplete(self) -> list[str]:
        incomplete = frozenset(self._incomplete)
        return [
            name
            for row in await list_containers(self._docker, labels.filters(self._installation))
            for name in containers.incomplete_names(row, self._installation)
            if name not in incomplete | self._incomplete
        ]
