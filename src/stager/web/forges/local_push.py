"""Receives pushes from the local forge's hook. The response is shown in the output of `git push`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse

from stager.control.control_plane import ControlPlane
from stager.domain.environment import Environment, EnvironmentKey
from stager.domain.errors import Refused
from stager.domain.pull_requests.events import ChangeAction, ChangeEvent
from stager.web.api.environments import UNBUFFERED
from stager.web.context import Control
from stager.web.forges.push_progress import WAIT, follow
from stager.web.forges.webhooks import deliveries_of

router = APIRouter(include_in_schema=False)

FORGE = "local"
URL_TIMEOUT = 3.0
"""Seconds that a push waits for the preview's URL."""

MAX_WITH_URL = 3
"""Branches in a push for whose URLs the push waits; with more branches, it waits for none."""
MAX_SHOWN = 50
"""Branches in a push with a line of their own in the response."""

ONLY_DEFAULT_BRANCH = "no preview: this is the repository's default branch. Every other branch gets one"
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
    """Receive a push to a repository of the local forge. Responds with a line per branch, and with the header
    `x-stager-wait` with the build log and the outcome."""
    webhooks = control.ports.webhooks.get(FORGE)
    if webhooks is None:
        raise Refused("No local forge is configured.", reason="forge-unknown", status=404)
    deliveries = await deliveries_of(request, control, FORGE)
    for delivery in deliveries:
        await control.pull_requests.inbox.receive(delivery)
    events = [event for event in map(webhooks.read, deliveries) if isinstance(event, ChangeEvent)]
    shown, more = events[:MAX_SHOWN], len(events[MAX_SHOWN:])
    timeout = URL_TIMEOUT if len(events) <= MAX_WITH_URL else 0.0
    branches = await asyncio.gather(*(_branch(control, event, timeout) for event in shown))
    lines = [branch.line for branch in branches] + ([f"and {more} more"] if more else [])
    lines = lines or [ONLY_DEFAULT_BRANCH]
    running = [branch.environment for branch in branches if branch.environment]
    if WAIT in request.headers:
        return StreamingResponse(
            follow(control, lines, running), 202, headers=UNBUFFERED, media_type="text/plain"
        )
    if len(branches) == 1 and running:
        lines += _where_to_watch(control, running[0])
    return PlainTextResponse("\n".join(lines), 202)


@dataclass(frozen=True, slots=True)
class _Branch:
    """A pushed branch: the line about it, and its environment if that is being deployed."""

    line: str
    environment: Environment | None = None


async def _branch(control: ControlPlane, event: ChangeEvent, timeout: float) -> _Branch:
    change = event.change
    what = f"{WORDS[event.action]} change {change.number}"
    application = control.applications.of_repository(change.repository)
    if application is None:
        return _Branch(f"{what}, but no entry in `images` is for {change.repository.full_name}")
    if not change.is_open:
        return _Branch(f"{what}, its preview is being removed")
    key = EnvironmentKey.of_change(application.name, change.repository.id, change.number)
    environment = await _environment(control, key, change.head_sha, timeout)
    if environment is None:
        return _Branch(f"{what}, its preview is being launched")
    if environment.desired.suspension is not None:
        return _Branch(f"{what}. {environment.desired.suspension.message}")
    return _Branch(f"{what}, {control.routing.urls.url(environment.host)}", environment)


def _where_to_watch(control: ControlPlane, environment: Environment) -> list[str]:
    """Where the build can be followed, if there is one."""
    application = control.applications.find(environment.app)
    if application is None or not application.build:
        return []
    page = control.routing.urls.page(environment.id)
    return [f"{f'its build: {page}, or' if page else 'to see its build'} here with: git push -o wait"]


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
