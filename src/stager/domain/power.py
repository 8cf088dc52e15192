"""Decides which environments fall asleep, and how deeply. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from stager.domain.deployment import Deployment
from stager.domain.environment import Depth, Desired, Environment
from stager.domain.status import State, status_when_awake

_AT_REST = frozenset({State.LIVE, State.DEGRADED, State.UNRESPONSIVE, State.FAILED_UPDATE})


@dataclass(frozen=True, slots=True)
class SleepRules:
    """When the previews of an application fall asleep.

    Args:
        sleep_after: seconds without a request after which a preview is paused; None for never.
        stop_after: seconds asleep after which a paused preview is stopped; None for never.
    """

    sleep_after: float | None = None
    stop_after: float | None = None


def due(desired: Desired, rules: SleepRules, *, idle: float, asleep: float) -> Depth | None:
    """The depth to which an environment is due to fall asleep now; None for no change.

    Args:
        idle: seconds since it was last requested, woken or deployed.
        asleep: seconds since it was put to sleep.
    """
    if desired.should_run:
        is_due = rules.sleep_after is not None and idle >= rules.sleep_after
        return Depth.PAUSED if is_due else None
    is_paused = desired.is_asleep and desired.depth is Depth.PAUSED
    is_due = is_paused and rules.stop_after is not None and asleep >= rules.stop_after
    return Depth.STOPPED if is_due else None


def may_sleep(environment: Environment, deployment: Deployment | None) -> bool:
    """Whether it serves and nothing of it is built or started. An environment that sleeps may sleep deeper.

    Args:
        deployment: of the desired generation.
    """
    if environment.serving is None or environment.key.is_of_snapshot or environment.is_waking:
        return False
    if not environment.desired.keeps_instances:
        return False
    return status_when_awake(environment, deployment).state in _AT_REST
