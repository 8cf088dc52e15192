"""Reads the services of an installation with their tasks and nodes from the manager."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

import aiodocker
import structlog

from stager.domain.errors import Retry
from stager.engines.docker import labels
from stager.engines.swarm.connections import NodeEngines
from stager.engines.swarm.manager import Manager
from stager.engines.swarm.observation import Observed, Row, observed

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Overview:
    """What the swarm runs for one installation.

    Args:
        manager: the manager.
        nodes: the engines of the nodes.
        installation: the id of the installation.
    """

    def __init__(self, manager: Manager, nodes: NodeEngines, installation: str) -> None:
        self._manager = manager
        self._nodes = nodes
        self._installation = installation

    async def all(self, environment: str | None = None) -> list[Observed]:
        """All services, or one environment's, also those whose node is lost."""
        services, nodes = await asyncio.gather(self._manager.services(environment), self._manager.nodes())
        services = [each for each in services if labels.DEPLOYMENT in (each["Spec"].get("Labels") or {})]
        tasks = await self._manager.tasks([each["ID"] for each in services])
        return observed(services, tasks, nodes, self._installation)

    async def one(self, instance: str) -> Observed | None:
        """The service with this id; None if there is none."""
        service, tasks = await asyncio.gather(
            self._manager.service(instance), self._manager.tasks([instance])
        )
        if service is None:
            return None
        [found] = observed([service], tasks, await self._manager.nodes(), self._installation)
        return found

    async def where(self, instance: str) -> tuple[aiodocker.Docker, str] | None:
        """The engine and the container of an instance; None if it has no container.

        Raises:
            Retry: `node-away`: its node can't be reached.
        """
        found = await self.one(instance)
        if found is None or found.is_gone or not found.container:
            return None
        return await self._nodes.docker(found.node_id), found.container

    async def ready_nodes(self) -> list[str]:
        """The ids of the nodes that the swarm has contact with."""
        nodes = await self._manager.nodes()
        return [node for node, row in nodes.items() if row["Status"]["State"] == "ready"]

    async def nodes(self) -> dict[str, Row]:
        """The nodes by their ids."""
        return dict(await self._manager.nodes())

    async def on_nodes(
        self, ask: Callable[[aiodocker.Docker, str], Awaitable[T]], nodes: Collection[str] | None = None
    ) -> dict[str, T]:
        """The answers of nodes by their ids, without those that can't be reached.

        Args:
            ask: is called with the node's engine and its id.
            nodes: the ids of the nodes; None for all with which the swarm has contact.
        """
        wanted = await self.ready_nodes() if nodes is None else list(nodes)

        async def answer(node: str) -> tuple[str, T] | None:
            try:
                return node, await ask(await self._nodes.docker(node), node)
            except Retry as error:
                log.info("node_skipped", node=node, error=str(error))
                return None

        found = await asyncio.gather(*(answer(node) for node in wanted))
        return dict(each for each in found if each is not None)
