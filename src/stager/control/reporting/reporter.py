"""The one author of what Stager says in a pull request.

It hears every change of state and has each of its voices look for itself: the comment, the deployment, the
commit's status. They don't wait for one another; the failure of one costs nobody the others or the preview.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Protocol

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential

from stager.control.coalescing_tasks import CoalescingTasks
from stager.domain.errors import Retry, StagerError

log = structlog.get_logger(__name__)

LONGEST_PAUSE = 300
"""Seconds between two tries while the forge doesn't take what is said; it is tried until it does."""


class Sink(Protocol):
    """One of the places where a forge shows how a preview stands."""

    async def say(self, environment_id: str) -> None:
        """Have it say how this environment stands now. No effect where it says so already. Raises `Retry` or
        `Refused` as the forge does."""


class Reporter:
    """Has everything said.

    Args:
        sinks: by what they are called in the log.
    """

    def __init__(self, sinks: Mapping[str, Sink]) -> None:
        self._tasks = [CoalescingTasks(partial(_said, name, sink.say)) for name, sink in sinks.items()]

    def changed(self, environment_id: str) -> None:
        """Report soon how this environment stands."""
        for tasks in self._tasks:
            tasks.ask(environment_id)

    async def close(self) -> None:
        """Stop; what wasn't said is said after the next start."""
        for tasks in self._tasks:
            await tasks.close()


async def _said(sink: str, say: Callable[[str], Awaitable[None]], environment_id: str) -> None:
    try:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(Retry), wait=wait_exponential(multiplier=2, max=LONGEST_PAUSE)
        ):
            with attempt:
                await say(environment_id)
    except StagerError as error:
        log.warning(
            "report_refused", sink=sink, environment=environment_id, reason=error.reason, error=str(error)
        )
    except Exception:
        log.exception("report_failed", sink=sink, environment=environment_id)
