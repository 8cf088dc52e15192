"""Share links in the API."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from stager.control.environments.share_links import MAX_LIFETIME, MIN_LIFETIME
from stager.web.api.environments import ANSWERS, Id
from stager.web.context import Control, Known

router = APIRouter(prefix="/api/v1", tags=["share links"], responses=ANSWERS)

Link = Annotated[str, Path(description="The link's id.", max_length=64)]


class ShareBody(BaseModel):
    """What link to make."""

    expires_in: int = Field(
        default=7 * 86_400,
        ge=int(MIN_LIFETIME.total_seconds()),
        le=int(MAX_LIFETIME.total_seconds()),
        description="How many seconds it is good for.",
    )
    note: str = Field(default="", max_length=200, description="For whom or what it is.")


class ShareLinkView(BaseModel):
    """A link by which anybody may see a private preview for a while."""

    id: str
    note: str
    made_by: str
    created_at: datetime
    expires_at: datetime


class NewShareLinkView(ShareLinkView):
    """A link that was just made."""

    url: str = Field(description="What to send. It isn't shown again.")


@router.get("/environments/{environment}/share-links")
async def list_share_links(control: Control, actor: Known, environment: Id) -> list[ShareLinkView]:
    """A private preview's links that are good, oldest first."""
    links = await control.environments.share_links.links(environment, actor)
    return [ShareLinkView.model_validate(link, from_attributes=True) for link in links]


@router.post("/environments/{environment}/share-links", status_code=201)
async def share(control: Control, actor: Known, environment: Id, body: ShareBody) -> NewShareLinkView:
    """Make a link to a private preview."""
    good_for = timedelta(seconds=body.expires_in)
    link, url = await control.environments.share_links.create(environment, good_for, body.note, actor)
    shown = ShareLinkView.model_validate(link, from_attributes=True)
    return NewShareLinkView(**shown.model_dump(), url=url)


@router.delete("/environments/{environment}/share-links/{link}", status_code=204)
async def withdraw(control: Control, actor: Known, environment: Id, link: Link) -> Response:
    """Withdraw a link, at once; also from those who came in by it."""
    await control.environments.share_links.revoke(environment, link, actor)
    return Response(status_code=204)
