"""A builder whose images are published."""

from __future__ import annotations

from collections.abc import Collection

import structlog

from stager.domain.errors import StagerError
from stager.domain.leftovers import Leftover
from stager.engines.swarm.connections import NodeEngines
from stager.engines.swarm.registry.images import RegistryImages
from stager.ports.builder import Builder, BuildOrder, ImageFacts, Say

log = structlog.get_logger(__name__)


class RegistryBuilder:
    """A builder on the manager that removes images in the registry and on the nodes, too.

    Args:
        builder: builds.
        published: what the registry has.
    """

    def __init__(self, builder: Builder, published: RegistryImages, nodes: NodeEngines) -> None:
        self._builder = builder
        self._published = published
        self._nodes = nodes

    async def find(self, app: str, key: str) -> str | None:
        """See `ports.builder.Builder.find`."""
        return await self._builder.find(app, key)

    async def build(self, order: BuildOrder, say: Say) -> str:
        """See `ports.builder.Builder.build`."""
        return await self._builder.build(order, say)

    async def facts(self, image: str) -> ImageFacts:
        """See `ports.builder.Builder.facts`."""
        return await self._builder.facts(image)

    async def leftovers(self, keep: Collection[str]) -> list[Leftover]:
        """See `ports.builder.Builder.leftovers`. Without what is in the registry and on the nodes."""
        return await self._builder.leftovers(keep)

    async def sweep(self, keep: Collection[str]) -> int:
        """See `ports.builder.Builder.sweep`. The manager's own images are removed even if the registry
        doesn't answer. The others come first: Docker doesn't remove an image that has a name of the registry,
        too."""
        removed = 0
        try:
            removed = await self._published.sweep(keep, self._nodes)
        except StagerError as error:
            log.warning("registry_not_swept", reason=error.reason, error=error.message)
        return removed + await self._builder.sweep(keep)
