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
from stager.domain.text import as_on_screen, binary_size, lines_on_screen
from stager.web.api.environments import Id
from stager.web.api.pictures import in_percent, pictures_view
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
from stager.web.pages.environment.timeline import timeline_of
from stager.web.pages.frame import frame_of
from stager.web.pages.preview_items import age, can_be_removed
from stager.web.pages.rendering import render, templates

router = APIRouter(include_in_schema=False)

LOG_LINES = 200

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
async def preview(control: Control, actor: Known, environment: Id, *, volumes: bool = False) -> Response:
    """Show a preview. The page's script refreshes it and follows the build log.

    Args:
        volumes: whether to show the sizes of the volumes, which may take seconds.
    """
    view = await current(control, environment, actor)
    visibility = await control.environments.queries.visibility(actor, view.app)
    deployments = await deployments_of(control, environment, actor)
    build, is_in_progress, lines = (
        await _build(control, environment, actor) if visibility.logs else ("", False, [])
    )
    failed = _failed_service(view)
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
        can_share=await control.environments.share_links.can_create(environment, actor),
        lifetimes=LIFETIMES,
        awaits_approval=view.state is State.REFUSED and view.reason in UNAPPROVED,
        build=build,
        is_in_progress=is_in_progress,
        build_lines=lines,
        log_lines=await _log(control, environment, actor) if visibility.logs else [],
        failed_service=failed,
        failed_log=await _log(control, environment, actor, failed) if failed and visibility.logs else [],
        has_volumes=has_volumes,
        data=await data_view_of(control, environment, actor, usage=volumes and visibility.logs),
        age=lambda since: _old(since, control.ports.clock.now()),
        volumes=await _volumes(control, environment, actor) if volumes and visibility.logs else None,
        qr=_qr(view.url) if view.serving is not None else "",
    )


async def _build(control: ControlPlane, environment: str, actor: Actor) -> tuple[str, bool, list[str]]:
    """Return the key of the latest build, whether it is in progress, and otherwise the end of its log."""
    key = await control.environments.queries.build_of(environment, actor)
    if control.builds.queue is None or not key:
        return "", False, []
    if control.builds.queue.progress(key) is not None:
        return key, True, []
    return key, False, lines_on_screen(control.builds.queue.log_of(key))[-LOG_LINES:]


async def _log(control: ControlPlane, environment: str, actor: Actor, service: str = "") -> list[str]:
    """Return the last lines of a service's log, by default the main one's; none while the engine doesn't
    respond."""
    with suppress(Retry):
        log = await control.environments.queries.log_of(environment, LOG_LINES, actor, service=service)
        return [as_on_screen(line) for line in log]
    return []


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
