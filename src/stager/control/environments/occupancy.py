"""What previews occupy of the machine: from stored state and measurements to the tenants of an allocation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from stager.control.environments.pins import Pin, pins
from stager.control.environments.visits import Visits, all_visits
from stager.domain.allocation import Occupancy, Tenant
from stager.domain.deployment import Deployment
from stager.domain.environment import Depth, Environment, RunState
from stager.domain.power import may_sleep
from stager.domain.traffic import Activity
from stager.ports.store import StateKind, Transaction

EXPECTED_MEMORY = 128 << 20
"""Bytes that a preview is expected to use while none of its application has been measured."""
SETTLING = timedelta(minutes=2)
"""How long after a preview fell asleep its memory may not be reclaimed and measured yet (see
`control.power`)."""

Pair = tuple[Environment, Deployment | None]
"""An environment, and the deployment of its desired generation."""


@dataclass(frozen=True, slots=True)
class StoredState:
    """The present environments, and what is stored about their room.

    Args:
        pairs: without those that snapshots are made from.
        queued_at: since when environments wait for room, by id.
        hosts: of the environments' services, by id, then by service.
        visits: by id.
    """

    pairs: tuple[Pair, ...]
    pins: Mapping[str, Pin]
    queued_at: Mapping[str, datetime]
    hosts: Mapping[str, Mapping[str, str]]
    visits: Mapping[str, Visits]

    @classmethod
    def read(cls, tx: Transaction) -> StoredState:
        pairs = tx.environments_with_deployments(present=True)
        queued = tx.environment_states(StateKind.QUEUE)
        return cls(
            tuple(pair for pair in pairs if not pair[0].key.is_of_snapshot),
            pins(tx),
            {id_: datetime.fromisoformat(stamp) for id_, stamp in queued.items() if stamp},
            tx.all_service_hosts(),
            all_visits(tx),
        )

    def is_pinned(self, environment_id: str) -> bool:
        """Whether this environment is exempt."""
        return self.pins.get(environment_id, Pin()).pinned

    def started_at(self, environment: Environment, deployment: Deployment | None) -> datetime:
        """When it was started, or extended after that."""
        started = deployment.created_at if deployment else environment.created_at
        return max(started, self.pins.get(environment.id, Pin()).extended_at or started)


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements of previews.

    Args:
        memory: bytes in use, by the id of the environment; empty if it wasn't measured.
        activity: of visitors; None while the front doesn't answer.
        disk: bytes that were written, by the id of the environment; empty if it wasn't measured.
    """

    now: datetime
    memory: Mapping[str, int] = field(default_factory=dict)
    activity: Activity | None = None
    disk: Mapping[str, int] = field(default_factory=dict)

    @property
    def idle(self) -> Mapping[str, float]:
        """Seconds since the last request, by host; a host without any isn't in it."""
        return self.activity.idle if self.activity else {}


@dataclass(frozen=True, slots=True)
class Occupants:
    """Makes the tenants of an allocation.

    Args:
        admitted: the ids of environments that may run, though nothing of them has begun.
        min_idle: how long a preview wasn't visited before it may be put to sleep for another one.
        sleepers: the names of the applications whose previews may sleep.
    """

    stored: StoredState
    measured: Measured
    admitted: Collection[str]
    min_idle: timedelta
    sleepers: frozenset[str]

    def tenants(self) -> list[Tenant]:
        """The previews that have room or wait for it."""
        expected = self._expected()
        return [t for e, d in self.stored.pairs if (t := self._tenant(e, d, expected.get(e.app)))]

    def occupancy(self, environment: Environment, deployment: Deployment | None) -> Occupancy | None:
        """What this environment occupies; None if it should neither run nor wait for room."""
        desired = environment.desired
        if desired.run is RunState.ASLEEP:
            return Occupancy(desired.depth)
        if desired.is_queued:
            return Occupancy.WAITING
        if not desired.should_run:
            return None
        if deployment is not None and deployment.attempt.final and environment.serving is None:
            return Occupancy.STOPPED
        if environment.id in self.admitted or environment.serving is not None or _has_begun(deployment):
            return Occupancy.AWAKE
        return Occupancy.WAITING

    def visited_at(self, environment: Environment) -> datetime | None:
        """When it was visited last; None if that is unknown."""
        idle = [self.measured.idle[h] for h in self._hosts(environment) if h in self.measured.idle]
        seen = [self.measured.now - timedelta(seconds=min(idle))] if idle else []
        last = self._visits(environment).last
        return max([*seen, *([last] if last else [])], default=None)

    def _used_at(self, environment: Environment) -> datetime | None:
        """When it was visited, put to sleep or woken last."""
        stamps = (self.visited_at(environment), self._visits(environment).since)
        return max((stamp for stamp in stamps if stamp is not None), default=None)

    def _hosts(self, environment: Environment) -> tuple[str, ...]:
        return environment.host, *self.stored.hosts.get(environment.id, {}).values()

    def _visits(self, environment: Environment) -> Visits:
        return self.stored.visits.get(environment.id, Visits())

    def _tenant(
        self, environment: Environment, deployment: Deployment | None, expected: int | None
    ) -> Tenant | None:
        occupancy = self.occupancy(environment, deployment)
        if occupancy is None:
            return None
        measured = self.measured.memory.get(environment.id, 0)
        is_asleep = environment.desired.is_asleep
        is_at_rest = is_asleep or (occupancy is Occupancy.AWAKE and may_sleep(environment, deployment))
        is_rising = occupancy is Occupancy.WAITING or (occupancy is Occupancy.AWAKE and not is_at_rest)
        memory = max(measured, expected or EXPECTED_MEMORY) if is_rising else measured
        return Tenant(
            environment.id,
            environment.app,
            author_of(environment),
            occupancy,
            self._since(environment, deployment, occupancy),
            memory,
            growth=memory - measured if occupancy is Occupancy.AWAKE else 0,
            disk=self.measured.disk.get(environment.id, 0),
            may_sleep=self._may_sleep(environment, deployment, occupancy) and is_at_rest,
            is_settling=self._is_settling(environment),
        )

    def _since(
        self, environment: Environment, deployment: Deployment | None, occupancy: Occupancy
    ) -> datetime:
        if occupancy is Occupancy.WAITING:
            requested = deployment.created_at if deployment else environment.updated_at
            return self.stored.queued_at.get(environment.id, requested)
        visited = self._used_at(environment)
        started = self.stored.started_at(environment, deployment)
        return max(visited, started) if visited else started

    def _may_sleep(
        self, environment: Environment, deployment: Deployment | None, occupancy: Occupancy
    ) -> bool:
        """Whether nothing but its state prevents that it is put to sleep for another one."""
        activity = self.measured.activity
        if self.stored.is_pinned(environment.id) or environment.app not in self.sleepers or activity is None:
            return False
        if occupancy is not Occupancy.AWAKE:
            return environment.desired.depth is Depth.PAUSED
        changes = (self._visits(environment).since, deployment.live_at if deployment else None)
        since = [self.measured.now - change for change in changes if change is not None]
        idle = timedelta(seconds=activity.idle_of(self._hosts(environment)))
        return min([idle, *since]) >= self.min_idle

    def _is_settling(self, environment: Environment) -> bool:
        since = self._visits(environment).since
        return environment.desired.is_asleep and since is not None and self.measured.now - since < SETTLING

    def _expected(self) -> dict[str, int]:
        """The most memory that a preview of an application uses, by its name."""
        used: dict[str, list[int]] = defaultdict(list)
        for environment, _ in self.stored.pairs:
            if environment.id in self.measured.memory and environment.desired.should_run:
                used[environment.app].append(self.measured.memory[environment.id])
        return {app: max(each) for app, each in used.items()}


def author_of(environment: Environment) -> str:
    """The author of its pull request, with the name of the forge; empty without a pull request."""
    change = environment.change
    return f"{change.repository_id.partition(':')[0]}:{change.author}" if change and change.author else ""


def _has_begun(deployment: Deployment | None) -> bool:
    """Whether something of it runs or may run. An adopted deployment has no times."""
    if deployment is None:
        return False
    attempt = deployment.attempt
    times = (deployment.building_at, deployment.starting_at, deployment.live_at)
    return bool(any(times) or deployment.services or attempt.healthy_runs or attempt.failures)


def waiting(occupants: Occupants) -> Iterator[str]:
    """The ids of the environments that wait for room."""
    for environment, deployment in occupants.stored.pairs:
        if occupants.occupancy(environment, deployment) is Occupancy.WAITING:
            yield environment.id
