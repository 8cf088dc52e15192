"""The loop that puts idle previews to sleep, and stores when previews were visited."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from stager.control.environments.power import Power
from stager.control.environments.visits import Visits, all_visits, last_visit, save_visits, visits_of
from stager.control.ports import Ports
from stager.domain.application import Applications
from stager.domain.environment import Depth, Environment
from stager.domain.errors import Refused
from stager.domain.power import SleepRules, due
from stager.domain.traffic import Activity
from stager.ports.store import Transaction

log = structlog.get_logger(__name__)

STORE_EVERY = timedelta(minutes=10)
"""Interval at which visits are stored. Expiry counts in days, so a front that crashes may lose as much."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An environment that serves or sleeps.

    Args:
        hosts: all of them.
    """

    environment: Environment
    hosts: tuple[str, ...]
    visits: Visits


class IdleSleep:
    """Puts previews to sleep that weren't requested for `sleep_after`, and stops those that have slept for
    `stop_after`."""

    def __init__(self, ports: Ports, applications: Applications, power: Power) -> None:
        self._store, self._router, self._clock = ports.store, ports.router, ports.clock
        self._applications = applications
        self._power = power
        self._stored_at: datetime | None = None

    async def run(self) -> None:
        """Compare the front's activity with the settings once.

        Raises:
            Retry: the front doesn't answer.
        """
        activity = await self._router.activity()
        now = self._clock.now()
        candidates = await self._store.read(_candidates)
        for each in candidates:
            if (depth := self._due(each, activity, now)) is not None:
                await self._sleep(each, depth, activity, now)
        if self._stored_at is None or now - self._stored_at >= STORE_EVERY:
            await self._store_visits(candidates, activity, now)
            self._stored_at = now

    def _due(self, candidate: _Candidate, activity: Activity, now: datetime) -> Depth | None:
        environment, since = candidate.environment, candidate.visits.since
        if environment.desired.should_run and self._power.is_in_use(environment.id):
            return None
        rules = self._rules(environment)
        changed = _age(since, now)
        idle = min(activity.idle_of(candidate.hosts), changed)
        return due(environment.desired, rules, idle=idle, asleep=changed)

    def _rules(self, environment: Environment) -> SleepRules:
        """Never, for an application that isn't in the configuration any more."""
        application = self._applications.find(environment.app)
        return SleepRules(application.sleep_after, application.stop_after) if application else SleepRules()

    async def _sleep(self, candidate: _Candidate, depth: Depth, activity: Activity, now: datetime) -> None:
        environment = candidate.environment
        rules = self._rules(environment)
        live_at = await self._store.read(lambda tx: _live_at(tx, environment))
        if depth is Depth.PAUSED and _age(live_at, now) < (rules.sleep_after or 0.0):
            return
        try:
            await self._power.sleep(environment.id, depth, rules.sleep_after or 0.0)
        except Refused as refused:
            log.debug("not_slept", environment=environment.id, reason=refused.reason)
            return
        await self._store_visits([candidate], activity, now)

    async def _store_visits(
        self, candidates: Iterable[_Candidate], activity: Activity, now: datetime
    ) -> None:
        """Store the last visits that are newer than the stored ones, in one transaction."""
        found = {c.environment.id: _last(c, activity, now) for c in candidates}
        newer = {key: last for key, last in found.items() if last is not None}
        if newer:
            await self._store.write(lambda tx: _save(tx, newer))


def _last(candidate: _Candidate, activity: Activity, now: datetime) -> datetime | None:
    """The last visit, if it is known and newer than the stored one."""
    last = last_visit(candidate.visits, candidate.hosts, activity, now)
    return last if last != candidate.visits.last else None


def _age(moment: datetime | None, now: datetime) -> float:
    """Seconds since then; infinite if that is unknown, or in the future because the clock was set back."""
    return float("inf") if moment is None or moment > now else (now - moment).total_seconds()


def _candidates(tx: Transaction) -> list[_Candidate]:
    hosts, visits = tx.all_service_hosts(), all_visits(tx)
    return [
        _Candidate(each, (each.host, *hosts.get(each.id, {}).values()), visits.get(each.id, Visits()))
        for each in tx.environments(present=True)
        if each.serving is not None and each.desired.keeps_instances and not each.key.is_of_snapshot
    ]


def _live_at(tx: Transaction, environment: Environment) -> datetime | None:
    if environment.serving is None:
        return None
    deployment = tx.deployment_of(environment.id, environment.serving)
    return deployment.live_at if deployment else None


def _save(tx: Transaction, found: Mapping[str, datetime]) -> None:
    for environment_id, last in found.items():
        save_visits(tx, environment_id, replace(visits_of(tx, environment_id), last=last))
