"""Takes snapshots at the configured times of day."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from stager.control.data.making import Making
from stager.control.environments.lookup import find_named
from stager.control.identity.audit import DONE, Audit, result_of
from stager.domain.application import Application, Applications
from stager.domain.errors import Refused, StagerError
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action
from stager.domain.snapshot import CreateSnapshot, FromCommand, FromPreview, Schedule, Source
from stager.ports.clock import Clock
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)

ACTOR = Actor("schedule", "configuration")


class SnapshotSchedule:
    """Begins snapshots when they are due. One that was missed, because Stager didn't run, is taken once."""

    def __init__(
        self, store: Store, clock: Clock, applications: Applications, making: Making, audit: Audit
    ) -> None:
        self._store = store
        self._clock = clock
        self._applications = applications
        self._making = making
        self._audit = audit

    async def run(self) -> None:
        """Begin the snapshots that are due."""
        for application in self._applications:
            schedule = application.data.schedule
            if schedule is not None and await self._is_due(application, schedule):
                await self._begin(application, schedule)

    async def _is_due(self, application: Application, schedule: Schedule) -> bool:
        due = _last_due(schedule, self._clock.now().astimezone()).isoformat()
        return await self._store.write(lambda tx: _is_due(tx, application, due))

    async def _begin(self, application: Application, schedule: Schedule) -> None:
        try:
            source = await self._store.read(lambda tx: _source(tx, application, schedule))
            snapshot = await self._making.begin(CreateSnapshot(application.name, source), str(ACTOR))
        except StagerError as error:
            log.warning(
                "snapshot_schedule_failed", app=application.name, reason=error.reason, error=error.message
            )
            await self._record(application, "new snapshot", result_of(error), error.reason)
        else:
            await self._record(application, snapshot.title, DONE)

    async def _record(self, application: Application, subject: str, result: str, detail: str = "") -> None:
        action = Action.MANAGE_SNAPSHOTS
        await self._audit.record(
            ACTOR, action, app=application.name, subject=subject, result=result, detail=detail
        )


def _last_due(schedule: Schedule, now: datetime) -> datetime:
    """The last time at which a snapshot was due."""
    today = now.replace(hour=schedule.at.hour, minute=schedule.at.minute, second=0, microsecond=0)
    return today if today <= now else today - timedelta(days=1)


def _is_due(tx: Transaction, application: Application, due: str) -> bool:
    """Whether the snapshot of this time hasn't begun; it counts as begun from now on. At the first look none
    is due."""
    fact = f"snapshot-schedule:{application.name}"
    before = tx.fact(fact)
    tx.save_fact(fact, due)
    return before not in ("", due)


def _source(tx: Transaction, application: Application, schedule: Schedule) -> Source:
    if schedule.command:
        return FromCommand(schedule.command, schedule.branch)
    environment = find_named(tx, [application.name], schedule.preview)
    if environment is None:
        raise Refused(
            f'There is no preview "{schedule.preview}" of {application.name} to take the snapshot from.',
            hint="Launch it, or correct `data.schedule`.",
            reason="environment-unknown",
            status=404,
        )
    return FromPreview(environment.id)
