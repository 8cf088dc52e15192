"""The section `pictures` of the configuration and of the repository file: what is photographed of each
preview."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, Field

from stager.domain.pictures import Box, InComments, PictureOptions, PictureSpec
from stager.settings.loading.refusals import InvalidValue
from stager.settings.values.scalars import NOT_BOOLEAN
from stager.settings.values.section import Section

Value = TypeVar("Value")

MAX_ROUTES, MAX_WIDTHS, MAX_BOXES = 4, 2, 50
"""Each route is opened in each width, and all of that takes 60 seconds at most."""
LARGEST = 3840
"""Pixels."""

_ROUTE = r"/[^\s#\\]{0,200}"


def _route(value: str) -> str:
    if not re.fullmatch(_ROUTE, value):
        raise InvalidValue('should be the path of a page such as "/cart", of 200 characters at most')
    return value


def _at_most(count: int) -> AfterValidator:
    def check(values: tuple[Value, ...]) -> tuple[Value, ...]:
        if len(values) > count:
            raise InvalidValue(f"has {len(values)} values; at most {count} are possible")
        return values

    return AfterValidator(check)


Route = Annotated[str, AfterValidator(_route), Field(json_schema_extra={"pattern": f"^{_ROUTE}$"})]
Width = Annotated[int, Field(ge=200, le=LARGEST), NOT_BOOLEAN]
Offset = Annotated[int, Field(ge=0, le=LARGEST), NOT_BOOLEAN]
Length = Annotated[int, Field(ge=1, le=LARGEST), NOT_BOOLEAN]


class PictureSettings(Section):
    """Pictures of each preview's pages, taken by a browser in a container once the preview is live. See
    [Pictures of previews](../how-to/pictures.md)."""

    image: str = ""
    """An image with `chromium` and `python3`, such as `stager-base/chromium:1`. If absent, no pictures are
    taken."""

    routes: Annotated[tuple[Route, ...], Field(min_length=1), _at_most(MAX_ROUTES)] = ("/",)
    """Paths of the pages, at most 4."""

    widths: Annotated[tuple[Width, ...], Field(min_length=1), _at_most(MAX_WIDTHS)] = (1280, 375)
    """Widths of the screens in pixels, at most 2."""

    forks: Literal["never", "allow"] = "never"
    """Whether code from forks is opened in the browser."""

    comments: InComments = "public"
    """What a pull request's comment shows: `public` has the pictures of public previews, `all` also those of
    private ones, `links` none. Whoever reads the pull request sees them, by links that work without signing
    in for 30 days."""

    @property
    def options(self) -> PictureOptions:
        """As the control plane uses them."""
        return PictureOptions(PictureSpec(self.routes, self.widths), self.forks == "allow", self.comments)


class IgnoredBox(Section):
    """A part of the pictures in which differences don't count."""

    x: Offset
    """Pixels from the left edge."""

    y: Offset
    """Pixels from the upper edge."""

    width: Length
    """Pixels."""

    height: Length
    """Pixels."""

    route: Annotated[Route | None, Field(examples=["/cart"])] = None
    """Path of the page; if absent, all pages."""

    screen: Annotated[Width | None, Field(examples=["1280"])] = None
    """Width of the screen; if absent, all widths."""

    @property
    def box(self) -> Box:
        """As a value."""
        return Box(self.x, self.y, self.width, self.height, self.route or "", self.screen or 0)


class RepositoryPictures(Section):
    """What is photographed of each preview, where the configuration has switched pictures on."""

    form: ClassVar = "{routes: [/, /cart]}"

    routes: Annotated[tuple[Route, ...], _at_most(MAX_ROUTES), Field(examples=["[/, /cart]"])] = ()
    """Paths of the pages, at most 4. If empty, those of the configuration."""

    widths: Annotated[tuple[Width, ...], _at_most(MAX_WIDTHS), Field(examples=["[1280, 375]"])] = ()
    """Widths of the screens in pixels, at most 2. If empty, those of the configuration."""

    ignore: Annotated[
        tuple[IgnoredBox, ...],
        _at_most(MAX_BOXES),
        Field(examples=["[{x: 0, y: 0, width: 300, height: 40}]"]),
    ] = ()
    """Parts of the pictures in which differences from the base branch don't count, at most 50."""

    @property
    def spec(self) -> PictureSpec:
        """As a value."""
        return PictureSpec(self.routes, self.widths, tuple(each.box for each in self.ignore))
