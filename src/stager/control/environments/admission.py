"""Writes the decisions of an allocation: which previews sleep, are admitted, wait at which place of the
queue, or are removed by rotation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from stager.control.environments.desired_state import DesiredState
from stager.control.environments.occupancy import Occupants, waiting
from stager.domain.allocation import Allocation, Level, Occupancy, Queued, Resource, Scope, Shortage, Sleep
from stager.domain.environment import Environment, Suspension, SuspensionReason
from stager.domain.errors import Refused
from stager.domain.text import binary_size
from stager.ports.store import StateKind, Transaction

STARTS_ITSELF = "It starts by itself as soon as there is room."


@dataclass(frozen=True, slots=True)
class Decided:
    """An allocation, and what it was decided by."""

    occupants: Occupants
    allocation: Allocation
    min_idle: timedelta

    @property
    def admitted_after(self) -> set[str]:
        """The ids of those that may run: the admitted ones of before that still do, and the new ones. One
        that failed has given its room up, so that its next deployment is admitted again."""
        occupants = self.occupants
        awake = {
            environment.id
            for environment, deployment in occupants.stored.pairs
            if occupants.occupancy(environment, deployment) is Occupancy.AWAKE
        }
        return (awake & set(occupants.admitted)) | set(self.allocation.admitted)


@dataclass(frozen=True, slots=True)
class Change:
    """What was changed about an environment.

    Args:
        action: in the log and the audit log; empty for none.
        reason: a sentence.
        is_shown: whether its page has to be updated at once.
        wakes: whether its worker has something to do.
    """

    environment: Environment
    action: str = ""
    reason: str = ""
    is_shown: bool = False
    wakes: bool = False


def apply(tx: Transaction, desired_state: DesiredState, decided: Decided) -> list[Change]:
    """Store the decisions. What has changed since they were made is left alone: the next pass decides
    again."""
    allocation, stored = decided.allocation, decided.occupants.stored
    changes = [_put_to_sleep(tx, desired_state, sleep, decided.min_idle) for sleep in allocation.sleeps]
    changes += [_admit(tx, id_) for id_ in allocation.admitted]
    since = {tenant.id: tenant.since for tenant in decided.occupants.tenants()}
    for queued in allocation.queue:
        if queued.id not in stored.queued_at:
            tx.save_environment_state(queued.id, StateKind.QUEUE, since[queued.id].isoformat())
        changes.append(_queue(tx, queued))
    for id_ in stored.queued_at.keys() - set(waiting(decided.occupants)):
        tx.save_environment_state(id_, StateKind.QUEUE, "")
    return [change for change in changes if change is not None]


def _admit(tx: Transaction, environment_id: str) -> Change | None:
    environment = tx.environment(environment_id)
    if environment is None or not environment.desired.is_queued:
        return None
    tx.save_environment_state(environment_id, StateKind.QUEUE, "")
    admitted = replace(environment, desired=environment.desired.resumed())
    tx.save_environment(admitted)
    return Change(admitted, "admit", "There is room again.", is_shown=True, wakes=True)


def _queue(tx: Transaction, queued: Queued) -> Change | None:
    environment = tx.environment(queued.id)
    if environment is None or not (environment.desired.should_run or environment.desired.is_queued):
        return None
    why = sentence(queued.shortage)
    rule = queued.shortage.resource.value
    suspension = Suspension(SuspensionReason.QUEUED, why, STARTS_ITSELF, queued.place, rule)
    if environment.desired.suspension == suspension:
        return None
    is_new = not environment.desired.is_queued
    waits = replace(environment, desired=environment.desired.suspended(suspension))
    tx.save_environment(waits)
    return Change(waits, "queue" if is_new else "", why, is_shown=True, wakes=is_new)


def _put_to_sleep(
    tx: Transaction, desired_state: DesiredState, sleep: Sleep, min_idle: timedelta
) -> Change | None:
    environment = tx.environment(sleep.id)
    if environment is None or not environment.desired.keeps_instances:
        return None
    why = f"It was put to sleep to make room. {sentence(sleep.shortage)}"
    try:
        asleep = desired_state.sleep(tx, environment, sleep.depth, min_idle.total_seconds(), why)
    except Refused:  # it isn't at rest any more
        return None
    return Change(asleep, "sleep", why, wakes=True)


def rotate(
    tx: Transaction, desired_state: DesiredState, environment_id: str, for_id: str, limit: int
) -> Change | None:
    """Remove a preview for another one: delete a manual one; suspend a pull request's, so that its page and
    its comment say why it stopped.

    Args:
        limit: of previews.
    """
    environment = tx.environment(environment_id)
    if environment is None or not environment.desired.keeps_instances:
        return None
    successor = tx.environment(for_id)
    # People who see this preview may not see those of other applications.
    is_known = successor is not None and successor.app == environment.app
    other = f'the newer preview "{successor.name}"' if successor and is_known else "a newer preview"
    why = f"The limit of {limit} previews is reached, so {other} replaced this one."
    if environment.change is None:
        removed = desired_state.delete(tx, environment)
        return Change(removed, "rotate", why, wakes=True)
    suspension = Suspension(
        SuspensionReason.NO_ROOM,
        why,
        "It comes back with the next push, when the pull request is reopened, or when it is launched.",
    )
    suspended = replace(environment, desired=environment.desired.suspended(suspension))
    tx.save_environment(suspended)
    return Change(suspended, "rotate", why, wakes=True)


def sentence(shortage: Shortage) -> str:
    """What is short, as a sentence."""
    limit, whose = shortage.limit, _whose(shortage.scope)
    match shortage.resource:
        case Resource.PREVIEWS:
            return f"The limit of {_count(limit, 'preview')} is reached."
        case Resource.RUNNING:
            return f"The limit of {_count(limit, 'running preview')}{whose} is reached."
        case Resource.MEMORY:
            return f"The memory limit of previews{whose}, {binary_size(limit)}, is reached."
        case Resource.MACHINE_MEMORY:
            return f"The machine is short of memory: {binary_size(limit)} must stay available."
        case Resource.DISK:
            return f"The disk limit of previews{whose}, {binary_size(limit)}, is reached."
        case Resource.MACHINE_DISK:
            return f"The machine is short of disk space: {binary_size(limit)} must stay free."


def _whose(scope: Scope) -> str:
    match scope.level:
        case Level.HOST:
            return ""
        case Level.APPLICATION:
            return f" of {scope.name}"
        case Level.AUTHOR:
            return f" by {scope.name.partition(':')[2]}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
