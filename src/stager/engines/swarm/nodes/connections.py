"""The engines and root helpers of the nodes, reached over SSH. Nothing of Stager runs on a node."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path

import aiodocker

from stager.domain.errors import Retry
from stager.engines.docker.client import connect, engine_errors
from stager.engines.swarm.nodes.tunnel import DOCKER, HELPER, SshAccess, Tunnel
from stager.helper_client import HelperClient


class NodeConnections:
    """See `engines.swarm.connections.NodeEngines`. A node is connected when it is first asked for.

    Args:
        manager: the engine of the manager, on which Stager runs.
        helper: the root helper of the manager.
        folder: for the sockets of the nodes.
        access: how they are reached.
    """

    def __init__(
        self, manager: aiodocker.Docker, helper: HelperClient, folder: Path, access: SshAccess
    ) -> None:
        self._manager = manager
        self._helper = helper
        self._folder = folder
        self._access = access
        self._own_id = ""
        self._tunnels: dict[str, Tunnel] = {}
        self._clients: dict[str, aiodocker.Docker] = {}

    async def docker(self, node_id: str) -> aiodocker.Docker:
        """See `engines.swarm.connections.NodeEngines.docker`."""
        if await self._is_own(node_id):
            return self._manager
        socket = await self._tunnel(node_id).socket(DOCKER)
        if node_id not in self._clients:
            self._clients[node_id] = connect(f"unix://{socket}")
        return self._clients[node_id]

    async def helper(self, node_id: str) -> HelperClient:
        """The client of the node's root helper.

        Raises:
            Retry: `node-away`.
        """
        if await self._is_own(node_id):
            return self._helper
        return HelperClient(await self._tunnel(node_id).socket(HELPER))

    def is_connected(self, node_id: str) -> bool:
        """Whether this node is the manager or connected now."""
        return node_id == self._own_id or (node_id in self._tunnels and self._tunnels[node_id].is_connected)

    async def keep(self, node_ids: Collection[str]) -> None:
        """Close the connections to other nodes, which have left the swarm."""
        for node_id in self._tunnels.keys() - set(node_ids):
            await self._close(node_id)

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(self._close(node_id) for node_id in list(self._tunnels)))

    async def _close(self, node_id: str) -> None:
        await self._tunnels.pop(node_id).close()
        if client := self._clients.pop(node_id, None):
            await client.close()

    def _tunnel(self, node_id: str) -> Tunnel:
        if node_id not in self._tunnels:
            # A path to a socket has at most 107 bytes; ids of nodes are random.
            folder = self._folder / node_id[:12]
            self._tunnels[node_id] = Tunnel(node_id, folder, self._access, lambda: self._address(node_id))
        return self._tunnels[node_id]

    async def _is_own(self, node_id: str) -> bool:
        if not self._own_id:
            with engine_errors():
                self._own_id = str((await self._manager.system.info())["Swarm"]["NodeID"])
        return node_id == self._own_id

    async def _address(self, node_id: str) -> str:
        try:
            with engine_errors():
                node = await self._manager.nodes.inspect(node_id=node_id)
        except aiodocker.DockerError as error:
            raise Retry(
                f"The swarm has no node {node_id}.", hint="See `stager nodes`.", reason="node-away"
            ) from error
        return str(node["Status"]["Addr"])
