"""What is photographed of a preview: which pages, how wide, and which parts of a picture don't count when
pictures are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

InComments = Literal["links", "public", "all"]
"""What a pull request's comment shows: `links` no pictures; `public` those of public previews; `all` also
those of private ones."""


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
class Box:
    """A part of pictures in which differences don't count, in pixels from the upper left corner.

    Args:
        route: the page that it is of; empty for all.
        screen: the width of the screen that it is of; 0 for all.
    """

    x: int
    y: int
    width: int
    height: int
    route: str = ""
    screen: int = 0

    def is_of(self, view: View) -> bool:
        """Whether it applies to a picture of this view."""
        return self.route in ("", view.route) and self.screen in (0, view.width)


@dataclass(frozen=True, slots=True)
class PictureSpec:
    """What is photographed. Empty values leave it to the configuration.

    Args:
        ignored: what doesn't count when pictures are compared.
    """

    routes: tuple[str, ...] = ()
    widths: tuple[int, ...] = ()
    ignored: tuple[Box, ...] = ()

    def views(self, configured: PictureSpec) -> list[View]:
        """Each page in each width, as this says or else the configuration."""
        routes, widths = self.routes or configured.routes, self.widths or configured.widths
        return [View(route, width) for route in routes for width in widths]

    def ignored_of(self, view: View) -> Sequence[Box]:
        """What doesn't count in pictures of this view."""
        return [box for box in self.ignored if box.is_of(view)]


@dataclass(frozen=True, slots=True)
class PictureOptions:
    """What the configuration says about pictures.

    Args:
        spec: for code whose repository file doesn't say otherwise.
        forks: whether code from forks is opened in the browser.
    """

    spec: PictureSpec = field(default_factory=lambda: PictureSpec(("/",), (1280, 375)))
    forks: bool = False
    in_comments: InComments = "public"
