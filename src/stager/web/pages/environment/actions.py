"""The buttons of a preview's page. They need the same permissions as the API.

Forms carry the generation that the page showed: one that is sent twice, or from an outdated page, deploys
once.
"""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from stager.domain.identity.access_policy import MAX_PATH, safe_path
from stager.web.api.environments import Id
from stager.web.context import Control, Known
from stager.web.pages.frame import frame_of
from stager.web.pages.rendering import SECURITY, render
from stager.web.pages.sign_in import check_origin
from stager.web.request_body import form_of

router = APIRouter(include_in_schema=False)

PATH = "/previews/{environment}"
MAX_DIGITS = 10
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


@router.post(PATH + "/redeploy")
async def redeploy(request: Request, control: Control, actor: Known, environment: Id) -> Response:
    """Redeploy a preview."""
    check_origin(request)
    form = await form_of(request, ActionForm)
    await control.environments.commands.redeploy(environment, actor, form.seen)
    return _back(environment, form)


@router.post(PATH + "/rollback")
async def roll_back(request: Request, control: Control, actor: Known, environment: Id) -> Response:
    """Launch the last revision of a preview that was live before the current one."""
    check_origin(request)
    form = await form_of(request, ActionForm)
    await control.environments.rollback.roll_back(environment, actor, generation=form.seen)
    return _back(environment, form)


@router.post(PATH + "/reset")
async def reset(request: Request, control: Control, actor: Known, environment: Id) -> Response:
    """Replace a preview's data by the current snapshot, or by empty volumes."""
    check_origin(request)
    form = await form_of(request, ActionForm)
    await control.environments.commands.reset(environment, actor, form.seen)
    return _back(environment, form)


@router.post(PATH + "/pin")
async def pin(request: Request, control: Control, actor: Known, environment: Id) -> Response:
    """Exempt a preview from expiry and from eviction."""
    check_origin(request)
    await control.environments.commands.pin(environment, actor)
    return _back(environment, await form_of(request, ActionForm))


@router.post(PATH + "/extend")
async def extend(request: Request, control: Control, actor: Known, environment: Id) -> Response:
    """Count a preview as used now, and remove its pin."""
    check_origin(request)
    await control.environments.commands.extend(environment, actor)
    return _back(environment, await form_of(request, ActionForm))


@router.post(PATH + "/sleep")
async def sleep(request: Request, control: Control, actor: Known, environment: Id) -> Response:
    """Put a preview to sleep."""
    check_origin(request)
    await control.environments.power.sleep_by(environment, actor)
    return _back(environment, await form_of(request, ActionForm))


@router.post(PATH + "/wake")
async def wake(request: Request, control: Control, actor: Known, environment: Id) -> Response:
    """Wake a preview."""
    check_origin(request)
    await control.environments.power.wake_by(environment, actor)
    return _back(environment, await form_of(request, ActionForm))


@router.post(PATH + "/remove")
async def remove(request: Request, control: Control, actor: Known, environment: Id) -> Response:
    """Remove a preview."""
    check_origin(request)
    await control.environments.commands.kill_by_id(environment, actor)
    return _back(environment, await form_of(request, ActionForm))


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


def _back(environment: str, form: ActionForm) -> Response:
    to = safe_path(form.to) if form.to else f"/previews/{environment}"
    return RedirectResponse(to, 303, headers=SECURITY)
