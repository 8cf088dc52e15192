"""The page "Why is there no preview?": a form, and the answer about a pull request or branch."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from stager.domain.errors import Refused
from stager.domain.pull_requests.why import LONGEST_TARGET
from stager.web.api.why import why_view
from stager.web.context import Control, Known
from stager.web.pages.frame import frame_of
from stager.web.pages.rendering import render

router = APIRouter(include_in_schema=False)

PATH = "/why"


@router.get(PATH)
async def why(control: Control, actor: Known, target: str = "") -> Response:
    """Show why a pull request or branch has no preview."""
    target = target.strip()[:LONGEST_TARGET]
    answer, error = None, None
    try:
        answer = await why_view(control, target, actor) if target else None
    except Refused as refused:
        error = refused
    return render(
        "why.html",
        frame=await frame_of(control, actor, "why"),
        status=error.status if error else 200,
        target=target,
        answer=answer,
        error=f"{error.message} {error.hint}" if error else "",
    )
