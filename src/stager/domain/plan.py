"""`plan`: from what should be and what is to the one next action. The heart of the house.

Three promises hold for every input, and the tests try every combination: it comes to rest; what is published
is never stopped before its successor serves; nothing is published that isn't healthy.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from stager.domain.environment import Attempt, Desired, Instance, InstanceState, Observed


@dataclass(frozen=True, slots=True)
class Start:
    """Make a new instance of the desired generation, and start it."""

    generation: int


@dataclass(frozen=True, slots=True)
class Resume:
    """Start an instance that was made but doesn't run."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class Check:
    """Wait until the instance answers."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class Publish:
    """Send the host's requests to the instance."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class Unpublish:
    """Send the host's requests to a page."""


@dataclass(frozen=True, slots=True)
class Retire:
    """Let the instance's open requests end, then remove it with all that it had."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class Record:
    """Remember that an instance ended by itself: by that, its deployment fails or is tried again."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before this time."""

    until: datetime


Action = Start | Resume | Check | Publish | Unpublish | Retire | Record | Wait


def continues(running: Action, planned: Action | None) -> bool:
    """Whether what is being done is still what should be done, so that it needn't be cancelled.

    Bringing a generation up is one undertaking: its next step is planned as soon as the last one shows. An
    earlier one means that the instance is gone, so that there is nothing to wait for. And what is about to
    end may end, when its effect shows before it has.
    """
    if planned is None:
        return isinstance(running, Publish | Unpublish | Retire | Record)
    match running, planned:
        case Start(generation), Resume(instance) | Check(instance):
            return instance.generation == generation
        case Start() | Unpublish() | Wait(), _:
            return running == planned
        case Resume(before), Check(instance):
            return instance.id == before.id
        case _, Start() | Unpublish() | Wait():
            return False
        case _:
            return type(running) is type(planned) and running.instance.id == planned.instance.id


def plan(desired: Desired, observed: Observed, now: datetime) -> Action | None:
    """The next action, or None when there is nothing to do.

    Args:
        desired: what should be.
        observed: what is.
        now: with a time zone.
    """
    return _bring_up(desired, observed, now) if desired.should_run else _take_down(observed)


def _take_down(observed: Observed) -> Action | None:
    if observed.published is not None:
        return Unpublish()
    return Retire(_in_order(observed)[0]) if observed.instances else None


def _bring_up(desired: Desired, observed: Observed, now: datetime) -> Action | None:
    serving = observed.serving
    if serving is None:
        first = _serve_at_once(desired, observed)
        if first is not None:
            return first
    generation = _target(desired, observed)
    current = _newest(observed, generation)
    others = [i for i in _in_order(observed) if i not in (serving, current)]
    useless = next((i for i in others if not observed.is_healthy(i)), None)
    if useless is not None:
        return Retire(useless)
    step = _next_step(generation, current, desired, observed, now)
    # What still has open requests to end goes last, so that draining never delays a newer revision.
    if others and (step is None or isinstance(step, Wait)):
        return Retire(others[0])
    return step


def _serve_at_once(desired: Desired, observed: Observed) -> Publish | Unpublish | None:
    """What could serve now that nothing does; or that a route to nothing must go."""
    ready = [i for i in _in_order(observed) if observed.is_healthy(i) and i.generation <= desired.generation]
    if ready:
        return Publish(ready[-1])
    return Unpublish() if observed.published is not None else None


def _target(desired: Desired, observed: Observed) -> int:
    """The generation to bring up: the desired one; once that is given up, what serves, or the newest left."""
    if not observed.attempt(desired.generation).final:
        return desired.generation
    if observed.serving is not None:
        return observed.serving.generation
    left = [i.generation for i in observed.instances if not observed.attempt(i.generation).final]
    return max(left, default=desired.generation)


def _next_step(
    generation: int, current: Instance | None, desired: Desired, observed: Observed, now: datetime
) -> Action | None:
    attempt = observed.attempt(generation)
    late = attempt.retry_at if attempt.retry_at is not None and attempt.retry_at > now else None
    if current is None:
        if attempt.final or generation != desired.generation:
            return None
        return Wait(late) if late else Start(generation)
    if attempt.final:
        return None if current == observed.serving else Retire(current)
    if current.state is not InstanceState.RUNNING:
        return _revive(current, attempt, late)
    if not observed.is_healthy(current):
        return Check(current)
    return Publish(current) if current != observed.serving else None


def _revive(current: Instance, attempt: Attempt, late: datetime | None) -> Action:
    """An instance that ended by itself is recorded once, and started again when its time has come."""
    if current.state is InstanceState.STOPPED and attempt.retry_at is None:
        return Record(current)
    return Wait(late) if late else Resume(current)


def _newest(observed: Observed, generation: int) -> Instance | None:
    """The instance of this generation that is furthest along."""
    of_generation = [i for i in _in_order(observed) if i.generation == generation]
    return max(of_generation, key=lambda i: _progress(i, observed), default=None)


def _progress(instance: Instance, observed: Observed) -> tuple[bool, bool, bool]:
    return (
        instance == observed.serving,
        observed.is_healthy(instance),
        instance.state is InstanceState.RUNNING,
    )


def _in_order(observed: Observed) -> list[Instance]:
    """Oldest first; by id among equals, so that the same input gives the same plan."""
    return sorted(observed.instances, key=lambda i: (i.generation, i.id))
