"""What makes images of source trees, such as BuildKit by `docker buildx`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stager.domain.recipe import Recipe

Say = Callable[[str], None]
"""Takes one line of a build's log, without its line end."""


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """One image to be made.

    Args:
        key: what tells this image from every other: lower-case letters and digits. The same commit built by
            the same recipe has the same key.
        app: the application it is for; becomes a label.
        sha: the commit; becomes a label.
        tree: a folder with the commit's files.
        timeout: seconds until it is given up.
        untrusted: whether its code is a stranger's: what its steps keep for later builds is then kept for
            strangers alone.
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
    """What an image says of itself.

    Args:
        ports: the TCP ports that it exposes, its base image's too, lowest first.
        first: the first TCP port that its own Dockerfile exposes, in the stage that was built; None where
            that has no `EXPOSE` line.
        others: what it exposes besides, such as `53/udp`.
        has_healthcheck: whether it has a `HEALTHCHECK`.
    """

    ports: tuple[int, ...] = ()
    first: int | None = None
    others: tuple[str, ...] = ()
    has_healthcheck: bool = False


class Builder(Protocol):
    """Makes images, and keeps those that it made until they are swept. Every method raises `Retry` while the
    engine doesn't answer."""

    async def find(self, app: str, key: str) -> str | None:
        """The id of the image that was made for this application by this key; None when there is none (any
        more)."""

    async def build(self, order: BuildOrder, say: Say) -> str:
        """Make the image, and return its id. Cancelling it ends the build at once.

        Args:
            say: hears the build's log, line by line, as it comes.

        Raises:
            Fault: `build-failed`: the message names stage and step, the hint a likely cause, and the detail
                has the last lines; `build-too-slow`; `dockerfile-missing`; `build-refused`: the Dockerfile or
                the context leads out of the tree; `disk-full`: less is free than the floor asks for;
                `builder-missing`: `docker buildx` isn't there.
        """

    async def facts(self, image: str) -> ImageFacts:
        """What an image says of itself. Raises `Fault` (`image-missing`) when it isn't there."""

    async def sweep(self, keep: Collection[str]) -> int:
        """Remove the images that we made, but for these ids and those that a container uses. Never one that
        bears another label, or none. Returns how many went."""
