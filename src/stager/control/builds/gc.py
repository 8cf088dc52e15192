"""Garbage collection of what builds leave behind: images, mirrors of repositories, logs."""

from __future__ import annotations

from collections import defaultdict

import structlog

from stager.control.builds.queue import BuildQueue
from stager.control.environments.records import current_content
from stager.control.ports import BuildPorts
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.leftovers import Leftover
from stager.domain.rollback import earlier_revisions
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
        images, repositories = await self._kept()
        removed = await self._ports.builder.sweep(images)
        removed += await self._ports.sources.sweep(repositories)
        # Read last: a build may have begun meanwhile.
        logs = await self._store.read(_logs)
        removed += self._ports.logs.sweep(logs | self._queue.keys())
        if removed:
            log.info("gc", removed=removed)

    async def leftovers(self) -> list[Leftover]:
        """The images and the build cache that `collect` would remove now. Raises what `collect` does."""
        images, _ = await self._kept()
        return await self._ports.builder.leftovers(images)

    async def _kept(self) -> tuple[set[str], set[str]]:
        """The ids of the images and of the repositories that are kept."""
        fresh = set(self._queue.fresh())
        images, repositories = await self._store.read(lambda tx: _needed(tx, self._ports.keep_revisions))
        return images | fresh | await self._unrecorded(), repositories

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


def _needed(tx: Transaction, earlier: int) -> tuple[set[str], set[str]]:
    """The images of deployments that run, should or may be rolled back to, and the ids of repositories.

    Args:
        earlier: how many earlier revisions of each preview keep their images.
    """
    images: set[str] = set()
    repositories = {seen.repository.id for seen in tx.repositories()}
    deployments = _by_environment(tx)
    for environment in tx.environments():
        own = deployments.get(environment.id, [])
        images |= _images_of(tx, environment, own, earlier)
        if environment.change:
            repositories.add(environment.change.repository_id)
    return images, repositories


def _by_environment(tx: Transaction) -> dict[str, list[Deployment]]:
    """The deployments of each environment, newest first."""
    found: dict[str, list[Deployment]] = defaultdict(list)
    for deployment in sorted(tx.all_deployments(), key=lambda d: d.generation, reverse=True):
        found[deployment.environment_id].append(deployment)
    return found


def _images_of(
    tx: Transaction, environment: Environment, deployments: list[Deployment], earlier: int
) -> frozenset[str]:
    """The images that an environment needs.

    Args:
        deployments: its own, newest first.
    """
    wanted = {environment.serving}
    needed: list[Deployment] = []
    if environment.desired.keeps_instances or environment.desired.is_queued:
        wanted.add(environment.desired.generation)
        if (current := current_content(tx, environment)) is not None:
            needed = [current, *earlier_revisions(deployments, current)[:earlier]]
    needed += [each for each in deployments if each.generation in wanted]
    return frozenset(image for each in needed for image in each.images)
