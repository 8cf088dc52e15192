"""The API for share links."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Path, Response
from pydantic import BaseModel, Field

from stager.control.environments.share_links import MAX_LIFETIME, MIN_LIFETIME
from stager.web.api.router import Id, api_router
from stager.web.context import Control, Known

router = api_router("share links")

Link = Annotated[str, Path(description="The link's id.", max_length=64)]


class ShareBody(BaseModel):
    """The link to create."""

    expires_in: int = Field(
        default=7 * 86_400,
        ge=int(MIN_LIFETIME.total_seconds()),
        le=int(MAX_LIFETIME.total_seconds()),
        description="Lifetime in seconds.",
    )
    note: str = Field(default="", max_length=200, description="For whom or what the link is.")


class ShareLinkView(BaseModel):
    """A link that gives access to a private preview for a limited time."""

    id: str
    note: str
    created_by: str
    created_at: datetime
    expires_at: datetime


class NewShareLinkView(ShareLinkView):
    """A new link, with its URL."""

    url: str = Field(description="The URL to share. It can't be retrieved later.")


@router.get("/environments/{environment}/share-links")
async def list_share_links(control: Control, actor: Known, environment: Id) -> list[ShareLinkView]:
    """List a private preview's valid links, oldest first."""
    links = await control.environments.share_links.links(environment, actor)
    return [ShareLinkView.model_validate(link, from_attributes=True) for link in links]


@router.post("/environments/{environment}/share-links", status_code=201)
async def share(control: Control, actor: Known, environment: Id, body: ShareBody) -> NewShareLinkView:
    """Create a link to a private preview."""
    lifetime = timedelta(seconds=body.expires_in)
    link, url = await control.environments.share_links.create(environment, lifetime, body.note, actor)
    shown = ShareLinkView.model_validate(link, from_attributes=True)
    return NewShareLinkView(**shown.model_dump(), url=url)


@router.delete("/environments/{environment}/share-links/{link}", status_code=204)
async def revoke(control: Control, actor: Known, environment: Id, link: Link) -> Response:
    """Revoke a link immediately, also for visitors who used it."""
    await control.environments.share_links.revoke(environment, link, actor)
    return Response(status_code=204)
