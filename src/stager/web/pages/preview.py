"""A preview's page, to which the pull request links: status, deployments and logs.

It needs the same permissions as the API.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from fastapi import APIRouter
from fastapi.responses import Response

from stager.control.control_plane import ControlPlane
from stager.control.reporting.pr_comment_template import QUIET, is_reachable_elsewhere
from stager.domain.diagnosis.stages import Stage
from stager.domain.environment import UNAPPROVED
from stager.domain.errors import Retry
from stager.domain.identity.actor import Actor
from stager.domain.status import State
from stager.domain.text import binary_size
from stager.web.api.pictures import in_percent, pictures_view
from stager.web.api.router import Id
from stager.web.api.snapshots import data_view_of
from stager.web.api.views import (
    EnvironmentView,
    VolumeView,
    current,
    deployments_of,
    volume_views_of,
)
from stager.web.context import Control, Known
from stager.web.pages.environment.actions import LIFETIMES
from stager.web.pages.environment.differences import diffs_of
from stager.web.pages.environment.logs import Choice, LogChoice, PageLogs, log_lines, logs_of
from stager.web.pages.environment.timeline import timeline_of
from stager.web.pages.frame import frame_of
from stager.web.pages.preview_items import age, can_be_removed
from stager.web.pages.rendering import render, templates

router = APIRouter(include_in_schema=False)

RECENT_EVENTS = 8

UNSETTLED = frozenset({State.STARTING, State.BUILDING, State.UPDATING, State.WAKING})


PATH = "/previews/{environment}"

STAGE_WORDS = {
    Stage.FETCHING: "Fetching the commit failed",
    Stage.PREPARING: "Preparing failed",
    Stage.BUILDING: "The build failed",
    Stage.STARTING: "Starting failed",
    Stage.CHECKING: "It didn't become healthy",
    Stage.RUNNING: "It stopped running as it should",
}
"""What failed, as the headline of a failure."""

templates.filters["stage_words"] = STAGE_WORDS.__getitem__
templates.filters["changed"] = in_percent
templates.filters["size"] = lambda count: "unknown" if count is None else binary_size(count)


@router.get(PATH)
async def preview(
    control: Control,
    actor: Known,
    environment: Id,
    choice: Choice,
    *,
    volumes: bool = False,
) -> Response:
    """Show a preview. The page's script refreshes it and follows the build log.

    Args:
        choice: whose logs to show.
        volumes: whether to show the sizes of the volumes, which may take seconds.
    """
    view = await current(control, environment, actor)
    visibility = await control.environments.queries.visibility(actor, view.app)
    deployments = await deployments_of(control, environment, actor)
    logs = await logs_of(control, actor, view, deployments, choice) if visibility.logs else PageLogs(choice)
    failed = _failed_service(view)
    events = await control.environments.history.events(environment, actor, RECENT_EVENTS)
    can_share = await control.environments.share_links.can_create(environment, actor)
    has_volumes = any(service.volumes for service in view.services)
    return render(
        "preview.html",
        frame=await frame_of(control, actor, "previews"),
        view=view,
        album=await pictures_view(control, environment, actor),
        visibility=visibility,
        removable=can_be_removed(view, visibility),
        unsettled=view.state in UNSETTLED,
        timeline=timeline_of(deployments),
        can_share=can_share,
        links=await control.environments.share_links.links(environment, actor) if can_share else [],
        diffs=await diffs_of(control, environment, actor),
        events=events.events,
        more_events=bool(events.older),
        lifetimes=LIFETIMES,
        awaits_approval=view.state is State.REFUSED and view.reason in UNAPPROVED,
        logs=logs,
        build=logs.build,
        log_lines=logs.lines,
        failed_service=failed,
        failed_log=await log_lines(control, environment, actor, LogChoice(failed))
        if failed and visibility.logs
        else [],
        has_volumes=has_volumes,
        data=await data_view_of(control, environment, actor, usage=volumes and visibility.logs),
        age=lambda since: _old(since, control.ports.clock.now()),
        volumes=await _volumes(control, environment, actor) if volumes and visibility.logs else None,
        qr=_qr(view.url) if view.serving is not None else "",
    )


def _failed_service(view: EnvironmentView) -> str:
    """Return the first service, except the main one, that failed; empty if none did."""
    failed = (service.name for service in view.services if service.message and not service.is_main)
    return next(failed, "")


async def _volumes(control: ControlPlane, environment: str, actor: Actor) -> list[VolumeView] | None:
    """Return the volumes with their sizes; None while the engine doesn't respond."""
    with suppress(Retry):
        return await volume_views_of(control, environment, actor)
    return None


def _old(since: datetime, now: datetime) -> str:
    """Return the age of a snapshot, such as `3 h old`."""
    elapsed = age(since, now)
    return "less than a minute old" if elapsed == "now" else f"{elapsed} old"


def _qr(url: str) -> str:
    """Return the URL's QR code as SVG; empty where a phone couldn't reach it."""
    # segno costs a few megabytes, and only this page needs it.
    import segno  # noqa: PLC0415

    if not is_reachable_elsewhere(url):
        return ""
    code = segno.make_qr(url)
    return code.svg_inline(scale=4, border=QUIET, dark="#000", light="#fff")
