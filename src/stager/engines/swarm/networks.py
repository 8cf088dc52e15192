"""Overlay networks of environments, of their generations and of kept services."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiodocker

from stager.domain.errors import Retry
from stager.domain.leftovers import Leftover, LeftoverKind
from stager.engines.docker import labels
from stager.engines.docker.client import engine_errors, request_json
from stager.engines.swarm.observation import Observed
from stager.engines.swarm.specification import Attachment

DRIVER = "overlay"
"""Only services in an overlay network are found by their aliases: in a bridge of the scope `swarm`, Docker
registers no aliases of a service (measured with 20.10)."""

Row = dict[str, Any]
Observe = Callable[[], Awaitable[Sequence[Observed]]]


class OverlayNetworks:
    """The networks of one installation, on the manager. Swarm creates them on a node with the first task.

    Args:
        docker: the manager's engine.
        installation: the id of the installation.
    """

    def __init__(self, docker: aiodocker.Docker, installation: str) -> None:
        self._docker = docker
        self._installation = installation
        self._reserved: Counter[str] = Counter()
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def reserved(self, name: str, environment: str, generation: int = 0) -> AsyncIterator[str]:
        """Within the context, a network with this name exists. Yields its id.

        Args:
            generation: the generation that it belongs to; 0 for none.
        """
        async with self._lock:
            self._reserved[name] += 1
        try:
            yield await self._ensure(name, environment, generation)
        finally:
            self._reserved[name] -= 1

    async def _ensure(self, name: str, environment: str, generation: int) -> str:
        own = {labels.INSTALLATION: self._installation, labels.ENVIRONMENT: environment}
        if generation:
            own[labels.GENERATION] = str(generation)
        body = {"Name": name, "Driver": DRIVER, "CheckDuplicate": True, "Labels": own}
        with engine_errors():
            try:
                made: Row = await request_json(self._docker, "networks/create", "POST", data=body)
                return str(made["Id"])
            except aiodocker.DockerError as error:
                if "exists" not in error.message:
                    raise
            return str((await request_json(self._docker, f"networks/{name}"))["Id"])

    async def attachments(self, names: Collection[str]) -> list[Attachment]:
        """Those of these networks that exist."""
        found = await self._list() if names else []
        return [Attachment(each["Name"], each["Id"]) for each in found if each["Name"] in names]

    async def _list(self) -> list[Row]:
        with engine_errors():
            rows: list[Row] = await self._docker.networks.list(
                filters={"label": [f"{labels.INSTALLATION}={self._installation}"], "driver": [DRIVER]}
            )
        return rows

    async def unused(self, observe: Observe) -> list[Row]:
        """The networks that no instance needs.

        Args:
            observe: returns the installation's services.
        """
        async with self._lock:
            # In this order: an instance that is created meanwhile is in at least one of them.
            reserved = {name for name, count in self._reserved.items() if count > 0}
            rows = await self._list()
            needed = _needed(await observe())
            return [
                row for row in rows if not {row["Name"], row["Id"]} & needed and row["Name"] not in reserved
            ]

    async def remove(self, network: str) -> bool:
        """Remove a network; returns whether it was there and nothing uses it.

        Args:
            network: its id.
        """
        async with self._lock:
            with engine_errors():
                try:
                    return bool(await aiodocker.docker.DockerNetwork(self._docker, network).delete())
                except (aiodocker.DockerError, Retry):
                    return False  # it is in use, or gone


def _needed(services: Sequence[Observed]) -> set[str]:
    """The names and ids of the networks that services need.

    A generation's network is needed by the instances whose own network it is. Kept instances join it before
    there are any, so it is also needed while no instance is of a newer generation.
    """
    needed: set[str] = set()
    newest: defaultdict[str, int] = defaultdict(int)
    for each in services:
        environment = each.marks[labels.ENVIRONMENT]
        newest[environment] = max(newest[environment], int(each.marks[labels.GENERATION]))
        needed.add(each.marks[labels.NETWORK])
        needed |= {row["Target"] for row in each.service["Spec"]["TaskTemplate"].get("Networks") or ()}
    for each in services:
        least = newest[each.marks[labels.ENVIRONMENT]]
        needed |= {each.network_of(generation) for generation in each.generations if generation >= least}
    return needed


def leftover(network: Mapping[str, Any], services: Sequence[Observed]) -> Leftover:
    """A network that is removed."""
    own = network.get("Labels") or {}
    generation = int(own.get(labels.GENERATION, "0"))
    environment = own.get(labels.ENVIRONMENT, "")
    is_shared = any(
        generation in each.generations for each in services if each.marks[labels.ENVIRONMENT] == environment
    )
    why = "only kept services of newer deployments are in it" if is_shared else "no container is in it"
    return Leftover(LeftoverKind.NETWORK, network["Name"], why, environment)
