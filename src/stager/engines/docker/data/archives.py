"""Reads and writes whole volumes by Docker's archive call, which needs no root.

Owners (as numbers), modes, times, links and `security.capability` are kept; Docker's archives have no other
extended attributes and no sockets.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiodocker
import aiohttp

from stager.domain.errors import Fault, Retry
from stager.engines.docker import labels
from stager.engines.docker.client import engine_errors, list_containers, remove_container, request
from stager.ports.clock import RandomIds

FOLDER = "volume"
"""The folder that contains all entries of an archive. With it, an archive has the owner and the mode of the
volume's own folder, too; Docker ignores those of an entry `.`."""
IMAGE, TAG = "stager-empty", "1"
"""The image of containers that are never started. It has no files."""
EMPTY_TAR = bytes(1024)
"""Two empty blocks (pax(1), "ustar Interchange Format")."""
CHUNK = 1 << 20
"""Bytes that are read at once."""
UNLIMITED = aiohttp.ClientTimeout(total=None, sock_connect=60.0)
NO_SPACE = "no space left on device"
"""Part of Docker's answer when a file system is full."""


def full(what: str) -> Fault:
    """The error for a file system without enough space."""
    return Fault(
        f"There isn't enough disk space for {what}.",
        hint="Remove previews or snapshots that aren't needed, or add disk space: `stager data status`.",
        reason="data-full",
    )


class Archives:
    """Archives of volumes.

    Args:
        installation: the id of the installation, which names and labels contain.
    """

    def __init__(self, docker: aiodocker.Docker, installation: str) -> None:
        self._docker = docker
        self._installation = installation
        self._used: set[str] = set()
        """The names of containers that are used now."""

    async def read(self, volume: str) -> AsyncGenerator[bytes]:
        """A tar archive of a volume; all of its entries are in `FOLDER`.

        Args:
            volume: its name in Docker.
        """
        async with self._container(volume, is_read_only=True) as container:
            with engine_errors():
                async with request(
                    self._docker,
                    f"containers/{container}/archive",
                    params={"path": f"/{FOLDER}"},
                    timeout=UNLIMITED,
                ) as response:
                    async for piece in response.content.iter_chunked(CHUNK):
                        yield piece

    async def write(self, volume: str, archive: AsyncIterator[bytes]) -> None:
        """Unpack an archive into an empty volume.

        Raises:
            Fault: `data-full`.
        """
        async with self._container(volume, is_read_only=False) as container:
            with engine_errors():
                try:
                    async with request(
                        self._docker,
                        f"containers/{container}/archive",
                        "PUT",
                        params={"path": "/"},
                        data=archive,
                        headers={"Content-Type": "application/x-tar"},
                        timeout=UNLIMITED,
                    ):
                        pass
                except aiodocker.DockerError as error:
                    if NO_SPACE in error.message:
                        raise full(f"the volume {volume}") from error
                    raise

    @asynccontextmanager
    async def _container(self, volume: str, *, is_read_only: bool) -> AsyncIterator[str]:
        """The id of a container that has the volume and is never started."""
        name = f"stager-{self._installation}-archive-{RandomIds().new()}"
        mount = {
            "Type": "volume",
            "Source": volume,
            "Target": f"/{FOLDER}",
            "ReadOnly": is_read_only,
            "VolumeOptions": {"NoCopy": True},
        }
        body = {
            "Image": f"{IMAGE}:{TAG}",
            "Entrypoint": ["/"],
            "Labels": {labels.INSTALLATION: self._installation, labels.ARCHIVE: volume},
            "HostConfig": {"NetworkMode": "none", "Mounts": [mount]},
        }
        self._used.add(name)
        try:
            with engine_errors():
                yield await self._create(name, body)
        finally:
            await asyncio.shield(self._removed(name))

    async def _create(self, name: str, body: dict[str, Any]) -> str:
        try:
            return (await self._docker.containers.create(body, name=name)).id
        except aiodocker.DockerError as error:
            if error.status != 404:
                raise
        await self._make_image()
        return (await self._docker.containers.create(body, name=name)).id

    async def _make_image(self) -> None:
        async with request(
            self._docker,
            "images/create",
            "POST",
            params={"fromSrc": "-", "repo": IMAGE, "tag": TAG},
            data=EMPTY_TAR,
            headers={"Content-Type": "application/x-tar"},
        ) as response:
            said = await response.read()
        for line in said.splitlines():
            with suppress(ValueError):
                if problem := json.loads(line).get("error"):
                    raise Retry(
                        f"Docker can't import an empty image: {problem}",
                        hint="Check Docker's log: `journalctl -u docker`.",
                        reason="engine-error",
                    )

    async def _removed(self, name: str) -> None:
        try:
            await remove_container(self._docker, name)
        finally:
            self._used.discard(name)

    async def sweep(self, volume: str | None = None) -> int:
        """Remove the containers that a killed Stager left, of one volume or of all; returns their number."""
        wanted = [f"{labels.INSTALLATION}={self._installation}"]
        wanted.append(labels.ARCHIVE if volume is None else f"{labels.ARCHIVE}={volume}")
        before = frozenset(self._used)
        rows = await list_containers(self._docker, json.dumps({"label": wanted}))
        names = {name[1:] for row in rows for name in row["Names"] or ()} - before - self._used
        left = {name for name in names if name.startswith(f"stager-{self._installation}-archive-")}
        for name in left:
            await remove_container(self._docker, name)
        return len(left)
