"""Reports environments to the forge at each change of state.

The sinks (pull-request comment, deployment, commit status) run independently: a failing sink affects neither
the others nor the preview.
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
"""Seconds between two attempts while the forge doesn't answer. There is no last attempt."""


class Sink(Protocol):
    """A place at the forge that shows an environment's state."""

    async def report(self, environment_id: str) -> None:
        """Show the environment's current state; no effect if it is shown already. Raises `Retry` or `Refused`
        as the forge does."""


class Reporter:
    """Runs the sinks.

    Args:
        sinks: by their names in the log.
    """

    def __init__(self, sinks: Mapping[str, Sink]) -> None:
        self._tasks = [CoalescingTasks(partial(_report, name, sink.report)) for name, sink in sinks.items()]

    def changed(self, environment_id: str) -> None:
        """Report this environment's state soon."""
        for tasks in self._tasks:
            tasks.request(environment_id)

    async def close(self) -> None:
        """Stop. Reports that are missing are made after the next start."""
        for tasks in self._tasks:
            await tasks.close()


async def _report(sink: str, report: Callable[[str], Awaitable[None]], environment_id: str) -> None:
    try:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(Retry), wait=wait_exponential(multiplier=2, max=LONGEST_PAUSE)
        ):
            with attempt:
                await report(environment_id)
    except StagerError as error:
        log.warning(
            "report_refused", sink=sink, environment=environment_id, reason=error.reason, error=str(error)
        )
    except Exception:
        log.exception("report_failed", sink=sink, environment=environment_id)
