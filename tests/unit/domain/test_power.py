"""When environments fall asleep."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stager.domain.attempt import Attempt
from stager.domain.environment import Depth, Desired, EnvironmentKey, RunState, Suspension, SuspensionReason
from stager.domain.power import SleepRules, due, may_sleep
from tests.unit.domain.test_status import DEPLOYMENT, FAILED, asleep, waking, wanted

RULES = SleepRules(60.0, 600.0)
NEVER = SleepRules()
RUNNING = Desired(RunState.RUNNING, 1)
KILLED = Suspension(SuspensionReason.KILLED, "It was killed.")


@pytest.mark.parametrize(
    ("desired", "rules", "idle", "asleep_for", "depth"),
    [
        (RUNNING, RULES, 59.0, 0.0, None),
        (RUNNING, RULES, 60.0, 0.0, Depth.PAUSED),
        (RUNNING, RULES, 60.0, 9999.0, Depth.PAUSED),
        (RUNNING, NEVER, 9999.0, 9999.0, None),
        (RUNNING.asleep(), RULES, 9999.0, 599.0, None),
        (RUNNING.asleep(), RULES, 0.0, 600.0, Depth.STOPPED),
        (RUNNING.asleep(), NEVER, 9999.0, 9999.0, None),
        (RUNNING.asleep(Depth.STOPPED), RULES, 9999.0, 9999.0, None),
        (RUNNING.suspended(KILLED), RULES, 9999.0, 9999.0, None),
        (RUNNING.absent(), RULES, 9999.0, 9999.0, None),
    ],
)
def test_due(
    desired: Desired, rules: SleepRules, idle: float, asleep_for: float, depth: Depth | None
) -> None:
    assert due(desired, rules, idle=idle, asleep=asleep_for) is depth


def test_only_what_serves_and_is_at_rest_may_sleep() -> None:
    crashing = replace(DEPLOYMENT, attempt=Attempt(2, failures=1))
    assert may_sleep(wanted(2), DEPLOYMENT)
    assert may_sleep(wanted(2), crashing), "it serves"
    assert may_sleep(wanted(1), FAILED), "the revision before serves"
    assert may_sleep(asleep(2), DEPLOYMENT), "deeper"
    assert not may_sleep(wanted(), DEPLOYMENT), "it starts"
    assert not may_sleep(wanted(1), DEPLOYMENT), "it is updated"
    assert not may_sleep(wanted(), FAILED)
    assert not may_sleep(waking(2), DEPLOYMENT)
    assert not may_sleep(wanted(2, KILLED), DEPLOYMENT)
    assert not may_sleep(wanted(2, present=False), DEPLOYMENT)
    of_snapshot = replace(wanted(2), key=EnvironmentKey.of_snapshot("shop", "s1"))
    assert not may_sleep(of_snapshot, DEPLOYMENT)


def test_what_sleeps_keeps_its_generation_and_loses_its_depth_when_it_wakes() -> None:
    deep = RUNNING.asleep(Depth.STOPPED, 60.0)
    assert (deep.generation, deep.depth, deep.min_idle) == (1, Depth.STOPPED, 60.0)
    assert deep.resumed() == RUNNING
    assert deep.suspended(KILLED) == RUNNING.suspended(KILLED)
    assert RUNNING.absent().asleep() == RUNNING.absent()
