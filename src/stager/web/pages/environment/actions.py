"""The buttons of a preview's page. They need the same permissions as the API.

Forms carry the generation that the page showed: one that is sent twice, or from an outdated page, deploys
once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from stager.control.control_plane import ControlPlane
from stager.domain.identity.access_policy import MAX_PATH, safe_path
from stager.domain.identity.actor import Actor
from stager.web.api.router import Id
from stager.web.context import Control, Known
from stager.web.pages.frame import frame_of
from stager.web.pages.rendering import SECURITY, render
from stager.web.pages.sign_in import check_origin
from stager.web.request_body import form_of

router = APIRouter(include_in_schema=False)

PATH = "/previews/{environment}"
MAX_DIGITS = 10
LinkId = Annotated[str, Path(max_length=64)]
LIFETIMES = {1: "1 hour", 24: "1 day", 168: "1 week", 720: "30 days"}
"""Hours that a share link may be valid for."""


class ActionForm(BaseModel):
    """The form of an action.

    Args:
        to: the path of the page to return to; empty for the preview's.
        generation: the one that the page showed; empty for any.
    """

    to: str = Field("", max_length=MAX_PATH)
    generation: str = Field("", max_length=MAX_DIGITS, pattern="^[0-9]*$")

    @property
    def seen(self) -> int | None:
        """The generation that the page showed; None if the form doesn't say."""
        return int(self.generation) if self.generation else None


class ApprovalForm(BaseModel):
    """The commit of a fork that was reviewed."""

    sha: str = Field(max_length=64)


class ShareForm(BaseModel):
    """The share link to create."""

    hours: int = Field(24, ge=1, le=720)
    note: str = Field("", max_length=200)


Act = Callable[[ControlPlane, str, Actor, int | None], Awaitable[object]]
"""Carries out an action on the environment of an id, unless its generation is another one than this."""

ACTIONS: Mapping[str, Act] = {
    "redeploy": lambda control, id_, actor, seen: control.environments.commands.redeploy(id_, actor, seen),
    "rollback": lambda control, id_, actor, seen: control.environments.rollback.roll_back(
        id_, actor, generation=seen
    ),
    "reset": lambda control, id_, actor, seen: control.environments.commands.reset(id_, actor, seen),
    "pin": lambda control, id_, actor, _: control.environments.commands.pin(id_, actor),
    "extend": lambda control, id_, actor, _: control.environments.commands.extend(id_, actor),
    "sleep": lambda control, id_, actor, _: control.environments.power.sleep_by(id_, actor),
    "wake": lambda control, id_, actor, _: control.environments.power.wake_by(id_, actor),
    "remove": lambda control, id_, actor, _: control.environments.commands.kill_by_id(id_, actor),
}
"""The buttons that lead back to the page, by the last part of their path."""


def _add_route(name: str, act: Act) -> None:
    async def endpoint(request: Request, control: Control, actor: Known, environment: Id) -> Response:
        check_origin(request)
        form = await form_of(request, ActionForm)
        await act(control, environment, actor, form.seen)
        return _back(environment, form)

    router.add_api_route(f"{PATH}/{name}", endpoint, methods=["POST"], name=name)


for _name, _act in ACTIONS.items():
    _add_route(_name, _act)


@router.post(PATH + "/approve")
async def approve(request: Request, control: Control, actor: Known, environment: Id) -> Response:
    """Allow one commit from a fork to run."""
    check_origin(request)
    form = await form_of(request, ApprovalForm)
    await control.environments.commands.approve(environment, form.sha, actor)
    return RedirectResponse(f"/previews/{environment}", 303, headers=SECURITY)


@router.post(PATH + "/share")
async def share(request: Request, control: Control, actor: Known, environment: Id) -> Response:
    """Create a share link and show it. Its URL isn't stored, so the response isn't a redirect."""
    check_origin(request)
    form = await form_of(request, ShareForm)
    link, url = await control.environments.share_links.create(
        environment, timedelta(hours=form.hours), form.note, actor
    )
    row = await control.environments.queries.row(environment, actor)
    frame = await frame_of(control, actor, "previews")
    return render("share-link.html", frame=frame, link=link, url=url, name=row.environment.name)


@router.post(PATH + "/share-links/{link}/revoke")
async def revoke(request: Request, control: Control, actor: Known, environment: Id, link: LinkId) -> Response:
    """Revoke a share link."""
    check_origin(request)
    await control.environments.share_links.revoke(environment, link, actor)
    return RedirectResponse(f"/previews/{environment}", 303, headers=SECURITY)


def _back(environment: str, form: ActionForm) -> Response:
    to = safe_path(form.to) if form.to else f"/previews/{environment}"
    return RedirectResponse(to, 303, headers=SECURITY)
