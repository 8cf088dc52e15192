"""Pictures of previews: what was taken, and the pictures themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from stager.control.control_plane import ControlPlane
from stager.domain.identity.actor import Actor
from stager.ports.pictures import Picture
from stager.web.api.environments import ANSWERS, Id
from stager.web.context import Control, Known
from stager.web.problems import Problem

router = APIRouter(prefix="/api/v1", tags=["environments"], responses=ANSWERS)

Key = Annotated[str, Path(description="The picture's key.", max_length=64)]

HEADERS = {
    "Cache-Control": "private, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Content-Disposition": "inline",
}
"""A picture's key identifies its content."""


class PictureView(BaseModel):
    """A picture of one page."""

    route: str = Field(description="The path of the page.")
    width: int = Field(description="Of the screen, in pixels.")
    path: str | None = Field(description="Where Stager serves the picture; null if there is none.")
    status: int = Field(description="The page's HTTP status; 0 if unknown.")
    problems: list[str] = Field(description="Console errors and failed requests.")
    failed: str = Field(description="Why there is no picture; empty if there is one.")
    changed: float | None = Field(
        description="The share of pixels that differ from the base branch's preview, from 0 to 1; null if "
        "there is nothing to compare with."
    )
    before_path: str | None = Field(
        description="Where Stager serves the base branch's picture; null if there is none."
    )

    @classmethod
    def of(cls, environment: str, one: Picture) -> PictureView:
        """Return the view of a picture."""
        return cls(
            route=one.view.route,
            width=one.view.width,
            path=_path(environment, one.key),
            status=one.status,
            problems=list(one.problems),
            failed=one.failed,
            changed=one.changed,
            before_path=_path(environment, one.before),
        )


def _path(environment: str, key: str) -> str | None:
    return f"/api/v1/environments/{environment}/pictures/{key}.png" if key else None


class PicturesView(BaseModel):
    """The pictures of a preview."""

    enabled: bool = Field(description="Whether Stager takes pictures.")
    deployment: str | None = Field(description="The deployment that they show; null before the first.")
    taken_at: datetime | None
    reason: str = Field(description="Why there are none, as a slug; empty otherwise.")
    message: str
    hint: str
    compared_with: str = Field(description="The preview of the base branch; empty for none.")
    pictures: list[PictureView]


def in_percent(changed: float) -> str:
    """Return a share of changed pixels in words. A small one isn't called none."""
    if not changed:
        return "unchanged"
    return "less than 0.1 % changed" if changed < 0.001 else f"{changed * 100:.1f} % changed"


async def pictures_view(control: ControlPlane, environment: str, actor: Actor) -> PicturesView:
    """The pictures of a preview. Raises `Refused` (404) unless the actor may see it."""
    album = await control.pictures.album(environment, actor)
    return PicturesView(
        enabled=control.pictures.are_taken,
        deployment=album.deployment if album else None,
        taken_at=album.taken_at if album else None,
        reason=album.reason if album else "",
        message=album.message if album else "",
        hint=album.hint if album else "",
        compared_with=album.compared_with if album else "",
        pictures=[PictureView.of(environment, each) for each in album.pictures] if album else [],
    )


@router.get("/environments/{environment}/pictures")
async def list_pictures(control: Control, actor: Known, environment: Id) -> PicturesView:
    """List the pictures of a preview's pages."""
    return await pictures_view(control, environment, actor)


@router.get(
    "/environments/{environment}/pictures/{key}.png",
    response_class=Response,
    responses={
        200: {"content": {"image/png": {}}, "description": "The picture."},
        410: {"description": "There is no such picture any more.", "model": Problem},
    },
)
async def get_picture(control: Control, actor: Known, environment: Id, key: Key) -> Response:
    """Get a picture as PNG."""
    picture = await control.pictures.picture(environment, key, actor)
    return Response(picture, media_type="image/png", headers=HEADERS)
