"""Pictures of previews: what takes and compares them, and where they are stored."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class View:
    """A page as seen on a screen.

    Args:
        route: the path of the page, such as `/`.
        width: pixels.
    """

    route: str
    width: int


@dataclass(frozen=True, slots=True)
class Shot:
    """What a browser saw.

    Args:
        png: empty if no picture could be taken.
        status: the HTTP status of the page; 0 if there is none.
        problems: console errors and failed requests, as the page reports them.
        failed: why there is no picture; empty if there is one.
    """

    view: View
    png: bytes = field(default=b"", repr=False)
    status: int = 0
    problems: tuple[str, ...] = ()
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A stored picture.

    Args:
        key: identifies its content; empty if none could be taken.
        changed: the share of pixels that differ from the base's picture, from 0 to 1; None without one.
    """

    view: View
    key: str
    status: int = 0
    problems: tuple[str, ...] = ()
    failed: str = ""
    changed: float | None = None


@dataclass(frozen=True, slots=True)
class Album:
    """The pictures of one deployment.

    Args:
        deployment: its id.
        reason: why there are none, as a slug; empty if there are some.
        compared_with: the name of the preview that they are compared with; empty for none.
    """

    deployment: str
    taken_at: datetime
    pictures: tuple[Picture, ...] = ()
    reason: str = ""
    message: str = ""
    hint: str = ""
    compared_with: str = ""


class Photographer(Protocol):
    """Takes pictures with a browser that is confined like the preview."""

    async def take(self, instance: str, host: str, views: Sequence[View]) -> list[Shot]:
        """Take a picture of each view.

        Args:
            instance: the engine's id of the running instance that serves the pages.
            host: the host that the pages are requested for.

        Raises:
            Retry: the engine doesn't answer, or the machine has too little memory.
            Fault: there is no browser, or it fails.
        """

    async def compare(self, before: bytes, after: bytes) -> float:
        """The share of pixels that differ, from 0 to 1. Pictures of different size differ also where one of
        them has no pixel."""


class Albums(Protocol):
    """Stores the pictures of each preview's newest photographed deployment."""

    async def load(self, environment_id: str) -> Album | None:
        """The album of this environment; None if it has none."""

    async def save(self, environment_id: str, album: Album, pictures: Sequence[bytes]) -> None:
        """Replace the album of this environment.

        Args:
            pictures: of the album's pictures that have a key, in their order.
        """

    async def picture(self, environment_id: str, key: str) -> bytes | None:
        """A picture of this environment; None if there is none."""

    async def keep(self, environment_ids: Collection[str]) -> int:
        """Remove the albums of all other environments; returns their number."""


@dataclass(frozen=True, slots=True)
class PicturePorts:
    """What pictures need.

    Args:
        views: what is taken of each preview.
    """

    photographer: Photographer
    albums: Albums
    views: Sequence[View]
