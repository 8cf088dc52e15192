"""What images are built with, and clearing away what builds leave behind."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from stager.ports.builder import Builder
from stager.ports.logs import Logs
from stager.ports.source import Sources
from stager.ports.store import Store, Transaction


@dataclass(frozen=True, slots=True)
class BuildPorts:
    """The ports of building.

    Args:
        at_once: how many builds may run at a time.
    """

    sources: Sources
    builder: Builder
    logs: Logs
    at_once: int = 2

    async def sweep(self, store: Store, fresh: Collection[str]) -> int:
        """Remove images, mirrors and logs that nobody needs any more. Returns how many things went.

        Args:
            fresh: images to keep whatever the store says.

        Raises:
            Retry: the engine or the store doesn't answer.
        """
        images, logs, repositories = await store.read(_needed)
        gone = await self.builder.sweep(images | set(fresh))
        return gone + await self.sources.sweep(repositories) + self.logs.sweep(logs)


def _needed(tx: Transaction) -> tuple[set[str], set[str], set[str]]:
    """The images of what should run or does, the logs of what is remembered, and the repositories of both."""
    images: set[str] = set()
    logs: set[str] = set()
    repositories = {seen.repository.id for seen in tx.repositories()}
    needed: set[tuple[str, int]] = set()
    for environment in tx.environments():
        if environment.serving is not None:
            needed.add((environment.id, environment.serving))
        if environment.desired.should_run:
            needed.add((environment.id, environment.desired.generation))
        if environment.change:
            repositories.add(environment.change.repository_id)
    for deployment in tx.all_deployments():
        logs.add(deployment.build)
        if (deployment.environment_id, deployment.generation) in needed:
            images.add(deployment.image)
    return images, logs, repositories
