"""The page on which people launch a preview: an application, and a branch or an open pull request."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from stager.control.control_plane import ControlPlane
from stager.control.environments.launch_targets import LaunchTarget
from stager.control.environments.lookup import MAX_NAME_LENGTH
from stager.domain.commands import Launch
from stager.domain.errors import Refused, StagerError
from stager.domain.identity.actor import Actor
from stager.domain.source import Change, Trust
from stager.web.context import Control, Known, Web
from stager.web.pages.frame import frame_of
from stager.web.pages.rendering import SECURITY, render
from stager.web.pages.sign_in import check_origin
from stager.web.problems import status_of
from stager.web.request_body import form_of

router = APIRouter(include_in_schema=False)

PATH = "/new"


class LaunchForm(BaseModel):
    """The form.

    Args:
        once: a token, so that the form sent twice launches once.
    """

    app: str = Field("", max_length=100)
    branch: str = Field("", max_length=MAX_NAME_LENGTH)
    once: str = Field("", max_length=64)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page shows besides the form's values.

    Args:
        unlisted: why pull requests can't be listed; empty if they can.
    """

    apps: list[str]
    changes: list[tuple[Change, bool]] = field(default_factory=list)
    unlisted: str = ""
    target: LaunchTarget | None = None
    error: StagerError | None = None


@router.get(PATH)
async def choose(
    control: Control,
    actor: Known,
    app: Annotated[str, Query(max_length=100)] = "",
    branch: Annotated[str, Query(max_length=MAX_NAME_LENGTH)] = "",
) -> Response:
    """Show the form, with the URL of the preview once a branch is chosen."""
    return await _page(control, actor, LaunchForm(app=app, branch=branch.strip(), once=""))


@router.post(PATH)
async def launch(request: Request, control: Control, web: Web, actor: Known) -> Response:
    """Launch the preview and show its page."""
    check_origin(request)
    form = await form_of(request, LaunchForm)
    branch = form.branch.strip()

    async def create() -> str:
        return (await control.environments.commands.launch(Launch(form.app, branch), actor)).id

    try:
        if form.once:
            environment = await web.launches.run((str(actor), form.once, form.app, branch), create)
        else:
            environment = await create()
    except StagerError as error:
        return await _page(control, actor, form, error)
    return RedirectResponse(f"/previews/{environment}", 303, headers=SECURITY)


async def _page(
    control: ControlPlane, actor: Actor, form: LaunchForm, error: StagerError | None = None
) -> Response:
    apps = await control.environments.launch_targets.apps(actor)
    if len(apps) == 1 and not form.app:
        form = form.model_copy(update={"app": apps[0]})
    shown = await _shown(control, actor, form, apps, error)
    return render(
        "launch.html",
        frame=await frame_of(control, actor, "launch"),
        status=status_of(shown.error) if error and shown.error else 200,
        form=form,
        shown=shown,
        once=secrets.token_hex(16),
    )


async def _shown(
    control: ControlPlane, actor: Actor, form: LaunchForm, apps: list[str], error: StagerError | None
) -> Shown:
    if form.app not in apps:
        return Shown(apps, error=error or (_unknown(form.app) if form.app else None))
    changes, unlisted = await _changes(control, actor, form.app)
    target = None
    if form.branch and error is None:
        try:
            target = await control.environments.launch_targets.target(form.app, form.branch, actor)
        except Refused as refused:
            error = refused
    return Shown(apps, changes, unlisted, target, error)


async def _changes(control: ControlPlane, actor: Actor, app: str) -> tuple[list[tuple[Change, bool]], str]:
    """The open pull requests, each with whether its branch can be launched here, which a fork's can't. And
    why they can't be listed."""
    try:
        found = await control.pull_requests.open_changes.of(app, actor)
    except StagerError as error:
        return [], error.message
    return [(change, change.trust is not Trust.FORK) for change in found], ""


def _unknown(app: str) -> Refused:
    return Refused(
        f'There is no application "{app}" that you may launch.', reason="image-unknown", status=404
    )
