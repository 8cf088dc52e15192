"""The pages about a preview's past: one deployment with its configuration as it was, and all events."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from stager.control.control_plane import ControlPlane
from stager.control.environments.history import Page
from stager.domain.configuration import Configuration, Difference, Source, settings_of
from stager.domain.errors import Refused
from stager.domain.history import EventKind
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action
from stager.web.api.history import Generation
from stager.web.api.router import Id
from stager.web.api.views import DeploymentView, current, deployments_of
from stager.web.context import Control, Known
from stager.web.pages.environment.differences import since_before
from stager.web.pages.environment.timeline import timeline_of
from stager.web.pages.frame import frame_of
from stager.web.pages.rendering import render, templates

router = APIRouter(include_in_schema=False)

PATH = "/previews/{environment}"
EVENTS = 50
"""Events on a page."""
SOURCES = {
    Source.REPOSITORY: "repository",
    Source.CONFIGURATION: "server's configuration",
    Source.SERVICE: "another service",
    Source.HOOK: "server hook",
    Source.HANDLER: "handler",
    Source.LAUNCH: "launch",
    Source.STAGER: "Stager",
}
"""Where a variable comes from, in words."""
TONES = {EventKind.LIVE: "good", EventKind.FAILED: "bad", EventKind.ACTION: "wait"}

templates.filters["source_words"] = SOURCES.__getitem__
templates.filters["settings"] = settings_of
templates.filters["event_tone"] = lambda kind: TONES.get(kind, "calm")


@router.get(PATH + "/deployments/{generation}")
async def deployment(control: Control, actor: Known, environment: Id, generation: Generation) -> Response:
    """Show a deployment: its steps, its failure, and what it was created from."""
    view = await current(control, environment, actor)
    deployments = await deployments_of(control, environment, actor)
    chosen = _chosen(deployments, generation)
    may_read = await control.identity.authorizer.may(actor, Action.READ_SECRET_NAMES, view.app)
    configuration, changes = await _configuration(control, actor, environment, generation, may_read=may_read)
    return render(
        "deployment.html",
        frame=await frame_of(control, actor, "previews"),
        view=view,
        entry=next(each for each in timeline_of(deployments) if each.deployment is chosen),
        configuration=configuration,
        changes=changes,
        may_read=may_read,
        diff=await since_before(control, environment, actor, generation),
    )


def _chosen(deployments: list[DeploymentView], generation: int) -> DeploymentView:
    found = next((each for each in deployments if each.generation == generation), None)
    if found is None:
        raise Refused(
            f"This preview has no deployment {generation}.", reason="deployment-unknown", status=404
        )
    return found


async def _configuration(
    control: ControlPlane, actor: Actor, environment: str, generation: int, *, may_read: bool
) -> tuple[Configuration | None, tuple[Difference, ...]]:
    if not may_read:
        return None, ()
    try:
        return await control.environments.history.configuration(environment, generation, actor)
    except Refused:  # it was never prepared, or by an earlier version
        return None, ()


@router.get(PATH + "/events")
async def events(
    control: Control,
    actor: Known,
    environment: Id,
    before: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """Show what happened to a preview, page by page."""
    view = await current(control, environment, actor)
    page: Page = await control.environments.history.events(environment, actor, EVENTS, before)
    path = PATH.format(environment=view.id) + "/events"
    return render(
        "preview-events.html",
        frame=await frame_of(control, actor, "previews"),
        view=view,
        events=page.events,
        newest=path if before else "",
        older=f"{path}?before={page.older}" if page.older else "",
        with_audit=await control.identity.authorizer.may(actor, Action.READ_AUDIT),
    )
