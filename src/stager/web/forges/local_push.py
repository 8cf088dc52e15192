"""What the local forge's hook tells, and the answer that whoever pushed reads in git's own output."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from stager.control.control_plane import ControlPlane
from stager.domain.environment import Environment, EnvironmentKey
from stager.domain.errors import Refused
from stager.domain.pull_requests.events import ChangeAction, ChangeSeen
from stager.web.context import Control
from stager.web.forges.webhooks import deliveries_of

router = APIRouter(include_in_schema=False)

FORGE = "local"
PATIENCE_SECONDS = 3.0
"""How long whoever pushes waits for the preview's URL."""

MOST_WAITED_FOR = 3
"""Branches in one push, of which each preview's URL is waited for; with more, none."""
MOST_SHOWN = 50
"""Branches in one push that are told of one by one."""

LOOK_SECONDS = 0.05
WORDS = {
    ChangeAction.OPENED: "opened",
    ChangeAction.SYNCHRONIZE: "updated",
    ChangeAction.EDITED: "edited",
    ChangeAction.REOPENED: "reopened",
    ChangeAction.CLOSED: "closed",
}


@router.post("/webhooks/local")
async def local(request: Request, control: Control) -> Response:
    """Take a push to a repository of the local forge. Answers with a line a branch for whoever pushed."""
    webhooks = control.ports.webhooks.get(FORGE)
    if webhooks is None:
        raise Refused("There is no local forge here.", reason="forge-unknown", status=404)
    deliveries = await deliveries_of(request, control, webhooks)
    for delivery in deliveries:
        await control.pull_requests.webhooks.receive(delivery)
    events = [event for event in map(webhooks.read, deliveries) if isinstance(event, ChangeSeen)]
    shown, more = events[:MOST_SHOWN], len(events[MOST_SHOWN:])
    patience = PATIENCE_SECONDS if len(events) <= MOST_WAITED_FOR else 0.0
    lines = await asyncio.gather(*(_said(control, event, patience) for event in shown))
    return PlainTextResponse("\n".join([*lines, *([f"and {more} more"] if more else [])]), 202)


async def _said(control: ControlPlane, event: ChangeSeen, patience: float) -> str:
    change = event.change
    what = f"{WORDS[event.action]} change {change.number}"
    application = control.applications.of_repository(change.repository)
    if application is None:
        return f"{what}, but no entry under `images` is for {change.repository.full_name}"
    if not change.is_open:
        return f"{what}, its preview goes"
    key = EnvironmentKey.of_change(application.name, change.repository.id, change.number)
    environment = await _wished(control, key, change.head_sha, patience)
    if environment is None:
        return f"{what}, its preview comes in a moment"
    if environment.desired.suspension is not None:
        return f"{what}. {environment.desired.suspension.message}"
    return f"{what}, {control.routing.urls.url(environment.host)}"


async def _wished(
    control: ControlPlane, key: EnvironmentKey, sha: str, patience: float
) -> Environment | None:
    """The environment, as soon as this commit is wished for; None when that takes too long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(patience):
            while True:
                found = await control.ports.store.read(lambda tx: tx.environment_by_key(key))
                if found is not None and found.desired.revision.sha == sha:
                    return found
                await asyncio.sleep(LOOK_SECONDS)
    return None
