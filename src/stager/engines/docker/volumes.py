"""The volumes that images declare (`VOLUME`), where the root file system is read-only.

Docker makes such a volume on its disk for each container, of any size, which undoes the bound that a
read-only root gives. A tmpfs in its place is bounded, and its pages count as the instance's memory. It has to
belong to the user to whom the image's folder belongs, which Docker doesn't see to and doesn't tell: a
container that is never started shows it.
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
from stager.engines.docker.client import engine_errors
from stager.engines.docker.create_parameters import cleaned
from stager.engines.docker.files import archive_of

log = structlog.get_logger(__name__)

MOST_REMEMBERED = 256
"""Images whose folders are remembered. What is in an image never changes."""

FIRST_ENTRIES = 64 * 1024
"""Bytes of a folder's archive that are read: its own entry and the next, with what may stand before them
(pax(1), "pax Extended Header")."""

MOST_ENTRIES = 2
"""A folder, and something in it."""

Options = Mapping[str, str]
"""Options of a tmpfs by the paths of the volumes."""


class ImageVolumes:
    """Knows the folders of images that their `VOLUME` lines name.

    Args:
        installation: the id by which what is ours is known.
    """

    def __init__(self, docker: aiodocker.Docker, installation: str) -> None:
        self._docker = docker
        self._installation = installation
        self._known: dict[str, Options] = {}
        self._turn = asyncio.Lock()

    async def options(self, image: str) -> Options:
        """The options of tmpfs mounts that stand in for an image's volumes: owner, group and mode.

        Args:
            image: its id.

        Raises:
            Fault: `volume-unbounded`: one of its volumes can't be bounded.
            Retry: the engine doesn't answer.
            DockerError: the image isn't there, or is of no use.
        """
        if image not in self._known:
            async with self._turn:
                while len(self._known) >= MOST_REMEMBERED:
                    self._known.pop(next(iter(self._known)))
                self._known[image] = await self._asked(image)
        return self._known[image]

    async def _asked(self, image: str) -> Options:
        with engine_errors():
            config = (await self._docker.images.inspect(image)).get("Config") or {}
        declared = config.get("Volumes") or ()
        if strange := next((path for path in declared if not path.startswith("/")), None):
            raise Fault(
                f'The image declares a volume with a relative path, "{strange[:200]}", so it has no bound.',
                hint="Write the whole path after VOLUME in the Dockerfile. With a read-only root, volumes "
                "are bounded.",
                reason="volume-unbounded",
            )
        # Docker takes a tmpfs for a volume's place only where both are written alike.
        paths = sorted({cleaned(path) for path in declared})
        return await self._looked_at(image, paths) if paths else {}

    async def _looked_at(self, image: str, paths: list[str]) -> Options:
        name = f"stager-{self._installation}-volumes"
        body: dict[str, Any] = {
            "Image": image,
            # It is never started, and wouldn't run anything of the image's.
            "Entrypoint": ["/"],
            "Cmd": [],
            # By the image's own labels it could pass for an instance.
            "Labels": {labels.INSTALLATION: self._installation, labels.DEPLOYMENT: ""},
            # Or Docker would make the volumes, and copy into them what the image has there.
            "HostConfig": {"NetworkMode": "none", "Tmpfs": dict.fromkeys(paths, "")},
        }
        with engine_errors():
            await self._remove(name)  # one that a killed Stager left
            container = (await self._docker.containers.create(body, name=name)).id
            try:
                return {path: await self._folder(container, path) for path in paths}
            finally:
                await asyncio.shield(self._remove(name))

    async def _remove(self, name: str) -> None:
        try:
            await self._docker.containers.container(name).delete(v=True, force=True)
        except aiodocker.DockerError as error:
            if error.status not in (404, 409):  # it is gone, or going
                raise

    async def _folder(self, container: str, path: str) -> str:
        """The options for one folder. One that isn't in the image is for everybody, as tmpfs has it."""
        content = await archive_of(self._docker, container, path, FIRST_ENTRIES)
        return "" if content is None else _options(path, content)


def _options(path: str, content: bytes) -> str:
    entries = _entries(content)
    if not entries or not entries[0].isdir():
        return "mode=1777"  # such as a link: whose folder it leads to isn't known
    folder = entries[0]
    if len(entries) > 1 or len(content) >= FIRST_ENTRIES:
        log.warning("volume_content_hidden", path=path)
    return f"uid={folder.uid},gid={folder.gid},mode={folder.mode & 0o7777:o}"


def _entries(content: bytes) -> list[tarfile.TarInfo]:
    """The entries at the beginning of an archive, the last of which may be cut off."""
    found: list[tarfile.TarInfo] = []
    with suppress(tarfile.TarError), tarfile.open(fileobj=io.BytesIO(content), mode="r|") as archive:
        while (entry := archive.next()) is not None and len(found) < MOST_ENTRIES:
            found.append(entry)
    return found
