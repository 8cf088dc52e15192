"""The page with the last webhook deliveries: what arrived, and why nothing happened."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from stager.ports.store import DeliveryRecord
from stager.web.context import Control, Known, Web
from stager.web.pages.frame import frame_of
from stager.web.pages.rendering import render

router = APIRouter(include_in_schema=False)

PATH = "/deliveries"
LISTED = 100


@router.get(PATH)
async def deliveries(control: Control, web: Web, actor: Known) -> Response:
    """Show the last deliveries with their outcomes. For administrators."""
    found = await control.pull_requests.deliveries.recent(actor, LISTED)
    return render(
        "deliveries.html",
        frame=await frame_of(control, actor, "deliveries"),
        recent=[(one, tone_of(one)) for one in found.recent],
        refused=found.refused,
        home=control.routing.urls.home,
        has_setup=web.setup is not None,
    )


def tone_of(one: DeliveryRecord) -> str:
    """The colour of an outcome: `wait` until it is finished, `bad` for failures and refusals, `calm` where
    nothing happened, and `good`."""
    if one.finished_at is None:
        return "wait"
    if one.is_set_aside or one.outcome.startswith(("refused", "failed", "fault", "retry")):
        return "bad"
    return "calm" if one.outcome.startswith(("ignored", "nothing", "skipped")) else "good"
