"""The dashboard: the list of previews for those who are signed in, and the stream of its changes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import Response

from stager.control.control_plane import ControlPlane
from stager.domain.errors import Refused
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.web.api.views import view_of
from stager.web.context import Control, Web, WebContext, actor_of, credentials_of
from stager.web.pages.change_stream import ChangeStream, Viewer
from stager.web.pages.preview_items import item, matches
from stager.web.pages.rendering import SCRIPTED, render

router = APIRouter(include_in_schema=False)

EVENTS = "/dashboard/events"
MAX_ITEMS = 500
"""Items in the list, the newest; a search finds the others."""
MAX_QUERY = 200
"""Characters of a search."""


async def dashboard(control: ControlPlane, web: WebContext, actor: Actor, query: str) -> Response:
    """Show the previews that the user may see, newest first.

    Args:
        query: only those that have all its words in their name, application, pull request or state.
    """
    query = " ".join(query[:MAX_QUERY].split())
    # Read before the list, so that no change between the two is lost.
    position = control.environments.change_log.position
    rows = await control.environments.queries.listing(actor)
    views = [(view_of(control, row), row.visibility) for row in reversed(rows)]
    found = [(view, visibility) for view, visibility in views if matches(view, query)]
    is_administrator = await control.identity.authorizer.role(actor) is Role.ADMINISTRATOR
    now = control.ports.clock.now()
    return render(
        "dashboard.html",
        visitor=actor,
        headers=SCRIPTED,
        query=query,
        items=[item(view, visibility, now) for view, visibility in found[:MAX_ITEMS]],
        found=len(found),
        known=len(views),
        limit=MAX_ITEMS,
        position=position,
        events=EVENTS,
        problems=dict(control.reconciler.readiness.problems),
        warnings=len(web.options.warnings) if is_administrator else 0,
        has_images=bool(list(control.applications)),
        is_administrator=is_administrator,
    )


@router.get(EVENTS)
async def events(
    request: Request, control: Control, web: Web, last_event_id: Annotated[str, Header(max_length=60)] = ""
) -> Response:
    """Send the changes since an event. Errors have no `WWW-Authenticate`: browsers would show a dialog."""
    try:
        actor = await actor_of(request, control)
    except Refused as error:
        return Response(status_code=error.status)
    viewer = Viewer(control, actor, await credentials_of(request))
    position = last_event_id or control.environments.change_log.position
    return ChangeStream(control, web.change_events, web.open_streams, viewer, position)
