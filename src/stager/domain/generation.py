"""Observed generations: which instances a generation uses, and how far they are.

A generation uses the instances that were created for it. For a service that is kept it also uses those of
other generations with the same inputs, unless they are broken. A stateful service has one instance at a
time, which older generations use whatever its inputs are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stager.domain.attempt import Attempt, ServiceFailure
from stager.domain.environment import Desired, Instance, InstanceState, Service
from stager.domain.observed import Observed
from stager.domain.service import Condition


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation, as observed.

    Args:
        instances: by the name of the service, the instance that is furthest along. A service without one
            isn't in it.
    """

    number: int
    services: tuple[Service, ...]
    instances: Mapping[str, Instance]
    observed: Observed

    @classmethod
    def of(cls, observed: Observed, number: int, desired: Desired) -> Generation:
        """The generation with this number; without instances if there are none."""
        services = observed.services_of(number)
        is_desired = number == desired.generation
        found = {s.name: _instance(s, number, observed, is_desired=is_desired) for s in services}
        return cls(number, services, {name: i for name, i in found.items() if i is not None}, observed)

    @property
    def attempt(self) -> Attempt:
        return self.observed.attempt(self.number)

    @property
    def is_prepared(self) -> bool:
        """Whether its services are known."""
        return self.number in self.observed.services

    @property
    def is_complete(self) -> bool:
        """Whether each of its services has an instance, in any state, or needs none."""
        return all(s.name in self.instances or self.is_settled(s) for s in self.services)

    @property
    def is_healthy(self) -> bool:
        """Whether it may be published: each of its services is healthy, done or, in a generation that has
        been live, given up."""
        has_main = any(service.is_main for service in self.services)
        return has_main and all(
            self.is_settled(s) or (self.is_service_healthy(s) and not self.is_given_up(s))
            for s in self.services
        )

    @property
    def is_serving(self) -> bool:
        """Whether the front sends requests to an instance that only this generation uses."""
        kept = {service.name for service in self.services if service.is_kept}
        return any(self.observed.is_serving(i) for name, i in self.instances.items() if name not in kept)

    @property
    def was_put_to_sleep(self) -> bool:
        """Whether its main instance was put to sleep when it was healthy, and nothing has served since."""
        mains = (self.instances.get(service.name) for service in self.services if service.is_main)
        return any(
            i is not None and self.observed.was_put_to_sleep(i) and self.attempt.has_been_healthy(i)
            for i in mains
        )

    @property
    def routed(self) -> dict[str, Instance | None]:
        """The instances of the services that the front should send requests to. One that is given up isn't
        among them."""
        return {
            service.name: self.instances.get(service.name)
            for service in self.services
            if service.is_routed and not self.is_given_up(service)
        }

    @property
    def is_published(self) -> bool:
        """Whether the front sends the requests for all routed services to its instances, and none
        elsewhere."""
        routed = self.routed
        return self.observed.published.keys() == routed.keys() != set() and all(
            i is not None and self.observed.is_serving(i) for i in routed.values()
        )

    def failure(self, service: Service) -> ServiceFailure:
        """The failures that decide when the service is tried again."""
        return self.attempt.failure(service)

    def is_given_up(self, service: Service) -> bool:
        """Whether nothing is tried any more for this service, which isn't the main one."""
        return not service.is_main and self.failure(service).final

    def is_settled(self, service: Service) -> bool:
        """Whether nothing is left to do for this service: a job that is done, or what is given up while the
        generation isn't."""
        is_done = service.is_job and service.name in self.attempt.healthy_runs
        return is_done or (self.is_given_up(service) and not self.attempt.final)

    def is_service_healthy(self, service: Service) -> bool:
        """Whether it has an instance that passed this generation's health check. A job never has."""
        instance = self.instances.get(service.name)
        return instance is not None and not service.is_job and self.observed.is_healthy(instance, self.number)

    def is_reached(self, service: Service) -> bool:
        """Whether the generation's other services reach the service's instance, if it has one. One that is
        never shared is created on the network of its generation."""
        instance = self.instances.get(service.name)
        if instance is None or self.number in instance.generations:
            return True
        return instance.generation == self.number and not service.is_kept

    def may_start(self, service: Service) -> bool:
        """Whether the conditions of its dependencies are met, or can't be met any more."""
        known = {each.name: each for each in self.services}
        return all(
            self._is_met(known[name], condition)
            for name, condition in service.depends_on.items()
            if name in known
        )

    def _is_met(self, service: Service, condition: Condition) -> bool:
        if self.is_settled(service):
            return True
        instance = self.instances.get(service.name)
        if instance is None or service.is_job or not self.is_reached(service):
            return False
        if condition is Condition.STARTED:
            return instance.state is InstanceState.RUNNING
        return self.is_service_healthy(service)


def generations_of(observed: Observed, desired: Desired) -> list[Generation]:
    """The generations up to the desired one that instances were created for, and the desired one, oldest
    first."""
    newest = desired.generation
    numbers = {i.generation for i in observed.instances if i.generation <= newest} | {newest}
    return [Generation.of(observed, number, desired) for number in sorted(numbers)]


def in_order(instances: Iterable[Instance]) -> list[Instance]:
    """Oldest generation first, then by id, so that the same input gives the same plan."""
    return sorted(instances, key=lambda i: (i.generation, i.id))


def by_dependency(instances: Iterable[Instance], observed: Observed) -> list[Instance]:
    """Those first that others depend on."""
    return sorted(in_order(instances), key=lambda i: _rank(i.service, observed.services_of(i.generation)))


def _rank(name: str, services: Iterable[Service], above: frozenset[str] = frozenset()) -> int:
    """The length of the longest chain of dependencies below a service."""
    known = {service.name: service for service in services}
    if name not in known or name in above:
        return 0
    needed = known[name].depends_on
    return max((1 + _rank(each, known.values(), above | {name}) for each in needed), default=0)


def has_passed(instance: Instance, observed: Observed) -> bool:
    """Whether its current run passed the health check in any generation."""
    return any(observed.is_healthy(instance, attempt.generation) for attempt in observed.attempts)


def is_usable(instance: Instance, observed: Observed) -> bool:
    """Whether other generations than its own may use it: it runs or has been healthy, and no generation was
    given up for its current run."""
    failures = (attempt.failed_services.get(instance.service) for attempt in observed.attempts)
    if any(failure and failure.final and failure.run == instance.run for failure in failures):
        return False
    return instance.state is InstanceState.RUNNING or observed.has_been_healthy(instance)


def _instance(service: Service, number: int, observed: Observed, *, is_desired: bool) -> Instance | None:
    """The instance of a service that this generation uses."""
    candidates = [i for i in in_order(observed.instances) if i.service == service.name]
    own = [i for i in candidates if i.generation == number]
    others = [i for i in candidates if i not in own and is_usable(i, observed)]
    same = [i for i in others if service.is_kept and service.inputs and i.inputs == service.inputs]
    newer = [i for i in others if service.is_stateful and not is_desired]
    return max(own + same or newer, key=lambda i: _progress(i, number, observed), default=None)


def _progress(instance: Instance, number: int, observed: Observed) -> tuple[bool, bool, bool, bool, int]:
    return (
        observed.is_healthy(instance, number),
        observed.is_serving(instance),
        has_passed(instance, observed),
        instance.state is InstanceState.RUNNING,
        instance.generation,
    )
