"""Pictures of previews as files for pages: the small ones of the list, and those that comments link."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import Response

from stager.control.pictures.links import PATH
from stager.web.api.pictures import HEADERS, Key
from stager.web.api.router import Id
from stager.web.context import Control, Known

router = APIRouter(include_in_schema=False)

Link = Annotated[str, Path(max_length=240)]

LINK_HEADERS = HEADERS | {"Cache-Control": "public, max-age=300"}
"""Short, so that an image proxy doesn't serve the picture for long once the preview is private."""


@router.get("/previews/{environment}/thumbnail/{key}.jpg")
async def thumbnail(control: Control, actor: Known, environment: Id, key: Key) -> Response:
    """Return the small copy of the picture that stands for a preview. Raises `Refused`: 404 unless the user
    may see the preview, 410 if it has another one by now."""
    content = await control.pictures.thumbnail(environment, key, actor)
    return Response(content, media_type="image/jpeg", headers=HEADERS)


@router.get(f"{PATH}/{{link}}.png")
async def linked(control: Control, link: Link) -> Response:
    """Return the picture of a signed link. It needs no credentials: the forge's image proxy has none."""
    return Response(await control.pictures.links.picture(link), media_type="image/png", headers=LINK_HEADERS)
