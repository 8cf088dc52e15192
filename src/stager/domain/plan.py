"""`plan` computes the next action from the desired and the observed state. All reconciliation depends on it.

A generation is a set of instances, one for each of its services. The rules:

- A generation is published as a whole, as soon as all its services are healthy. The desired one is brought up
  first; once it is given up, the newest one that serves or can serve.
- A service that ended is recorded once, and started again at the deployment's `retry_at`.
- Instances of other generations are retired: at once if they aren't healthy, else when there is nothing
  else to do, because draining them must not delay a new revision.
- An environment that shouldn't run is unpublished, then its instances are retired, oldest generation first.

Three promises hold for every input, and the tests enumerate the inputs: repeated planning comes to rest; what
is published is never stopped before its successor serves; nothing is published that isn't healthy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from stager.domain.environment import (
    WEB_SERVICE,
    Attempt,
    Desired,
    Instance,
    InstanceState,
    Observed,
    Service,
)


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
            is_healthy=all(
                s.name in instances and observed.is_healthy(instances[s.name], number) for s in services
            ),
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
        observed.is_healthy(instance, instance.generation),
        observed.is_serving(instance),
        instance.state is InstanceState.RUNNING,
    )


@dataclass(frozen=True, slots=True)
class Prepare:
    """Find out which services the desired generation has, and get their images."""

    generation: int


@dataclass(frozen=True, slots=True)
class Start:
    """Create an instance of a service for this generation, and start it."""

    generation: int
    service: str


@dataclass(frozen=True, slots=True)
class Join:
    """Let the services of this generation reach an instance that serves several generations."""

    instance: Instance
    generation: int


@dataclass(frozen=True, slots=True)
class Resume:
    """Start an existing instance that doesn't run."""

    instance: Instance
    generation: int


@dataclass(frozen=True, slots=True)
class Check:
    """Wait until the instance passes the health check of this generation; a job, until it has ended."""

    instance: Instance
    generation: int


@dataclass(frozen=True, slots=True)
class Publish:
    """Send the requests for the environment to these instances of this generation, and to no others.

    Args:
        instances: one for each routed service that isn't given up, also if it was created for an earlier
            generation.
    """

    generation: int
    instances: tuple[Instance, ...]


@dataclass(frozen=True, slots=True)
class Unpublish:
    """Answer the requests for these services with a page."""

    services: frozenset[str]


@dataclass(frozen=True, slots=True)
class Retire:
    """Drain these instances, which were all created for one generation, then remove them."""

    instances: tuple[Instance, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """Record in the deployment of this generation that an instance ended. A job that exited with 0 is done;
    anything else is given up, or retried later."""

    instance: Instance
    generation: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing before this time."""

    until: datetime


Action = Prepare | Start | Join | Resume | Check | Publish | Unpublish | Retire | Record | Wait


def plan(desired: Desired, observed: Observed, now: datetime) -> Action | None:
    """The next action, or None if there is nothing to do.

    Args:
        now: with a time zone.
    """
    return _bring_up(desired, observed, now) if desired.should_run else _take_down(observed)


def _take_down(observed: Observed) -> Action | None:
    if observed.published:
        return Unpublish(frozenset(observed.published))
    return _retire(observed.instances) if observed.instances else None


def _bring_up(desired: Desired, observed: Observed, now: datetime) -> Action | None:
    generations = generations_of(observed, desired.generation)
    if (repair := _repair_routes(generations, observed)) is not None:
        return repair
    target = _target(generations, desired, observed)
    others = _superseded(target, generations, observed)
    useless = [i for i in others if not observed.is_healthy(i, i.generation)]
    if useless:
        return _retire(useless)
    action = _advance(target, desired, observed, now)
    if others and (action is None or isinstance(action, Wait)):
        return _retire(others)
    return action


def _repair_routes(generations: Sequence[Generation], observed: Observed) -> Publish | Unpublish | None:
    """Unless one generation is published as a whole: the newest one that can serve at once. If there is none,
    the routes that lead to no running instance are removed."""
    if any(g.is_published for g in generations):
        return None
    healthy = [g for g in generations if g.is_healthy]
    if healthy:
        return _publish(healthy[-1])
    dead = observed.published.keys() - {i.service for i in observed.serving}
    return Unpublish(frozenset(dead)) if dead else None


def _target(generations: Sequence[Generation], desired: Desired, observed: Observed) -> Generation:
    """The generation to bring up: the desired one; once that is given up, the newest that serves, or else the
    newest of which all services exist."""

    def is_final(generation: Generation) -> bool:
        return observed.attempt(generation.number).final

    wanted = next(g for g in generations if g.number == desired.generation)
    if not is_final(wanted):
        return wanted
    serving = [g for g in generations if g.is_serving]
    candidates = serving or [g for g in generations if g.is_complete and not is_final(g)]
    return max(candidates, key=lambda g: (not is_final(g), g.number), default=wanted)


def _superseded(target: Generation, generations: Sequence[Generation], observed: Observed) -> list[Instance]:
    """The instances that neither the target nor a generation that serves needs."""
    needed = [target, *(g for g in generations if g.is_serving)]
    kept = {i.id for g in needed for i in g.instances.values()} | {i.id for i in observed.serving}
    return [i for i in observed.instances if i.id not in kept]


def _advance(target: Generation, desired: Desired, observed: Observed, now: datetime) -> Action | None:
    """The next action towards a target that is healthy and published."""
    if observed.attempt(target.number).final:
        is_useless = target.instances and not target.is_serving
        return _retire(target.instances.values()) if is_useless else None
    actions = [_advance_service(service, target, desired, observed, now) for service in target.services]
    pending = [action for action in actions if action is not None]
    if pending:
        return min(pending, key=_urgency)
    return _publish(target) if target.is_healthy and not target.is_published else None


def _advance_service(
    service: Service, target: Generation, desired: Desired, observed: Observed, now: datetime
) -> Start | Resume | Check | Record | Wait | None:
    """The next action towards a healthy instance of a service. Only the desired generation gets new ones."""
    attempt = observed.attempt(target.number)
    wait = Wait(attempt.retry_at) if attempt.retry_at is not None and attempt.retry_at > now else None
    instance = target.instances.get(service.name)
    if instance is None:
        return (wait or Start(target.number, service.name)) if target.number == desired.generation else None
    if instance.state is not InstanceState.RUNNING:
        return _revive(instance, attempt, wait)
    return None if observed.is_healthy(instance, target.number) else Check(instance, target.number)


def _revive(instance: Instance, attempt: Attempt, wait: Wait | None) -> Record | Wait | Resume:
    if instance.state is InstanceState.STOPPED and attempt.retry_at is None:
        return Record(instance, attempt.generation)
    return wait or Resume(instance, attempt.generation)


def _urgency(action: Action) -> int:
    """All services are started before any is checked, because a check lasts as long as the application takes
    to boot."""
    return 2 if isinstance(action, Wait) else int(isinstance(action, Check))


def _publish(generation: Generation) -> Publish:
    routed = (generation.instances[service.name] for service in generation.services if service.is_routed)
    return Publish(generation.number, tuple(routed))


def _retire(instances: Iterable[Instance]) -> Retire:
    """Retires those of the oldest generation."""
    ordered = in_order(instances)
    return Retire(tuple(i for i in ordered if i.generation == ordered[0].generation))


def continues(running: Action, planned: Action | None) -> bool:
    """Whether the running action is still right, so that it isn't cancelled.

    The actions that bring a generation up follow each other: the plan has the next one as soon as the effect
    of the running one shows. An earlier action in the plan means that the instance is gone. An action that is
    about to end may end if its effect shows before.
    """
    if planned is None:
        return isinstance(running, Publish | Unpublish | Retire | Record)
    match running, planned:
        case (Start() | Resume(), Start() | Resume() | Check()):
            return _leads_to(running, planned)
        case (Check(before, of), Check(instance, generation)) | (
            Record(before, of),
            Record(instance, generation),
        ):
            return (instance.id, generation) == (before.id, of)
        case Publish(of, before), Publish(generation, instances):
            return of == generation and _ids(instances) == _ids(before)
        case Retire(before), Retire(instances):
            return _ids(instances) <= _ids(before)
        case _:
            return running == planned


def _leads_to(running: Start | Resume, planned: Start | Resume | Check) -> bool:
    """Whether both bring the same generation up, and the planned one doesn't begin again with the service of
    the running one."""
    if _generation_and_service(running)[0] != _generation_and_service(planned)[0]:
        return False
    is_same_service = _generation_and_service(running) == _generation_and_service(planned)
    if isinstance(running, Start) or not is_same_service:
        return True
    return not isinstance(planned, Start) and planned.instance.id == running.instance.id


def _generation_and_service(action: Start | Resume | Check) -> tuple[int, str]:
    if isinstance(action, Start):
        return action.generation, action.service
    return action.generation, action.instance.service


def _ids(instances: Iterable[Instance]) -> set[str]:
    return {instance.id for instance in instances}
