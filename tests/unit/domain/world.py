"""A simulated environment for `plan`: it carries actions out, well or badly, and checks the promises."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from stager.domain import plan as planning
from stager.domain.environment import (
    WEB_SERVICE,
    Attempt,
    Desired,
    Instance,
    InstanceState,
    Observed,
    Service,
)
from stager.domain.errors import Outcome
from stager.domain.route import Endpoint

START = datetime(2026, 1, 1, tzinfo=UTC)
BROKEN = Outcome("fault", "broken", "It is broken.")
WEB, API, DATABASE = WEB_SERVICE, Service("api", is_main=True), Service("database", is_routed=False)
ALL = ("web", "api", "database")


def endpoint(number: int) -> Endpoint:
    return Endpoint(f"10.200.0.{number}", 3000)


def services_of(observed: Observed, generation: int) -> tuple[Service, ...]:
    return observed.services.get(generation, (WEB,))


class World:
    """One environment whose actions take effect at once.

    Args:
        starts: the services whose instances can be started at all.
        answers: the services whose started instances pass the health check.
    """

    def __init__(
        self,
        desired: Desired,
        observed: Observed,
        *,
        starts: Collection[str] = ALL,
        answers: Collection[str] = ALL,
    ) -> None:
        self.desired = desired
        self.observed = observed
        self.starts = starts
        self.answers = answers
        self.now = START
        self.made = 100

    def rest(self, limit: int = 60) -> list[planning.Action]:
        """Plan and act until there is nothing to do; the actions taken."""
        taken: list[planning.Action] = []
        for _ in range(limit):
            action = planning.plan(self.desired, self.observed, self.now)
            if action is None:
                return taken
            self._check_promises(action)
            taken.append(action)
            self.act(action)
        raise AssertionError(f"no rest after {limit} actions: {taken[-6:]}")

    def healthy(self, generation: int) -> set[str]:
        """The services of which this generation has a healthy instance."""
        of_generation = (i for i in self.observed.instances if i.generation == generation)
        return {i.service for i in of_generation if self.observed.is_healthy(i, generation)}

    def _check_promises(self, action: planning.Action) -> None:
        match action:
            case planning.Publish(_, instances):
                self._check_published(instances)
            case planning.Retire(instances):
                self._check_retired(instances)
            case planning.Unpublish(services) if self.desired.should_run:
                serving = {i.service for i in self.observed.serving}
                assert not serving & services, "took a serving instance out of the table"

    def _check_published(self, instances: tuple[Instance, ...]) -> None:
        [generation] = {i.generation for i in instances}
        services = services_of(self.observed, generation)
        assert {i.service for i in instances} == {s.name for s in services if s.is_routed}
        assert all(self.observed.is_healthy(i, generation) for i in instances), "published what isn't healthy"
        assert self.healthy(generation) >= {s.name for s in services}, "published without what it needs"

    def _check_retired(self, instances: tuple[Instance, ...]) -> None:
        assert len({i.generation for i in instances}) == 1
        assert not set(map(id_of, instances)) & set(map(id_of, self.observed.serving)), "stopped what serves"
        generation = instances[0].generation
        if generation in {i.generation for i in self.observed.serving}:
            needed = {s.name for s in services_of(self.observed, generation)} & self.healthy(generation)
            left = [
                i
                for i in self.observed.instances
                if i not in instances and self.observed.is_healthy(i, i.generation)
            ]
            still = {i.service for i in left if i.generation == generation}
            assert still >= needed, "stopped what the serving instances need"

    def act(self, action: planning.Action) -> None:  # noqa: C901 (one case an action)
        match action:
            case planning.Start(generation, service) if service in self.starts:
                self._start(generation, service)
            case planning.Start(generation):
                self._give_up(generation)
            case planning.Resume(instance):
                self._resume(instance)
            case planning.Check(instance) if instance.service in self.answers:
                attempt = self.observed.attempt(instance.generation)
                healthy_runs = {**attempt.healthy_runs, instance.service: instance.run}
                self._set_attempt(replace(attempt, healthy_runs=healthy_runs))
            case planning.Check(instance):
                self._give_up(instance.generation)
            case planning.Publish(_, instances):
                published = {i.service: i.endpoint for i in instances if i.endpoint}
                self.observed = replace(self.observed, published=published)
            case planning.Unpublish(services):
                left = {s: to for s, to in self.observed.published.items() if s not in services}
                self.observed = replace(self.observed, published=left)
            case planning.Retire(instances):
                self._set_instances(i for i in self.observed.instances if i not in instances)
            case planning.Record(instance):
                self._record(instance)
            case planning.Wait(until):
                assert until > self.now, "waits for the past"
                self.now = until

    def _start(self, generation: int, service: str) -> None:
        self.made += 1
        made = Instance(
            f"i{self.made}",
            "e",
            service,
            "d",
            generation,
            InstanceState.RUNNING,
            started_at="t0",
            endpoint=endpoint(self.made),
        )
        self._set_instances((*self.observed.instances, made))

    def _resume(self, instance: Instance) -> None:
        self.made += 1
        running = replace(
            instance,
            state=InstanceState.RUNNING,
            started_at=f"t{self.made}",
            endpoint=endpoint(self.made),
            exit_code=None,
        )
        self._set_instances(running if i == instance else i for i in self.observed.instances)
        self._set_attempt(replace(self.observed.attempt(instance.generation), retry_at=None))

    def _give_up(self, generation: int) -> None:
        self._set_attempt(replace(self.observed.attempt(generation), final=True, outcome=BROKEN))

    def _record(self, instance: Instance) -> None:
        attempt = self.observed.attempt(instance.generation)
        failures = attempt.failures + 1
        self._set_attempt(
            replace(
                attempt,
                failures=failures,
                final=failures >= 3,
                retry_at=self.now + timedelta(seconds=failures),
                outcome=BROKEN,
            )
        )

    def _set_instances(self, instances: Iterable[Instance]) -> None:
        self.observed = replace(self.observed, instances=tuple(instances))

    def _set_attempt(self, attempt: Attempt) -> None:
        others = tuple(a for a in self.observed.attempts if a.generation != attempt.generation)
        self.observed = replace(self.observed, attempts=(*others, attempt))


def id_of(instance: Instance) -> str:
    return instance.id
