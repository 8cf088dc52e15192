"""Publishes images in the registry, and removes there and on the nodes what no preview needs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

import aiodocker
import aiohttp
import structlog

from stager.domain.errors import Fault, StagerError
from stager.engines.docker import labels
from stager.engines.docker.client import engine_errors, request, request_json
from stager.engines.swarm.connections import NodeEngines
from stager.engines.swarm.registry.api import RegistryApi, registry_api
from stager.engines.swarm.registry.credentials import Credentials, credentials_of, docker_config
from stager.engines.swarm.registry.errors import registry_away, registry_error

log = structlog.get_logger(__name__)

PUSH_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_read=120)
"""Docker reports the progress of a push many times a second; a registry that hangs reports nothing."""


class RegistryImages:
    """The images that previews run, in a repository of this installation's own. An image's tag is its id, so
    that the registry itself knows what was pushed: nothing is stored here.

    Args:
        docker: the manager's engine, which has the images.
        registry: `host:port`, with a path if one is configured.
        config: Docker's configuration with the credentials; None for that of this user.
    """

    def __init__(
        self, docker: aiodocker.Docker, registry: str, installation: str, config: Path | None = None
    ) -> None:
        self._docker = docker
        self._registry = registry
        self._server, _, path = registry.partition("/")
        self._name = f"{path}/stager-{installation}" if path else f"stager-{installation}"
        self._installation = installation
        self._config = config or docker_config()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._recent: set[str] = set()
        self._older: set[str] = set()
        """Images published before the last sweep, and since. Their deployments may not be stored yet."""

    @property
    def repository(self) -> str:
        """The full name of the repository."""
        return f"{self._server}/{self._name}"

    @property
    def auth(self) -> str:
        """See `ImagePublisher.auth`."""
        return self.credentials.header

    @property
    def credentials(self) -> Credentials:
        """The credentials, read again each time: an operator may have run `docker login`."""
        return credentials_of(self._server, self._config)

    async def publish(self, image: str) -> str:
        """Push an image unless the registry has it. Returns the name by which all nodes can pull it, with the
        digest of its manifest.

        Args:
            image: its id on the manager.

        Raises:
            Retry: `registry-away`: the registry doesn't answer, or its disk is full; `engine-away`.
            Fault: `registry-refused`: it refuses the credentials, or Docker doesn't trust it;
                `image-missing`: the manager doesn't have the image.
        """
        async with self._locks.setdefault(image, asyncio.Lock()):
            self._recent.add(image)
            digest = await self._find(image)
            if not digest:
                await self._push(image)
                digest = await self._find(image)
        if not digest:
            raise registry_away(self._registry, "It doesn't list the image that was pushed.")
        return f"{self.repository}@{digest}"

    async def _find(self, image: str) -> str:
        """The digest of an image's manifest in the registry; empty if it isn't there."""
        path = f"distribution/{self.repository}:{_tag(image)}/json"
        with engine_errors():
            try:
                found = await request_json(self._docker, path, headers={"X-Registry-Auth": self.auth})
            except aiodocker.DockerError as error:
                if error.status == 404:
                    return ""
                if error.status == 900:
                    raise
                raise registry_error(self._registry, error.message) from error
        return str(found["Descriptor"]["digest"])

    async def _push(self, image: str) -> None:
        tag = _tag(image)
        with engine_errors():
            try:
                await self._docker.images.tag(image, self.repository, tag=tag)
            except aiodocker.DockerError as error:
                if error.status != 404:
                    raise
                raise Fault(f"There is no image {image} on this machine.", reason="image-missing") from error
            try:
                await self._send(tag)
            finally:
                # With a tag of the registry, the image wouldn't count as one that Stager built.
                with suppress(aiodocker.DockerError):
                    await self._docker.images.delete(f"{self.repository}:{tag}")
        log.info("image_pushed", image=image, repository=self.repository)

    async def _send(self, tag: str) -> None:
        headers = {"X-Registry-Auth": self.auth}
        path = f"images/{self.repository}/push"
        async with request(
            self._docker, path, "POST", params={"tag": tag}, headers=headers, timeout=PUSH_TIMEOUT
        ) as response:
            async for line in response.content:
                if problem := json.loads(line or b"{}").get("error"):
                    raise registry_error(self._registry, str(problem))

    async def sweep(self, keep: Collection[str], nodes: NodeEngines) -> int:
        """Remove the published images that are neither kept nor used by a service, in the registry and on the
        nodes. Returns how many manifests and images were removed.

        Args:
            keep: ids of images.
            nodes: a node that doesn't answer is left out.

        Raises:
            Retry, Fault: the registry or the manager doesn't answer.
        """
        spared = {*keep, *self._recent, *self._older}
        self._recent, self._older = set(), self._recent
        used = await self._used()
        async with registry_api(self._docker, self.credentials, self._name) as api:
            found = {tag: await api.digest(tag) for tag in await api.tags()}
            kept = used | {digest for tag, digest in found.items() if f"sha256:{tag}" in spared}
            removed = await self._remove(api, {digest for digest in found.values() if digest} - kept)
        for node in await self._nodes():
            removed += await self._sweep_node(node, kept, nodes)
        return removed

    async def _remove(self, api: RegistryApi, digests: Collection[str]) -> int:
        for done, digest in enumerate(sorted(digests)):
            if not await api.delete(digest):
                log.warning("registry_keeps_all", registry=self._registry, manifests=len(digests))
                return done
        return len(digests)

    async def _used(self) -> set[str]:
        """The digests of the images of existing services."""
        wanted = json.dumps({"label": [f"{labels.INSTALLATION}={self._installation}"]})
        with engine_errors():
            services = await request_json(self._docker, "services", params={"filters": wanted})
        images = (each["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] for each in services)
        return {image.partition("@")[2] for image in images}

    async def _nodes(self) -> list[str]:
        with engine_errors():
            return [str(node["ID"]) for node in await self._docker.nodes.list()]

    async def _sweep_node(self, node: str, kept: Collection[str], nodes: NodeEngines) -> int:
        try:
            engine = await nodes.docker(node)
            with engine_errors():
                images = await engine.images.list(filters={"reference": [self.repository]})
                names = {name for image in images for name in image.get("RepoDigests") or ()}
                ours = (name for name in sorted(names) if name.startswith(f"{self.repository}@"))
                return sum([await _delete(engine, n) for n in ours if n.partition("@")[2] not in kept])
        except StagerError as error:
            log.debug("node_not_swept", node=node, reason=error.reason)
            return 0


async def _delete(engine: aiodocker.Docker, name: str) -> bool:
    try:
        await engine.images.delete(name)
    except aiodocker.DockerError as error:
        if error.status not in {404, 409}:  # it was removed, or is in use
            raise
        return False
    return True


def _tag(image: str) -> str:
    return image.removeprefix("sha256:")
