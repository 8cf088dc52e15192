"""Follows the deployments that a push has started, for `git push -o wait`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from stager.control.control_plane import ControlPlane
from stager.control.environments.waiters import LaunchResult
from stager.control.reconciler.status_page import live_status
from stager.domain.environment import Environment
from stager.domain.errors import Refused, Retry, sentences

WAIT, END, LONGEST_WAIT = "x-stager-wait", "\0", 3600.0
"""The protocol of the hook's program, `forges/local/push_client.py`, which imports nothing: the header that
asks for this response, its last line, and the seconds that it may take."""

POLL_INTERVAL = 0.2
LINES = 15
"""The last lines of an instance that failed."""


async def follow(
    control: ControlPlane, lines: Sequence[str], environments: Sequence[Environment]
) -> AsyncIterator[str]:
    """Yield the response to a push: its lines, the log of each build, and how each deployment ended.

    Args:
        lines: what is known at once.
        environments: those that the push has changed.
    """
    yield "".join(f"{line}\n" for line in lines)
    for environment in environments:
        async for piece in _deployment(control, environment):
            yield piece
    yield END


async def _deployment(control: ControlPlane, environment: Environment) -> AsyncIterator[str]:
    started = time.monotonic()
    settled = asyncio.ensure_future(control.environments.waiters.until_settled(environment, LONGEST_WAIT))
    try:
        async for piece in _build_logs(control, environment.id, settled):
            yield piece
        yield _outcome(control, await settled, time.monotonic() - started)
    except (Refused, Retry) as error:
        yield f"{sentences(error.message, error.hint)}\n"
    finally:
        settled.cancel()


async def _build_logs(
    control: ControlPlane, environment_id: str, settled: asyncio.Future[LaunchResult]
) -> AsyncIterator[str]:
    """Yield the log of each build of this environment until it is settled."""
    shown = ""
    while not settled.done():
        found = await control.environments.records.with_current(environment_id)
        key = found[1].build if found and found[1] else ""
        if key == shown or control.builds.queue is None:
            await asyncio.wait({settled}, timeout=POLL_INTERVAL)
            continue
        shown = key
        async for piece in control.builds.queue.follow(key):
            yield piece
        yield "\n"


def _outcome(control: ControlPlane, result: LaunchResult, seconds: float) -> str:
    url = control.routing.urls.url(result.environment.host)
    if result.is_live:
        return f"live after {seconds:.0f} s, {url}\n"
    status = live_status(result.environment, result.deployment, control.builds.queue)
    log = status.lines[-LINES:] if status.reason != "build-failed" else ()  # the build log was shown
    page = control.routing.urls.page(result.environment.id)
    return "".join(f"{line}\n" for line in (*log, sentences(status.message, status.hint), page))
