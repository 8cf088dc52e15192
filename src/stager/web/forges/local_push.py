"""Receives pushes from the local forge's hook. The response is shown in the output of `git push`."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from stager.control.control_plane import ControlPlane
from stager.domain.environment import Environment, EnvironmentKey
from stager.domain.errors import Refused
from stager.domain.pull_requests.events import ChangeAction, ChangeEvent
from stager.web.context import Control
from stager.web.forges.webhooks import deliveries_of

router = APIRouter(include_in_schema=False)

FORGE = "local"
URL_TIMEOUT = 3.0
"""Seconds that a push waits for the preview's URL."""

MAX_WITH_URL = 3
"""Branches in a push for whose URLs the push waits; with more branches, it waits for none."""
MAX_SHOWN = 50
"""Branches in a push with a line of their own in the response."""

POLL_INTERVAL = 0.05
WORDS = {
    ChangeAction.OPENED: "opened",
    ChangeAction.SYNCHRONIZE: "updated",
    ChangeAction.EDITED: "edited",
    ChangeAction.REOPENED: "reopened",
    ChangeAction.CLOSED: "closed",
}


@router.post("/webhooks/local")
async def local(request: Request, control: Control) -> Response:
    """Receive a push to a repository of the local forge. Responds with a line per branch."""
    webhooks = control.ports.webhooks.get(FORGE)
    if webhooks is None:
        raise Refused("No local forge is configured.", reason="forge-unknown", status=404)
    deliveries = await deliveries_of(request, control, FORGE)
    for delivery in deliveries:
        await control.pull_requests.webhooks.receive(delivery)
    events = [event for event in map(webhooks.read, deliveries) if isinstance(event, ChangeEvent)]
    shown, more = events[:MAX_SHOWN], len(events[MAX_SHOWN:])
    timeout = URL_TIMEOUT if len(events) <= MAX_WITH_URL else 0.0
    lines = await asyncio.gather(*(_line(control, event, timeout) for event in shown))
    return PlainTextResponse("\n".join([*lines, *([f"and {more} more"] if more else [])]), 202)


async def _line(control: ControlPlane, event: ChangeEvent, timeout: float) -> str:
    change = event.change
    what = f"{WORDS[event.action]} change {change.number}"
    application = control.applications.of_repository(change.repository)
    if application is None:
        return f"{what}, but no entry in `images` is for {change.repository.full_name}"
    if not change.is_open:
        return f"{what}, its preview is being removed"
    key = EnvironmentKey.of_change(application.name, change.repository.id, change.number)
    environment = await _environment(control, key, change.head_sha, timeout)
    if environment is None:
        return f"{what}, its preview is being launched"
    if environment.desired.suspension is not None:
        return f"{what}. {environment.desired.suspension.message}"
    return f"{what}, {control.routing.urls.url(environment.host)}"


async def _environment(
    control: ControlPlane, key: EnvironmentKey, sha: str, timeout: float
) -> Environment | None:
    """Return the environment once this commit is its desired one; None after the timeout."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            while True:
                found = await control.ports.store.read(lambda tx: tx.environment_by_key(key))
                if found is not None and found.desired.revision.sha == sha:
                    return found
                await asyncio.sleep(POLL_INTERVAL)
    return None
