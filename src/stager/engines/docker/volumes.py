"""The volumes that images declare (`VOLUME`), for instances with a read-only root file system.

Docker creates such a volume of unlimited size on its disk for each container, which undoes the limit of a
read-only root. A tmpfs instead is limited, and its pages count as the instance's memory. It must belong to
the owner of the image's folder, which Docker neither sets nor reports: Stager reads it from a container that
is never started.
"""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import aiodocker
import structlog

from stager.domain.errors import Fault
from stager.engines.docker import labels
from stager.engines.docker.client import engine_errors, remove_container
from stager.engines.docker.create_parameters import cleaned
from stager.engines.docker.files import archive_of

log = structlog.get_logger(__name__)

CACHE_SIZE = 256
"""Maximum number of images whose folders are cached. The content of an image never changes."""

FIRST_ENTRIES = 64 * 1024
"""Bytes of a folder's archive that are read: its own entry and the next, with their extended headers
(pax(1), "pax Extended Header")."""

MOST_ENTRIES = 2
"""A folder, and its first child."""

Options = Mapping[str, str]
"""The options of a tmpfs, by the path of the volume."""


class ImageVolumes:
    """Reads the folders of images that their `VOLUME` lines name.

    Args:
        installation: the id of the installation.
    """

    def __init__(self, docker: aiodocker.Docker, installation: str) -> None:
        self._docker = docker
        self._installation = installation
        self._known: dict[str, Options] = {}
        self._turn = asyncio.Lock()

    async def options(self, image: str) -> Options:
        """The options of the tmpfs mounts that replace an image's volumes: owner, group and mode.

        Args:
            image: its id.

        Raises:
            Fault: `volume-unbounded`: the size of one of its volumes can't be limited.
            Retry: the engine doesn't answer.
            DockerError: the image is missing or unusable.
        """
        if image not in self._known:
            async with self._turn:
                while len(self._known) >= CACHE_SIZE:
                    self._known.pop(next(iter(self._known)))
                self._known[image] = await self._read(image)
        return self._known[image]

    async def _read(self, image: str) -> Options:
        with engine_errors():
            config = (await self._docker.images.inspect(image)).get("Config") or {}
        declared = config.get("Volumes") or ()
        if relative := next((path for path in declared if not path.startswith("/")), None):
            raise Fault(
                f'The image declares a volume with a relative path, "{relative[:200]}", so its size isn\'t '
                "limited.",
                hint="Write an absolute path after VOLUME in the Dockerfile. With a read-only root, the size "
                "of volumes is limited.",
                reason="volume-unbounded",
            )
        # Docker replaces a volume by a tmpfs only if both paths are spelled the same.
        paths = sorted({cleaned(path) for path in declared})
        return await self._read_folders(image, paths) if paths else {}

    async def _read_folders(self, image: str, paths: list[str]) -> Options:
        name = f"stager-{self._installation}-volumes"
        body: dict[str, Any] = {
            "Image": image,
            # Never started, and it wouldn't run any program of the image.
            "Entrypoint": ["/"],
            "Cmd": [],
            # The image's labels could make it look like an instance.
            "Labels": {labels.INSTALLATION: self._installation, labels.DEPLOYMENT: ""},
            # Without these, Docker would create the volumes and copy the image's content into them.
            "HostConfig": {"NetworkMode": "none", "Tmpfs": dict.fromkeys(paths, "")},
        }
        with engine_errors():
            await remove_container(self._docker, name)  # left over by a killed Stager
            container = (await self._docker.containers.create(body, name=name)).id
            try:
                return {path: await self._folder(container, path) for path in paths}
            finally:
                await asyncio.shield(remove_container(self._docker, name))

    async def _folder(self, container: str, path: str) -> str:
        """The options for one folder. The default of tmpfs, if the folder isn't in the image."""
        content = await archive_of(self._docker, container, path, FIRST_ENTRIES)
        return "" if content is None else _options(path, content)


def _options(path: str, content: bytes) -> str:
    entries = _entries(content)
    if not entries or not entries[0].isdir():
        return "mode=1777"  # such as a link, whose target isn't known
    folder = entries[0]
    if len(entries) > 1 or len(content) >= FIRST_ENTRIES:
        log.warning("volume_content_hidden", path=path)
    return f"uid={folder.uid},gid={folder.gid},mode={folder.mode & 0o7777:o}"


def _entries(content: bytes) -> list[tarfile.TarInfo]:
    """The first entries of an archive, whose end may be cut off."""
    found: list[tarfile.TarInfo] = []
    with suppress(tarfile.TarError), tarfile.open(fileobj=io.BytesIO(content), mode="r|") as archive:
        while (entry := archive.next()) is not None and len(found) < MOST_ENTRIES:
            found.append(entry)
    return found
