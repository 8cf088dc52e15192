"""Named volumes of environments, each on the node on which it was created."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

import aiodocker

from stager.domain.leftovers import Leftover
from stager.engines.docker import labels
from stager.engines.docker.data.volumes import Volumes
from stager.engines.docker.named_volumes import NamedVolumes, Owners
from stager.engines.swarm.observation import Observed
from stager.engines.swarm.overview import Overview
from stager.engines.swarm.specification import declared_volumes
from stager.ports.engine import Volume

Observe = Callable[[], Awaitable[Iterable[Observed]]]
Epochs = Mapping[str, Collection[int]]


class NodeVolumes:
    """The volumes of one installation on all nodes.

    Args:
        overview: the nodes, and what runs on them.
        installation: the id of the installation.
    """

    def __init__(self, overview: Overview, installation: str) -> None:
        self._overview = overview
        self._installation = installation

    def _of(self, docker: aiodocker.Docker) -> NamedVolumes:
        return NamedVolumes(docker, self._installation, Volumes(docker, self._installation))

    async def homes(self, environment: str, names: Collection[str]) -> set[str]:
        """The ids of the nodes that have volumes of an environment with one of these names."""

        async def has_some(docker: aiodocker.Docker, _: str) -> bool:
            own = Volumes(docker, self._installation)
            found = await own.list_labelled(f"{labels.ENVIRONMENT}={environment}")
            return any(each["Name"] in names for each in found)

        found = await self._overview.on_nodes(has_some)
        return {node for node, has_any in found.items() if has_any}

    async def of(self, environment: str) -> list[Volume]:
        """See `ports.engine.Instances.volumes`. Those that no instance has used yet are part of it."""

        async def ask(docker: aiodocker.Docker, _: str) -> list[Volume]:
            return await self._of(docker).sizes(environment)

        declared = [
            Volume(own[labels.VOLUME], int(own[labels.GENERATION]))
            for each in await self._overview.all(environment)
            for own in declared_volumes(each.service)
        ]
        found = {(volume.name, volume.generation): volume for volume in declared}
        for volumes in (await self._overview.on_nodes(ask)).values():
            found |= {(volume.name, volume.generation): volume for volume in volumes}
        return [found[key] for key in sorted(found)]

    async def used(self) -> dict[str, int]:
        """The bytes that the volumes of each environment use together, by its id."""

        async def ask(docker: aiodocker.Docker, _: str) -> dict[str, int]:
            return await self._of(docker).used()

        total: Counter[str] = Counter()
        for answer in (await self._overview.on_nodes(ask)).values():
            total.update(answer)
        return dict(total)

    async def sweep(self, present: Epochs | None) -> int:
        """Remove the volumes of environments and generations without instances; returns their number."""

        async def ask(docker: aiodocker.Docker, _: str) -> int:
            return await self._of(docker).sweep(self._owners, present)

        return sum((await self._overview.on_nodes(ask)).values())

    async def leftovers(self, present: Epochs | None) -> list[Leftover]:
        """What `sweep` would remove."""

        async def ask(docker: aiodocker.Docker, _: str) -> list[Leftover]:
            return await self._of(docker).leftovers(self._owners, present)

        found = await self._overview.on_nodes(ask)
        return [each for answer in found.values() for each in answer]

    async def _owners(self) -> Owners:
        found = [each.marks for each in await self._overview.all()]
        return Owners(
            frozenset((own[labels.ENVIRONMENT], int(own[labels.GENERATION])) for own in found),
            frozenset((own[labels.ENVIRONMENT], int(own.get(labels.VOLUME_EPOCH, "0"))) for own in found),
        )
