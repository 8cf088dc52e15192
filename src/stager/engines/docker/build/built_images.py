"""Built images: finding, inspecting, tagging and removing them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiodocker

from stager.domain.errors import Fault
from stager.domain.leftovers import Leftover, LeftoverKind
from stager.domain.names import slugify
from stager.engines.docker import labels
from stager.engines.docker.client import engine_errors, request_json
from stager.ports.builder import BuildOrder, ImageFacts
from stager.project.dockerfile import exposed, first_port

NAME_LENGTH = 60
"""Maximum characters of an application's name in a tag."""


class BuiltImages:
    """The images of one installation.

    Args:
        installation: the installation's id, for names and labels.
    """

    def __init__(self, docker: aiodocker.Docker, installation: str) -> None:
        self._docker = docker
        self._installation = installation

    def labels(self, order: BuildOrder, dockerfile: str, health_path: str) -> dict[str, str]:
        """The labels of this order's image.

        Args:
            dockerfile: its text.
            health_path: of the framework that the Dockerfile was generated for; empty for none.
        """
        return {
            labels.INSTALLATION: self._installation,
            labels.BUILD: order.key,
            labels.APP: order.app,
            labels.SHA: order.sha,
            labels.EXPOSE: " ".join(exposed(dockerfile, order.recipe.arguments, order.recipe.target)),
            labels.HEALTH_PATH: health_path,  # also if empty: overrides a LABEL of the Dockerfile
        }

    def tag(self, order: BuildOrder) -> str:
        """The image's tag."""
        return self._tag(order.app, order.key)

    def _tag(self, app: str, key: str) -> str:
        slug = slugify(app)[:NAME_LENGTH].strip("-") or "app"
        return f"stager/{self._installation}-{slug}:{key}"

    async def name(self, image: str, order: BuildOrder) -> None:
        """Tag an image without a name. Raises `Fault` (`image-missing`) if it doesn't exist."""
        repository, _, tag = self.tag(order).rpartition(":")
        with engine_errors():
            try:
                await self._docker.images.tag(image, repository, tag=tag)
            except aiodocker.DockerError as error:
                raise Fault(f"There is no image {image} on this machine.", reason="image-missing") from error

    async def find(self, app: str, key: str) -> str | None:
        """The id of the image with this key; None for none. Looked up by its tag: listing all images takes
        Docker 100 us per image."""
        with suppress(Fault):
            found = await self.inspect(self._tag(app, key))
            if self._is_ours(_Row.of(found, (found.get("Config") or {}).get("Labels"))):
                return str(found["Id"])
        return None

    async def inspect(self, image: str) -> dict[str, Any]:
        """Inspect an image. Raises `Fault` (`image-missing`) if it doesn't exist."""
        with engine_errors():
            try:
                return await self._docker.images.inspect(image)
            except aiodocker.DockerError as error:
                if error.status >= 500:
                    raise
                raise Fault(f"There is no image {image} on this machine.", reason="image-missing") from error

    async def sweep(self, keep: Collection[str], building: Collection[str]) -> int:
        """Remove images that are neither kept nor used nor being built. Returns the number of removed ones.

        Args:
            keep: images' ids.
            building: keys.
        """
        return sum([await self._remove(row) for row in await self._unwanted(keep, building)])

    async def leftovers(self, keep: Collection[str], building: Collection[str]) -> list[Leftover]:
        """What `sweep` would remove.

        Args:
            keep, building: see `sweep`.
        """
        unwanted = await self._unwanted(keep, building)
        own_sizes = await self._own_sizes() if unwanted else {}
        return [row.leftover(own_sizes.get(row.id)) for row in unwanted]

    async def _unwanted(self, keep: Collection[str], building: Collection[str]) -> list[_Row]:
        used = await self._used()
        return [
            row
            for row in await self._list()
            if row.id not in keep and row.id not in used and not row.keys & set(building)
        ]

    async def _own_sizes(self) -> dict[str, int]:
        """The bytes of each image that no other image shares, by its id; empty if Docker doesn't compute
        them, which it does for one caller at a time."""
        try:
            shown = await request_json(self._docker, "system/df")
        except (aiodocker.DockerError, TimeoutError):
            return {}
        images = shown.get("Images") or ()
        return {each["Id"]: each["Size"] - max(0, each.get("SharedSize") or 0) for each in images}

    async def _remove(self, row: _Row) -> bool:
        """Remove an image: all its tags but one, then its id. Docker refuses to remove an id with several
        tags."""
        return all([await self._delete(name) for name in (*row.names[1:], row.id)])

    async def _delete(self, image: str) -> bool:
        with engine_errors():
            try:
                await self._docker.images.delete(image)
            except aiodocker.DockerError as error:
                if error.status not in (404, 409):  # It was removed, or is in use.
                    raise
                return False
        return True

    async def _list(self) -> list[_Row]:
        """All images of this installation's builds, by label and by name. A Dockerfile's `# syntax=` line
        may choose a frontend that sets no labels, or wrong ones."""
        by_label = {"label": [f"{labels.INSTALLATION}={self._installation}", labels.BUILD]}
        by_name = {"reference": [f"{self._prefix}*"]}
        with engine_errors():
            found = [
                image
                for wanted in (by_label, by_name)
                for image in await self._docker.images.list(filters=wanted)
            ]
        rows = {image["Id"]: _Row.of(image, image.get("Labels")) for image in found}
        return [row for row in rows.values() if self._is_ours(row)]

    @property
    def _prefix(self) -> str:
        """The prefix of this installation's names; unique, because installation ids contain no `-`."""
        return f"stager/{self._installation}-"

    def _is_ours(self, row: _Row) -> bool:
        """Whether a build of this installation created it. Names decide, because only Stager gives them.
        Images that people commit or build from one of these inherit the labels, but have no such name, or
        another one, too; without a name, they have a parent."""
        if not row.names:
            return row.marks.get(labels.INSTALLATION) == self._installation and not row.has_parent
        other = row.marks.get(labels.INSTALLATION, self._installation)
        is_anothers = other != self._installation and row.names[0].startswith(f"stager/{other}-")
        return all(name.startswith(self._prefix) for name in row.names) and not is_anothers

    async def _used(self) -> set[str]:
        """Ids of the images of existing containers."""
        with engine_errors():
            containers = await self._docker.containers.list(all=1)
        return {container["ImageID"] for container in containers}


@dataclass(frozen=True, slots=True)
class _Row:
    """An image as Docker lists it.

    Args:
        names: its tags; may be empty.
        marks: its labels.
        has_parent: whether it was created from another image on this machine, as by `docker commit`.
    """

    id: str
    names: tuple[str, ...]
    marks: Mapping[str, str]
    has_parent: bool

    @classmethod
    def of(cls, image: Mapping[str, Any], marks: Mapping[str, str] | None) -> _Row:
        names = tuple(name for name in image.get("RepoTags") or () if name != "<none>:<none>")
        return cls(image["Id"], names, marks or {}, bool(image.get("ParentId") or image.get("Parent")))

    def leftover(self, size: int | None) -> Leftover:
        """The image as what garbage collection removes."""
        commit, app = self.marks.get(labels.SHA, "")[:7], self.marks.get(labels.APP, "")
        of = f"commit {commit} of {app}" if commit and app else "a build"
        why = f"the image of {of}, which no preview runs or may be rolled back to"
        return Leftover(LeftoverKind.IMAGE, next(iter(self.names), self.id), why, size=size)

    @property
    def keys(self) -> set[str]:
        """The keys of its builds: those in its names, or in its label if it has no name."""
        return {name.rpartition(":")[2] for name in self.names} or {self.marks.get(labels.BUILD, "")}


def facts(inspected: Mapping[str, Any]) -> ImageFacts:
    """The facts in the response of Docker's inspect call."""
    config = inspected.get("Config") or {}
    numbers = [port.partition("/") for port in config.get("ExposedPorts") or ()]
    ports = tuple(sorted(int(port) for port, _, protocol in numbers if protocol in ("", "tcp")))
    marks = config.get("Labels") or {}
    words = marks.get(labels.EXPOSE, "").split()
    first = first_port(words, dict(pair.split("=", 1) for pair in config.get("Env") or ()))
    check = (config.get("Healthcheck") or {}).get("Test") or ["NONE"]
    return ImageFacts(
        ports=ports,
        first=first if first in ports else None,  # Docker's list of exposed ports decides.
        others=tuple(sorted("".join(port) for port in numbers if port[2] not in ("", "tcp"))),
        has_healthcheck=check != ["NONE"],
        health_path=marks.get(labels.HEALTH_PATH, ""),
        content=_content(inspected, config),
    )


def _content(inspected: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    settings = {key: value for key, value in config.items() if key not in ("Labels", "Image")}
    text = json.dumps([inspected["RootFS"]["Layers"], settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
