"""The volumes and containers of workbenches, which have the label of the workbench."""

from __future__ import annotations

import json
from collections.abc import Mapping

import aiodocker

from stager.engines.docker import labels
from stager.engines.docker.client import list_containers, remove_container
from stager.engines.docker.data.volumes import Volumes
from stager.ports.data import VolumeKey
from stager.ports.engine import Clone


class Benches:
    """Opens and closes workbenches.

    Args:
        installation: the id of the installation.
    """

    def __init__(self, docker: aiodocker.Docker, installation: str, volumes: Volumes) -> None:
        self._docker = docker
        self._installation = installation
        self._volumes = volumes
        self._open: set[str] = set()

    def labels_of(self, bench: str) -> dict[str, str]:
        """The labels of a workbench's containers and volumes."""
        return {labels.INSTALLATION: self._installation, labels.WORKBENCH: bench}

    def container_name(self, bench: str, service: str) -> str:
        """The name of the container of a service."""
        return f"stager-{self._installation}-{bench}-{service}"

    async def open(self, bench: str, volumes: Mapping[str, Clone | None]) -> Mapping[str, str]:
        """See `ports.data.Workbench.open`. Returns the names of the volumes in Docker by their own."""
        self._open.add(bench)
        return {
            name: await self._volumes.create(VolumeKey(bench, name), self.labels_of(bench), clone)
            for name, clone in volumes.items()
        }

    async def close(self, bench: str) -> int:
        """See `ports.data.Workbench.close`. Returns how many resources were removed."""
        removed = await self._remove_containers(bench)
        listed = await self._volumes.list_labelled(f"{labels.WORKBENCH}={bench}")
        removed += sum([await self._volumes.remove(each["Name"]) for each in listed])
        self._open.discard(bench)
        return removed

    async def _remove_containers(self, bench: str) -> int:
        names = [name for each, name in await self._containers() if each == bench]
        for name in names:
            await remove_container(self._docker, name)
        return len(names)

    async def _containers(self) -> list[tuple[str, str]]:
        """The workbenches and the names of their containers. An image that was committed from one of them
        passes the labels on, but not the name."""
        wanted = json.dumps({"label": [f"{labels.INSTALLATION}={self._installation}", labels.WORKBENCH]})
        rows = await list_containers(self._docker, wanted)
        every = [(row["Labels"][labels.WORKBENCH], name[1:]) for row in rows for name in row["Names"] or ()]
        return [(bench, name) for bench, name in every if name.startswith(self.container_name(bench, ""))]

    async def sweep(self) -> int:
        """Close the workbenches that this process hasn't opened; returns how many resources were removed."""
        found = {bench for bench, _ in await self._containers()}
        listed = await self._volumes.list_labelled(labels.WORKBENCH)
        found |= {each["Labels"][labels.WORKBENCH] for each in listed}
        return sum([await self.close(bench) for bench in found if bench not in self._open])
