"""A preview's page, to which the pull request links: status, deployments and logs.

It needs the same permission as the API, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from itertools import pairwise

from fastapi import APIRouter
from fastapi.responses import Response

from stager.control.control_plane import ControlPlane
from stager.control.reporting.pr_comment_template import QUIET, is_reachable_elsewhere
from stager.domain.errors import Retry
from stager.domain.identity.actor import Actor
from stager.domain.status import State
from stager.domain.text import as_on_screen, lines_on_screen
from stager.web.api.environments import Id
from stager.web.api.views import DeploymentView, current, deployments_of
from stager.web.context import Control, Known
from stager.web.pages.rendering import SCRIPTED, render

router = APIRouter(include_in_schema=False)

LOG_LINES = 200

TONES = {
    State.LIVE: "good",
    State.STOPPED: "calm",
    State.GONE: "calm",
    State.UNRESPONSIVE: "bad",
    State.FAILED: "bad",
    State.FAILED_UPDATE: "bad",
    State.REFUSED: "bad",
}
"""The colour of each state's mark; `wait` for others."""
UNSETTLED = frozenset({State.STARTING, State.BUILDING, State.UPDATING})


@router.get("/previews/{environment}")
async def preview(control: Control, actor: Known, environment: Id) -> Response:
    """Show a preview. The page's script refreshes it and follows the build log."""
    view = await current(control, environment, actor)
    visibility = await control.environments.queries.visibility(actor, view.app)
    deployments = await deployments_of(control, environment, actor)
    build, is_in_progress, lines = (
        await _build(control, environment, actor) if visibility.logs else ("", False, [])
    )
    return render(
        "preview.html",
        visitor=actor,
        headers=SCRIPTED,
        view=view,
        tone=TONES.get(view.state, "wait"),
        unsettled=view.state in UNSETTLED,
        deployments=[(deployment, list(_spans(deployment))) for deployment in deployments],
        build=build,
        is_in_progress=is_in_progress,
        build_lines=lines,
        log_lines=await _log(control, environment, actor) if visibility.logs else [],
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


async def _log(control: ControlPlane, environment: str, actor: Actor) -> list[str]:
    """Return the last lines of the instance's log; none while the engine doesn't respond."""
    with suppress(Retry):
        return [
            as_on_screen(line)
            for line in await control.environments.queries.log_of(environment, LOG_LINES, actor)
        ]
    return []


def _qr(url: str) -> str:
    """Return the URL's QR code as SVG; empty where a phone couldn't reach it."""
    # segno costs a few megabytes, and only this page needs it.
    import segno  # noqa: PLC0415

    if not is_reachable_elsewhere(url):
        return ""
    code = segno.make_qr(url)
    return code.svg_inline(scale=4, border=QUIET, dark="#000", light="#fff")


def _spans(deployment: DeploymentView) -> Iterator[tuple[str, float]]:
    """Yield the completed steps of a deployment with their durations in seconds."""
    stamps: list[tuple[str, datetime | None]] = [
        ("queued", deployment.created_at),
        ("image", deployment.building_at),
        ("start", deployment.starting_at),
        ("check", deployment.checking_at),
        ("", deployment.live_at),
    ]
    reached = [(name, at) for name, at in stamps if at is not None]
    for (name, begin), (_, end) in pairwise(reached):
        yield name, max(0.0, (end - begin).total_seconds())
