"""Garbage collection of what builds leave behind: images, mirrors of repositories, logs."""

from __future__ import annotations

import structlog

from stager.control.builds.queue import BuildQueue
from stager.control.ports import BuildPorts
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)


class GarbageCollection:
    """Removes images, mirrors and logs that no environment needs."""

    def __init__(self, store: Store, ports: BuildPorts, queue: BuildQueue) -> None:
        self._store = store
        self._ports = ports
        self._queue = queue

    async def collect(self) -> None:
        """Remove what isn't needed. Images that have just been built are kept regardless of the store.

        Raises:
            Retry: the engine or the store doesn't answer.
        """
        fresh = set(self._queue.fresh())
        images, repositories = await self._store.read(_needed)
        removed = await self._ports.builder.sweep(images | fresh | await self._unrecorded())
        removed += await self._ports.sources.sweep(repositories)
        # Read last: a build may have begun meanwhile.
        logs = await self._store.read(_logs)
        removed += self._ports.logs.sweep(logs | self._queue.keys())
        if removed:
            log.info("gc", removed=removed)

    async def _unrecorded(self) -> set[str]:
        """The images of builds that ended when the control plane did, before a deployment recorded them."""
        found = [
            await self._ports.builder.find(app, build) for app, build in await self._store.read(_building)
        ]
        return {image for image in found if image}


def _building(tx: Transaction) -> set[tuple[str, str]]:
    """Application and key of the builds of wanted deployments that have no image yet."""
    wanted = {
        (environment.id, environment.desired.generation): environment.key.app
        for environment in tx.environments()
        if environment.desired.keeps_instances
    }
    return {
        (wanted[each.environment_id, each.generation], each.build)
        for each in tx.all_deployments()
        if (each.environment_id, each.generation) in wanted and each.build and not each.image
    }


def _logs(tx: Transaction) -> set[str]:
    """The builds of all stored deployments."""
    logs: set[str] = set()
    for deployment in tx.all_deployments():
        logs |= {deployment.build, *(service.build for service in deployment.services)}
    return logs


def _needed(tx: Transaction) -> tuple[set[str], set[str]]:
    """The images of deployments that run or should, and the ids of repositories."""
    images: set[str] = set()
    repositories = {seen.repository.id for seen in tx.repositories()}
    needed: set[tuple[str, int]] = set()
    for environment in tx.environments():
        if environment.serving is not None:
            needed.add((environment.id, environment.serving))
        if environment.desired.keeps_instances:
            needed.add((environment.id, environment.desired.generation))
        if environment.change:
            repositories.add(environment.change.repository_id)
    for deployment in tx.all_deployments():
        if (deployment.environment_id, deployment.generation) in needed:
            images |= deployment.images
    return images, repositories
