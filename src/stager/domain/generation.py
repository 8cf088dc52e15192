"""A generation as a set of instances: one for each of its services."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stager.domain.environment import WEB_SERVICE, Instance, InstanceState, Observed, Service


@dataclass(frozen=True, slots=True)
class Generation:
    """The observed instances of one generation.

    Args:
        services: the services that it consists of.
        instances: by the name of the service, the instance that is furthest along. A service without one
            isn't in it.
        is_healthy: whether each of its services has a healthy instance. Only then it may be published.
        is_serving: whether the front sends requests to any of its instances.
        is_published: whether the front sends the requests for all routed services to its instances, and none
            elsewhere.
    """

    number: int
    services: tuple[Service, ...]
    instances: Mapping[str, Instance]
    is_healthy: bool
    is_serving: bool
    is_published: bool

    @classmethod
    def of(cls, observed: Observed, number: int) -> Generation:
        """The generation with this number; without instances if there are none."""
        services = observed.services.get(number, (WEB_SERVICE,))
        instances = _furthest(services, number, observed)
        routed = [instances.get(service.name) for service in services if service.is_routed]
        return cls(
            number,
            services,
            instances,
            is_healthy=all(s.name in instances and observed.is_healthy(instances[s.name]) for s in services),
            is_serving=any(observed.is_serving(i) for i in instances.values()),
            is_published=all(i is not None and observed.is_serving(i) for i in routed)
            and observed.published.keys() == {service.name for service in services if service.is_routed},
        )

    @property
    def is_complete(self) -> bool:
        """Whether each of its services has an instance, in any state."""
        return len(self.instances) == len(self.services)


def _furthest(services: Iterable[Service], number: int, observed: Observed) -> dict[str, Instance]:
    candidates = [i for i in in_order(observed.instances) if i.generation == number]
    return {
        service.name: max(of_service, key=lambda i: _progress(i, observed))
        for service in services
        if (of_service := [i for i in candidates if i.service == service.name])
    }


def generations_of(observed: Observed, desired: int) -> list[Generation]:
    """The generations up to the desired one that have instances, and the desired one, oldest first."""
    numbers = {i.generation for i in observed.instances if i.generation <= desired} | {desired}
    return [Generation.of(observed, number) for number in sorted(numbers)]


def in_order(instances: Iterable[Instance]) -> list[Instance]:
    """Oldest generation first, then by id, so that the same input gives the same plan."""
    return sorted(instances, key=lambda i: (i.generation, i.id))


def _progress(instance: Instance, observed: Observed) -> tuple[bool, bool, bool]:
    return (
        observed.is_healthy(instance),
        observed.is_serving(instance),
        instance.state is InstanceState.RUNNING,
    )
