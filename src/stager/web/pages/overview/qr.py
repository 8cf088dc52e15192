"""The QR code of a preview's URL, for a phone's camera."""

from __future__ import annotations

from io import BytesIO
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import Response

from stager.control.reporting.pr_comment_template import QUIET
from stager.web.api.views import current
from stager.web.context import Control, Known
from stager.web.pages.rendering import SECURITY

router = APIRouter(include_in_schema=False)

HEADERS = SECURITY | {"Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'"}
SCALE = 8
"""Pixels of a module: large enough to be scanned from a screen at arm's length."""


@router.get("/previews/{environment}/qr.svg")
async def qr(control: Control, actor: Known, environment: Annotated[str, Path(max_length=60)]) -> Response:
    """Return the QR code as SVG. Raises `Refused` (404) unless the user may see the preview."""
    # segno costs a few megabytes, and few pages need it.
    import segno  # noqa: PLC0415

    view = await current(control, environment, actor)
    image = BytesIO()
    segno.make_qr(view.url).save(image, kind="svg", scale=SCALE, border=QUIET, dark="#000", light="#fff")
    return Response(image.getvalue(), media_type="image/svg+xml", headers=HEADERS)
