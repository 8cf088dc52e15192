"""The pages of webhook deliveries: the list with search and filters, and one delivery with its replay."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from stager.control.pull_requests.delivery_log import REPLAY, Effect, effect_of, original_of
from stager.domain.identity.roles import Action
from stager.domain.pull_requests.delivery_summary import summary
from stager.ports.store import DeliveryRecord
from stager.web.api.deliveries import ForgeName, Id
from stager.web.context import Control, Known, Web
from stager.web.pages.frame import frame_of
from stager.web.pages.rendering import SECURITY, render
from stager.web.pages.sign_in import check_origin

router = APIRouter(include_in_schema=False)

PATH = "/deliveries"
LISTED = 100
LONGEST_SEARCH = 200
TONES = {Effect.DONE: "good", Effect.NONE: "calm", Effect.FAILED: "bad", Effect.PENDING: "wait"}
TITLES = {
    None: "All",
    Effect.DONE: "With an effect",
    Effect.NONE: "Without effect",
    Effect.FAILED: "Failed or refused",
    Effect.PENDING: "In progress",
}


@router.get(PATH)
async def deliveries(
    control: Control,
    web: Web,
    actor: Known,
    q: Annotated[str, Query()] = "",
    effect: Annotated[str, Query()] = "",
) -> Response:
    """Show the last deliveries with their outcomes. For administrators."""
    search = q.strip()[:LONGEST_SEARCH]
    chosen = next((each for each in Effect if each.value == effect), None)
    found = await control.pull_requests.deliveries.recent(actor, LISTED, search, chosen)
    return render(
        "deliveries.html",
        frame=await frame_of(control, actor, "deliveries"),
        recent=[(one, tone_of(one), path_of(one.forge, one.delivery)) for one in found.recent],
        refused=found.refused,
        home=control.routing.urls.home,
        has_setup=web.setup is not None,
        search=search,
        effect=chosen.value if chosen else "",
        is_everything=not search and chosen is None,
        filters=[(title, _list(search, each), None, each is chosen) for each, title in TITLES.items()],
        limit=LISTED,
    )


@router.get(PATH + "/{delivery}")
async def show_delivery(control: Control, actor: Known, delivery: Id, forge: ForgeName = "") -> Response:
    """Show a delivery with a summary of its content. For administrators."""
    found = await control.pull_requests.deliveries.one(actor, delivery, forge)
    one = found.record
    original = original_of(one.delivery)
    return render(
        "delivery.html",
        frame=await frame_of(control, actor, "deliveries"),
        one=one,
        tone=tone_of(one),
        summary=summary(found.payload),
        replay_path=path_of(one.forge, one.delivery, "/replay"),
        original=(original, path_of(one.forge, original)) if REPLAY in one.delivery else None,
        why=f"/why?{urlencode({'target': one.about})}" if "#" in one.about else "",
        replayable=bool(found.payload) and one.finished_at is not None,
        may_replay=await control.identity.authorizer.may(actor, Action.REPLAY_DELIVERIES),
    )


@router.post(PATH + "/{delivery}/replay")
async def replay(
    request: Request, control: Control, actor: Known, delivery: Id, forge: ForgeName = ""
) -> Response:
    """Replay a delivery, and show the new one."""
    check_origin(request)
    again = await control.pull_requests.deliveries.replay(actor, delivery, forge)
    return RedirectResponse(path_of(forge, again), 303, headers=SECURITY)


def path_of(forge: str, delivery: str, action: str = "") -> str:
    """The path of a delivery's page, or of what it does."""
    query = f"?{urlencode({'forge': forge})}" if forge else ""
    return f"{PATH}/{quote(delivery, safe='')}{action}{query}"


def tone_of(one: DeliveryRecord) -> str:
    """The colour of an outcome."""
    return TONES[effect_of(one)]


def _list(search: str, effect: Effect | None) -> str:
    given = {"q": search, "effect": effect.value if effect else ""}
    query = urlencode({name: value for name, value in given.items() if value})
    return f"{PATH}?{query}" if query else PATH
