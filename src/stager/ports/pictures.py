"""Pictures of previews: what takes and compares them, and where they are stored."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from stager.domain.pictures import Box, PictureOptions, View

MEMORY_SHORT = "memory-short"
"""The reason of an album whose pictures are taken once more memory is available."""


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
        before: the key of the base's picture, of which the album has a copy; empty without one.
    """

    view: View
    key: str
    status: int = 0
    problems: tuple[str, ...] = ()
    failed: str = ""
    changed: float | None = None
    before: str = ""


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

    @property
    def is_final(self) -> bool:
        """Whether the deployment gets no other pictures."""
        return self.reason != MEMORY_SHORT

    @property
    def cover(self) -> str:
        """The key of the picture that stands for the preview in lists; empty if there is none."""
        return next((each.key for each in self.pictures if each.key), "")

    @property
    def keys(self) -> frozenset[str]:
        """The keys of all its pictures, those of the base included."""
        return frozenset({key for each in self.pictures for key in (each.key, each.before) if key})


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

    async def compare(self, before: bytes, after: bytes, ignored: Sequence[Box] = ()) -> float:
        """The share of pixels that differ, from 0 to 1, of those outside the ignored boxes. Pictures of
        different size differ also where one of them has no pixel."""

    async def thumbnail(self, png: bytes) -> bytes:
        """A small copy of a picture for lists, as JPEG of some kilobytes."""


class Albums(Protocol):
    """Stores the pictures of each preview's newest photographed deployment."""

    async def load(self, environment_id: str) -> Album | None:
        """The album of this environment; None if it has none."""

    async def save(
        self, environment_id: str, album: Album, pictures: Mapping[str, bytes], thumbnail: bytes = b""
    ) -> None:
        """Replace the album of this environment.

        Args:
            pictures: each picture of the album by its key.
            thumbnail: of the cover.
        """

    async def picture(self, environment_id: str, key: str) -> bytes | None:
        """A picture of this environment; None if there is none."""

    async def thumbnail(self, environment_id: str, key: str) -> bytes | None:
        """The small copy of the cover with this key; None if there is none."""

    async def keep(self, environment_ids: Collection[str]) -> int:
        """Remove the albums of all other environments; returns their number."""


@dataclass(frozen=True, slots=True)
class PicturePorts:
    """What pictures need."""

    photographer: Photographer
    albums: Albums
    options: PictureOptions = field(default_factory=PictureOptions)
