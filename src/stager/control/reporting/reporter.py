"""Reports environments to the forge at each change of state.

The sinks (pull-request comment, deployment, commit status) run independently: a failing sink affects neither
the others nor the preview. They show one `ReportState`, which is read in one transaction.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential

from stager.control.environments.expiry import notice_of
from stager.control.environments.records import Note, note_of
from stager.control.forges import Forges
from stager.control.loops import CoalescingTasks
from stager.control.plugins.lifecycle import notes_of
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.errors import Retry, StagerError
from stager.domain.life import Notice
from stager.domain.snapshot import Snapshot
from stager.domain.status import Status, rarely_changing, status_when_awake
from stager.ports.store import StateKind, Transaction

log = structlog.get_logger(__name__)

LONGEST_PAUSE = 300
"""Seconds between two attempts while the forge doesn't answer. There is no last attempt."""


class Sink(Protocol):
    """A place at the forge that shows an environment's state."""

    async def report(self, environment_id: str) -> None:
        """Show the environment's current state; no effect if it is shown already. Raises `Retry` or `Refused`
        as the forge does."""


class Reporter:
    """Runs the sinks, while a forge is connected.

    Args:
        sinks: by their names in the log.
    """

    def __init__(self, sinks: Mapping[str, Sink], forges: Forges) -> None:
        self._forges = forges
        self._tasks = [CoalescingTasks(partial(_report, name, sink.report)) for name, sink in sinks.items()]

    def changed(self, environment_id: str) -> None:
        """Report this environment's state soon."""
        for tasks in self._tasks if self._forges else ():
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


@dataclass(frozen=True, slots=True)
class ReportState:
    """An environment at one moment.

    Args:
        deployment: of the desired generation; None before its first step.
        serving: the deployment that visitors reach; None while they get a page of Stager's.
        note: the answer to the last comment command.
        handler_failures: one sentence each; they don't affect the preview.
        snapshots: those that the shown deployment's data was cloned from.
        notice: the warning that it will expire; None if it won't soon.
        sleep_reason: why it was put to sleep, if that was to make room; empty otherwise.
        changed_data: how many bytes of its clones had changed when it was live; None if that is unknown.
    """

    environment: Environment
    deployment: Deployment | None = None
    serving: Deployment | None = None
    note: Note | None = None
    handler_failures: tuple[str, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    notice: Notice | None = None
    sleep_reason: str = ""
    changed_data: int | None = None

    @property
    def shown(self) -> Deployment | None:
        """The deployment that visitors reach, or else the desired one."""
        return self.serving or self.deployment

    @property
    def status(self) -> Status:
        """The environment's status when it is awake: falling asleep and waking, which happens at any visit,
        isn't reported as a change of it."""
        status = status_when_awake(self.environment, self.deployment)
        return rarely_changing(self.environment, status)

    @property
    def is_asleep(self) -> bool:
        """Whether the next visit wakes it, or it wakes."""
        return self.environment.desired.is_asleep or self.environment.is_waking


def report_state_of(tx: Transaction, environment_id: str) -> ReportState | None:
    """The current state of this environment; None when it doesn't exist."""
    environment = tx.environment(environment_id)
    if environment is None:
        return None
    generation, serving = environment.desired.generation, environment.serving
    state = ReportState(
        environment,
        tx.deployment_of(environment_id, generation),
        tx.deployment_of(environment_id, serving) if serving is not None else None,
        note_of(tx, environment),
        notes_of(tx, environment_id, generation),
        notice=notice_of(tx, environment),
        sleep_reason=tx.environment_state(environment_id, StateKind.SLEEP_REASON),
    )
    services = state.shown.services if state.shown else ()
    cloned = {snapshot for each in services for snapshot in each.clones.values() if snapshot}
    found = (tx.snapshot(each) for each in sorted(cloned))
    return replace(state, snapshots=tuple(each for each in found if each is not None))
