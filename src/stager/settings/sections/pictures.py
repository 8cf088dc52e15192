"""The section `pictures`: what is photographed of each preview."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stager.settings.values.scalars import NOT_BOOLEAN
from stager.settings.values.section import Section

MAX_PICTURES = 4

Route = Annotated[str, Field(pattern=r"^/[^\s#\\]{0,200}$")]
Width = Annotated[int, Field(ge=200, le=3840), NOT_BOOLEAN]


class PictureSettings(Section):
    """Pictures of each preview's pages, taken by a browser in a container once the preview is live. See
    [Pictures of previews](../how-to/pictures.md)."""

    image: str = ""
    """An image with `chromium` and `python3`, such as `stager-base/chromium:1`. If absent, no pictures are
    taken."""

    routes: Annotated[tuple[Route, ...], Field(min_length=1, max_length=MAX_PICTURES)] = ("/",)
    """Paths of the pages, at most 4."""

    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=MAX_PICTURES)] = (1280,)
    """Widths of the screens in pixels, at most 4: `[1280, 375]` has a desktop and a phone."""
