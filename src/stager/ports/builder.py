"""Builds images from source trees, for example with BuildKit through `docker buildx`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from stager.domain.leftovers import Leftover
from stager.domain.recipe import Recipe

Say = Callable[[str], None]
"""Receives one line of a build's log, without the newline."""


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """The order to build one image.

    Args:
        key: identifies the image: lower-case letters and digits. The same commit with the same recipe has the
            same key.
        app: its application; becomes a label.
        sha: the commit; becomes a label.
        tree: a folder with the commit's files.
        timeout: of the build, in seconds.
        untrusted: whether the code is untrusted. Untrusted builds have a build cache of their own.
    """

    key: str
    app: str
    sha: str
    tree: Path
    recipe: Recipe
    timeout: float
    untrusted: bool = False


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """The metadata of an image.

    Args:
        ports: the TCP ports that it exposes, including its base image's, in ascending order.
        first: the first TCP port that its own Dockerfile exposes, in the stage that was built; None where
            there is no `EXPOSE` line.
        others: other exposed ports, such as `53/udp`.
        has_healthcheck: whether it has a `HEALTHCHECK`.
        health_path: the path of the framework's health check, if the Dockerfile was generated; else empty.
        content: a digest of its layers and settings. Images of two commits that differ in their labels only
            have the same. Empty if it is unknown.
    """

    ports: tuple[int, ...] = ()
    first: int | None = None
    others: tuple[str, ...] = ()
    has_healthcheck: bool = False
    health_path: str = ""
    content: str = field(default="", compare=False)


class Builder(Protocol):
    """Builds images, and keeps them until `sweep` removes them. Every method raises `Retry` while the engine
    doesn't answer."""

    async def find(self, app: str, key: str) -> str | None:
        """The id of the image that was built for this application with this key; None when there is none."""

    async def build(self, order: BuildOrder, say: Say) -> str:
        """Build the image. Returns its id. Cancelling stops the build immediately.

        Args:
            say: receives the build's log, line by line.

        Raises:
            Fault: `build-failed`: the message names stage and step, the hint a likely cause, and the detail
                has the last lines; `build-too-slow`; `dockerfile-missing`;
                `application-ambiguous`: with `auto`, there are several; `build-refused`: the Dockerfile or
                the context is outside the tree; `disk-full`: less than the configured minimum is free;
                `builder-missing`: `docker buildx` isn't installed.
        """

    async def facts(self, image: str) -> ImageFacts:
        """The metadata of an image. Raises `Fault` (`image-missing`) when there is no such image."""

    async def leftovers(self, keep: Collection[str]) -> list[Leftover]:
        """What `sweep` would remove now: images, and the build cache beyond its limit. Expensive: it may take
        seconds."""

    async def sweep(self, keep: Collection[str]) -> int:
        """Remove the images that Stager built, except these ids and those that a container uses. Images
        without Stager's label are never removed. Returns the number of removed images."""
