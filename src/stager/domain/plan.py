"""`plan` computes the next action from the desired and the observed state. All reconciliation depends on it.

A generation consists of services. The rules:

- The desired generation is prepared, then brought up. Once it is given up, the newest one that serves or can
  serve is brought up instead.
- A service is started when the conditions of its dependencies are met. An instance that serves several
  generations is joined to each before anything else of it is started.
- A generation is published as a whole, as soon as all its services are healthy and its jobs are done. From
  then on, a service that ends, other than the main one, is started again or given up on its own.
- A service that ended is recorded once, and started again at its `retry_at`.
- Instances that no generation uses are retired: at once if they aren't healthy, else when there is nothing
  else to do, because draining them must not delay a new revision. A stateful instance outlives a generation
  that was given up: stopping a database during its first start would leave a broken volume.
- An environment that shouldn't run is unpublished, then its instances are retired, stateful ones last.
- An environment that should sleep is parked in the front, then its instances are paused or stopped, those
  first on which no other depends. Nothing is removed.
- Paused instances are unpaused before anything else. A generation that was stopped asleep is brought back
  before a newer one: visitors wait for seconds, not for a build.

These promises hold for every input, and the tests enumerate the inputs: repeated planning comes to rest; what
is published is never stopped before its successor serves, nor paused; nothing is published that isn't
healthy. The one exception: the instance of a stateful service is stopped before its successor starts, though
a published generation uses it, when the successor has other inputs or the instance is broken. The successor
then serves the published generation, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from stager.domain.environment import Depth, Desired, Instance, InstanceState, Service
from stager.domain.generation import (
    Generation,
    by_dependency,
    generations_of,
    has_passed,
    in_order,
    is_usable,
)
from stager.domain.observed import Observed


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
class Park:
    """Hold the requests for these services in the front and report them, if there was none for
    `Desired.min_idle`. Otherwise the environment stays awake."""

    services: frozenset[str]


@dataclass(frozen=True, slots=True)
class Pause:
    """Freeze these instances, in this order."""

    instances: tuple[Instance, ...]


@dataclass(frozen=True, slots=True)
class Halt:
    """Stop these instances in this order, and keep them. Those that are paused are unpaused first."""

    instances: tuple[Instance, ...]


@dataclass(frozen=True, slots=True)
class Unpause:
    """Let these instances run again, in this order."""

    instances: tuple[Instance, ...]


@dataclass(frozen=True, slots=True)
class EndSleep:
    """Record that nothing of the environment sleeps any more: it serves, or can't be brought back."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing before this time."""

    until: datetime


Power = Park | Pause | Halt | Unpause | EndSleep
"""The actions of sleep and wake."""
Action = Prepare | Start | Join | Resume | Check | Publish | Unpublish | Retire | Record | Power | Wait


def plan(desired: Desired, observed: Observed, now: datetime) -> Action | None:
    """The next action, or None if there is nothing to do.

    Args:
        now: with a time zone.
    """
    if desired.is_asleep:
        return _put_to_sleep(desired.depth, observed)
    if paused := [i for i in observed.instances if i.state is InstanceState.PAUSED]:
        return Unpause(tuple(by_dependency(paused, observed)))
    return _bring_up(desired, observed, now) if desired.should_run else _take_down(observed)


def _put_to_sleep(depth: Depth, observed: Observed) -> Park | Pause | Halt | None:
    if observed.published:
        return Park(frozenset(observed.published))
    is_deep = depth is Depth.STOPPED
    awake = {InstanceState.RUNNING, InstanceState.PAUSED} if is_deep else {InstanceState.RUNNING}
    found = by_dependency((i for i in observed.instances if i.state in awake), observed)
    if not found:
        return None
    instances = tuple(reversed(found))
    return Halt(instances) if is_deep else Pause(instances)


def _take_down(observed: Observed) -> Action | None:
    if observed.published or observed.asleep_runs:
        return Unpublish(frozenset(observed.published))
    stateless = [i for i in observed.instances if not _is_stateful(i, observed)]
    return _retire(stateless or observed.instances) if observed.instances else None


def _bring_up(desired: Desired, observed: Observed, now: datetime) -> Action | None:
    generations = generations_of(observed, desired)
    if (repair := _repair_routes(generations, observed)) is not None:
        return repair
    waking = _waking(generations, observed)
    if observed.asleep_runs and not waking:
        return EndSleep()
    target = waking[-1] if waking else _target(generations, desired)
    serving = [g for g in generations if g.is_serving and g is not target]
    coming = [g for g in generations if g in (target, *waking) or (waking and g is generations[-1])]
    others = _superseded(coming, serving, observed)
    useless = [i for i in others if not has_passed(i, observed)]
    if useless:
        return _retire(useless)
    action = _advance(target, serving, desired, now)
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


def _target(generations: Sequence[Generation], desired: Desired) -> Generation:
    """The generation to bring up: the desired one; once that is given up, the newest that serves, or else the
    newest of which all services exist."""
    wanted = next(g for g in generations if g.number == desired.generation)
    if not wanted.attempt.final:
        return wanted
    serving = [g for g in generations if g.is_serving]
    candidates = serving or [g for g in generations if g.is_complete and not g.attempt.final]
    return max(candidates, key=lambda g: (not g.attempt.final, g.number), default=wanted)


def _waking(generations: Sequence[Generation], observed: Observed) -> list[Generation]:
    """The generations that were put to sleep and can be brought back, the newest one last; none while
    something serves."""
    if observed.serving:
        return []
    return [g for g in generations if g.was_put_to_sleep and g.is_complete and not g.attempt.final]


def _superseded(
    coming: Sequence[Generation], serving: Sequence[Generation], observed: Observed
) -> list[Instance]:
    """The instances that no generation that is brought up or serves uses. While one of the former isn't
    prepared, it may use those of services that are kept."""
    used = {i.id for g in (*coming, *serving) for i in g.instances.values()}
    used |= {i.id for i in observed.serving}
    for generation in coming:
        if not generation.is_prepared:
            used |= {i.id for i in observed.instances if _may_be_kept(i, generation)}
    return [i for i in observed.instances if i.id not in used]


def _may_be_kept(instance: Instance, target: Generation) -> bool:
    service = target.observed.service(instance.generation, instance.service)
    is_kept = service.is_kept and not target.attempt.final
    return (is_kept or service.is_stateful) and is_usable(instance, target.observed)


def _is_stateful(instance: Instance, observed: Observed) -> bool:
    return observed.service(instance.generation, instance.service).is_stateful


def _advance(
    target: Generation, serving: Sequence[Generation], desired: Desired, now: datetime
) -> Action | None:
    """The next action towards a target that is healthy and published."""
    if target.attempt.final:
        return _clear(target)
    if target.number == desired.generation and not target.is_prepared:
        return _wait(target.attempt.retry_at, now) or Prepare(target.number)
    pending: list[Action | None] = [_advance_service(s, target, desired, now) for s in target.services]
    pending += [_join(s, g, now) for g in serving for s in g.services if not g.attempt.final]
    actions = [action for action in pending if action is not None]
    if actions:
        return min(actions, key=lambda action: _urgency(action, target))
    return _publish(target) if target.is_healthy and not target.is_published else None


def _clear(generation: Generation) -> Retire | None:
    """Retire what a generation that was given up leaves behind, unless it serves."""
    observed = generation.observed
    left = [
        i for i in generation.instances.values() if not (observed.is_serving(i) or _is_stateful(i, observed))
    ]
    return _retire(left) if left and not generation.is_serving else None


def _advance_service(service: Service, target: Generation, desired: Desired, now: datetime) -> Action | None:
    """The next action towards a healthy instance of a service, or a job that is done."""
    if target.is_settled(service):
        return None
    instance = target.instances.get(service.name)
    if instance is None:
        return _begin(service, target, desired, now)
    if not target.is_reached(service):
        return _join(service, target, now)
    if instance.state is not InstanceState.RUNNING:
        return _revive(service, instance, target, now)
    if target.is_service_healthy(service) or not target.may_start(service):
        return None
    return Check(instance, target.number)


def _begin(service: Service, target: Generation, desired: Desired, now: datetime) -> Action | None:
    """The next action towards an instance of a service that has none. An older generation gets none, except
    to bring back what was stopped for the desired one."""
    is_restored = service.is_stateful and target.is_serving
    if not (target.number == desired.generation or is_restored) or not target.may_start(service):
        return None
    if (wait := _wait(target.failure(service).retry_at, now)) is not None:
        return wait
    before = [i for i in target.observed.instances if service.is_stateful and i.service == service.name]
    return _retire(before) if before else Start(target.number, service.name)


def _join(service: Service, generation: Generation, now: datetime) -> Join | Wait | None:
    instance = generation.instances.get(service.name)
    if instance is None or generation.is_reached(service) or generation.is_settled(service):
        return None
    return _wait(generation.failure(service).retry_at, now) or Join(instance, generation.number)


def _revive(
    service: Service, instance: Instance, target: Generation, now: datetime
) -> Record | Wait | Resume | None:
    retry_at = target.failure(service).retry_at
    was_asleep = instance.run in target.observed.asleep_runs
    if instance.state is InstanceState.STOPPED and retry_at is None and not was_asleep:
        return Record(instance, target.number)
    if not target.may_start(service):
        return None
    return _wait(retry_at, now) or Resume(instance, target.number)


def _wait(until: datetime | None, now: datetime) -> Wait | None:
    return Wait(until) if until is not None and until > now else None


def _urgency(action: Action, target: Generation) -> tuple[int, float]:
    """All services are started before any is checked, because a check lasts as long as the application takes
    to boot; those that others wait for are checked first."""
    match action:
        case Join():
            return 0, 0
        case Record():
            return 1, 0
        case Check(instance, _):
            waiting = (s for s in target.services if not target.may_start(s))
            return 4, -sum(instance.service in service.depends_on for service in waiting)
        case Wait(until):
            return 5, until.timestamp()
        case Retire():
            return 3, 0
        case _:
            return 2, 0


def _publish(generation: Generation) -> Publish:
    return Publish(generation.number, tuple(i for i in generation.routed.values() if i is not None))


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
    if planned is None or isinstance(running, Power):
        return _power_continues(running, planned)
    match running, planned:
        case (Prepare() | Start() | Join() | Resume(), Start() | Join() | Resume() | Check()):
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


def _power_continues(running: Action, planned: Action | None) -> bool:
    """As `continues`, for the actions of sleep and wake, or if nothing is planned. The engine can't call off
    a stop."""
    match running, planned:
        case _, None:
            return isinstance(running, Join | Publish | Unpublish | Retire | Record | Power)
        case (Park(), Park() | Pause() | Halt()) | (Halt() | EndSleep(), _):
            return True
        case Pause(before), Pause(instances):
            return _ids(instances) <= _ids(before)
        case _:
            return isinstance(running, Unpause) and not isinstance(planned, Park | Pause | Halt)


def _leads_to(running: Prepare | Start | Join | Resume, planned: Start | Join | Resume | Check) -> bool:
    """Whether both bring the same generation up, or let an older one reach the same service, and the planned
    one doesn't begin again with the service of the running one."""
    service, next_service = _service(running), _service(planned)
    if isinstance(planned, Join) and not isinstance(running, Prepare) and service == next_service:
        return planned.generation <= running.generation
    if running.generation != planned.generation:
        return False
    if isinstance(running, Prepare | Start) or service != next_service:
        return True
    return not isinstance(planned, Start) and planned.instance.id == running.instance.id


def _service(action: Prepare | Start | Join | Resume | Check) -> str:
    match action:
        case Prepare():
            return ""
        case Start(_, service):
            return service
        case _:
            return action.instance.service


def _ids(instances: Iterable[Instance]) -> set[str]:
    return {instance.id for instance in instances}
