"""The images that builds of ours made: found again, looked at, and removed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import aiodocker

from stager.domain.errors import Fault
from stager.domain.names import slugify
from stager.engines.docker import labels
from stager.engines.docker.client import engine_errors
from stager.engines.docker.dockerfile import exposed, first_port
from stager.ports.builder import BuildOrder, ImageFacts

NAME_LENGTH = 60
"""Characters of an application's name that a tag shows."""


class MadeImages:
    """The images of one installation.

    Args:
        installation: the id by which what is ours is known.
    """

    def __init__(self, docker: aiodocker.Docker, installation: str) -> None:
        self._docker = docker
        self._installation = installation

    def labels(self, order: BuildOrder, dockerfile: str) -> dict[str, str]:
        """The labels of this order's image.

        Args:
            dockerfile: its text.
        """
        return {
            labels.INSTALLATION: self._installation,
            labels.BUILD: order.key,
            labels.APP: order.app,
            labels.SHA: order.sha,
            labels.EXPOSE: " ".join(exposed(dockerfile, order.recipe.arguments, order.recipe.target)),
        }

    def tag(self, order: BuildOrder) -> str:
        """Its name, for people who read `docker images`."""
        return self._tag(order.app, order.key)

    def _tag(self, app: str, key: str) -> str:
        slug = slugify(app)[:NAME_LENGTH].strip("-") or "app"
        return f"stager/{self._installation}-{slug}:{key}"

    async def find(self, app: str, key: str) -> str | None:
        """The id of the image with this key; None when there is none. By its name, which is the newest one's:
        a list of all images takes Docker 100 us for each that there is."""
        with suppress(Fault):
            found = await self.inspect(self._tag(app, key))
            marks = (found.get("Config") or {}).get("Labels") or {}
            if marks.get(labels.BUILD) == key and self._is_ours({**found, "Labels": marks}):
                return str(found["Id"])
        return None

    async def inspect(self, image: str) -> dict[str, Any]:
        """All that Docker knows of an image. Raises `Fault` (`image-missing`) when it isn't there."""
        with engine_errors():
            try:
                return await self._docker.images.inspect(image)
            except aiodocker.DockerError as error:
                if error.status >= 500:
                    raise
                raise Fault(f"There is no image {image} on this machine.", reason="image-missing") from error

    async def sweep(self, keep: Collection[str], building: Collection[str]) -> int:
        """Remove the images that aren't kept, aren't used and aren't being made. Returns how many went.

        Args:
            keep: images' ids.
            building: keys.
        """
        used = await self._used()
        unwanted = [
            image["Id"]
            for image in await self._list(labels.BUILD)
            if image["Id"] not in keep
            and image["Id"] not in used
            and image["Labels"][labels.BUILD] not in building
        ]
        return sum([await self._remove(image) for image in unwanted])

    async def _remove(self, image: str) -> bool:
        with engine_errors():
            try:
                await self._docker.images.delete(image)
            except aiodocker.DockerError as error:
                if error.status not in (404, 409):  # it is gone, or it has come into use
                    raise
                return False
        return True

    async def _list(self, label: str) -> list[dict[str, Any]]:
        wanted = {"label": [f"{labels.INSTALLATION}={self._installation}", label]}
        with engine_errors():
            found = await self._docker.images.list(filters=wanted)
        rows = [{**image, "RepoTags": _names(image)} for image in found]
        return [row for row in rows if self._is_ours(row)]

    def _is_ours(self, row: Mapping[str, Any]) -> bool:
        """Whether a build of ours made it. What people commit or build from one of ours has our labels as
        well, but not the name, or another one besides; and without a name, it has a parent."""
        marks = row["Labels"]
        ours = self._tag(marks.get(labels.APP, ""), marks[labels.BUILD])
        return row["RepoTags"] == [ours] or (not row["RepoTags"] and not row.get("ParentId"))

    async def _used(self) -> set[str]:
        """The ids of the images of which there are containers."""
        with engine_errors():
            containers = await self._docker.containers.list(all=1)
        return {container._container["ImageID"] for container in containers}  # noqa: SLF001 (the only way)


def facts(inspected: Mapping[str, Any]) -> ImageFacts:
    """What an image says of itself, from Docker's inspect call."""
    config = inspected.get("Config") or {}
    numbers = [port.partition("/") for port in config.get("ExposedPorts") or ()]
    ports = tuple(sorted(int(port) for port, _, protocol in numbers if protocol in ("", "tcp")))
    words = (config.get("Labels") or {}).get(labels.EXPOSE, "").split()
    first = first_port(words, dict(pair.split("=", 1) for pair in config.get("Env") or ()))
    check = (config.get("Healthcheck") or {}).get("Test") or ["NONE"]
    return ImageFacts(
        ports=ports,
        first=first if first in ports else None,  # Docker has the last word on what is exposed
        others=tuple(sorted("".join(port) for port in numbers if port[2] not in ("", "tcp"))),
        has_healthcheck=check != ["NONE"],
    )


def _names(image: Mapping[str, Any]) -> list[str]:
    return [name for name in image.get("RepoTags") or () if name != "<none>:<none>"]
