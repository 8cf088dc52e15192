"""The observed state of an environment: what runs, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stager.domain.attempt import Attempt
from stager.domain.environment import WEB_SERVICE, Instance, InstanceState, Service
from stager.domain.route import Endpoint


@dataclass(frozen=True, slots=True)
class Observed:
    """The observed state of an environment.

    Args:
        instances: all instances of the environment that the engine has, in any order.
        published: the endpoint to which the front sends requests, by the name of the service. A service that
            isn't in it has a page instead.
        attempts: of the desired generation, the one before it, and those that the instances belong to, as far
            as they exist.
        services: the services of each generation that is prepared.
        asleep_runs: the runs (see `Instance.run`) that were put to sleep, stored before they are paused or
            stopped. Such a run that has ended is no failure. Empty once something serves again.
    """

    instances: tuple[Instance, ...] = ()
    published: Mapping[str, Endpoint] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    services: Mapping[int, tuple[Service, ...]] = field(default_factory=dict)
    asleep_runs: frozenset[str] = frozenset()

    def attempt(self, generation: int) -> Attempt:
        """The attempt of this generation, a new one before its first action."""
        return next((a for a in self.attempts if a.generation == generation), Attempt(generation))

    def services_of(self, generation: int) -> tuple[Service, ...]:
        """The services of this generation. If it isn't prepared, those that its instances run: such as after
        the database was lost."""
        if generation in self.services:
            return self.services[generation]
        names = sorted({i.service for i in self.instances if i.generation == generation})
        return tuple(self._assumed(name) for name in names)

    def _assumed(self, name: str) -> Service:
        """The main service, or one that is kept: a newer generation may use its instance, so the generation
        doesn't count as serving only because the front sends requests to it."""
        if name == WEB_SERVICE.name:
            return WEB_SERVICE
        return Service(name, is_routed=name in self.published, is_kept=True)

    def service(self, generation: int, name: str) -> Service:
        """The service of this name in this generation; one that isn't routed if there is none."""
        known = {service.name: service for service in self.services_of(generation)}
        return known.get(name, Service(name, is_routed=False))

    def is_healthy(self, instance: Instance, generation: int) -> bool:
        """Whether its current run passed the health check in this generation, and it can still be reached."""
        healthy_run = self.attempt(generation).healthy_runs.get(instance.service)
        return _is_reachable(instance) and healthy_run == instance.run

    def has_been_healthy(self, instance: Instance) -> bool:
        """Whether one of its runs passed the health check in any generation, or an earlier instance of the
        service did in the generation that it was created for."""
        runs = (attempt.healthy_runs.get(instance.service, "") for attempt in self.attempts)
        own = self.attempt(instance.generation)
        return own.has_been_healthy(instance) or any(map(instance.has_run, runs))

    def is_serving(self, instance: Instance) -> bool:
        """Whether it runs and the front sends requests to it."""
        endpoint = self.published.get(instance.service)
        return (
            instance.state is InstanceState.RUNNING and endpoint is not None and instance.endpoint == endpoint
        )

    def was_put_to_sleep(self, instance: Instance) -> bool:
        """Whether one of its runs was put to sleep, and nothing has served since."""
        return any(map(instance.has_run, self.asleep_runs))

    @property
    def serving(self) -> tuple[Instance, ...]:
        return tuple(i for i in self.instances if self.is_serving(i))


def _is_reachable(instance: Instance) -> bool:
    return instance.state is InstanceState.RUNNING and instance.endpoint is not None
