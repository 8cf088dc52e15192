"""What the engine `swarm` needs beside the manager's engine."""

from __future__ import annotations

from typing import Protocol

import aiodocker


class ImagePublisher(Protocol):
    """Gives the nodes the images that the manager has."""

    @property
    def auth(self) -> str:
        """The value of Docker's header `X-Registry-Auth`, which Swarm passes on to the nodes."""

    async def publish(self, image: str) -> str:
        """The reference by which each node can pull this image.

        Args:
            image: its id on the manager.

        Raises:
            Retry: `registry-away`.
            Fault: `registry-refused`, `image-missing`.
        """


class NodeEngines(Protocol):
    """The engines of the nodes."""

    async def docker(self, node_id: str) -> aiodocker.Docker:
        """A client of this node's engine, which stays open.

        Raises:
            Retry: `node-away`: it can't be reached.
        """
