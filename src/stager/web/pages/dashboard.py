"""The dashboard: the list of previews for those who are signed in, and the stream of its changes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import Response

from stager.control.control_plane import ControlPlane
from stager.control.environments.consumption import Figures
from stager.domain.errors import Refused
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action, Role
from stager.web.api.views import EnvironmentView, view_of
from stager.web.context import Control, Known, Web, WebContext, actor_of, credentials_of
from stager.web.pages.change_stream import ChangeStream, Viewer
from stager.web.pages.frame import frame_of
from stager.web.pages.overview.machine_panel import Part, panel_of
from stager.web.pages.overview.selection import (
    LABELS,
    MAX_ITEMS,
    SORT_LABELS,
    Group,
    Selection,
    author_of,
    groups_of,
    is_mine,
    ordered,
)
from stager.web.pages.preview_items import cover_of, item, matches
from stager.web.pages.rendering import render

router = APIRouter(include_in_schema=False)

EVENTS = "/dashboard/events"
MACHINE = "/dashboard/machine"


async def dashboard(control: ControlPlane, web: WebContext, actor: Actor, selection: Selection) -> Response:
    """Show the previews that the user may see."""
    # Read before the list, so that no change between the two is lost.
    position = control.environments.change_log.position
    figures = control.environments.consumption.look()
    rows = await control.environments.queries.listing(actor)
    views = [(view_of(control, row), row.visibility) for row in rows]
    visibilities = {view.id: visibility for view, visibility in views}
    found = _found([view for view, _ in views], selection, actor.name)
    shown = ordered(found, selection.sort, lambda id_: figures.get(id_, Figures()).memory)[: selection.limit]
    now = control.ports.clock.now()
    is_administrator = await control.identity.authorizer.role(actor) is Role.ADMINISTRATOR
    return render(
        "dashboard.html",
        frame=await frame_of(control, actor, "previews"),
        query=selection.query,
        selection=selection,
        filters=_filters([view for view, _ in views], selection, actor.name),
        sorts=SORT_LABELS,
        items=[
            item(view, visibilities[view.id], now, figures.get(view.id), cover_of(control, view))
            for view in shown
        ],
        found=len(found),
        known=len(views),
        max_items=MAX_ITEMS,
        position=position,
        events=EVENTS,
        machine_url=MACHINE,
        machine=await panel_of(control, web.dashboards.tally) if is_administrator else [],
        problems=dict(control.reconciler.readiness.problems),
        warnings=len(web.options.warnings) if is_administrator else 0,
        has_images=bool(list(control.applications)),
        is_administrator=is_administrator,
    )


def _found(views: list[EnvironmentView], selection: Selection, viewer: str) -> list[EnvironmentView]:
    return [
        view
        for view in views
        if selection.has(groups_of(view.state, view.reason), author_of(view), viewer)
        and matches(view, selection.query)
    ]


def _filters(
    views: list[EnvironmentView], selection: Selection, viewer: str
) -> list[tuple[Group | None, str, int, str]]:
    """Return the filters, each with its words, the number of previews, and the URL."""
    groups = [group for view in views for group in groups_of(view.state, view.reason)]
    numbers = {group: groups.count(group) for group in Group}
    numbers[Group.MINE] = sum(is_mine(author_of(view), viewer) for view in views)
    everything = [(None, "All", len(views), selection.in_group(None).url)]
    return everything + [
        (group, LABELS[group], numbers[group], selection.in_group(group).url) for group in Group
    ]


@router.get(MACHINE)
async def machine(control: Control, web: Web, actor: Known) -> Response:
    """Return the machine panel alone, which an open dashboard renews. Raises `Refused` (403) for those who
    aren't administrators."""
    await control.identity.authorizer.check(actor, Action.SET_UP)
    parts: list[Part] = await panel_of(control, web.dashboards.tally)
    return render("dashboard-machine.html", machine=parts)


@router.get(EVENTS)
async def events(
    request: Request, control: Control, web: Web, last_event_id: Annotated[str, Header(max_length=60)] = ""
) -> Response:
    """Send the changes since an event. Errors have no `WWW-Authenticate`: browsers would show a dialog."""
    try:
        actor = await actor_of(request, control)
    except Refused as error:
        return Response(status_code=error.status)
    viewer = Viewer(control, web.dashboards.checks, actor, await credentials_of(request))
    position = last_event_id or control.environments.change_log.position
    return ChangeStream(control, web.dashboards, viewer, position)
