"""`plan`, exhaustively: every combination of desired and observed comes to rest and keeps the promises."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from stager.domain.environment import (
    Attempt,
    Desired,
    Instance,
    InstanceState,
    Observed,
    RunState,
    Suspension,
    SuspensionReason,
)
from stager.domain.plan import Check, Publish, Record, Resume, Retire, Start, Unpublish, Wait, plan
from stager.domain.route import Endpoint
from tests.unit.domain.world import BROKEN, START, World, endpoint

NEWEST = 2
SUSPENSION = Suspension(SuspensionReason.KILLED, "Killed by hand.")
RUNNING = Desired(RunState.RUNNING, NEWEST)
DESIRED = [RUNNING, RUNNING.absent(), RUNNING.suspended(SUSPENSION)]
STATES = [None, "created", "stopped", "running", "healthy"]
"""What each of the instances may be; None for not there."""
ATTEMPTS = [
    {},
    {"failures": 1, "retry_at": START - timedelta(seconds=5)},
    {"failures": 1, "retry_at": START + timedelta(seconds=5)},
    {"failures": 3, "final": True, "outcome": BROKEN},
]


def instance(number: int, generation: int, state: str) -> Instance:
    running = state in ("running", "healthy")
    return Instance(
        id=f"i{number}",
        environment="e",
        service="web",
        deployment=f"d{generation}",
        generation=generation,
        state=InstanceState.RUNNING if running else InstanceState(state),
        started_at="" if state == "created" else "t1",
        endpoint=endpoint(number) if running else None,
    )


def observations() -> Iterator[Observed]:
    """Two instances of the newest generation, one of the one before, each in every state, with every route
    and every pair of attempts."""
    slots = [(1, NEWEST), (2, NEWEST), (3, NEWEST - 1)]
    for states in itertools.product(STATES, repeat=len(slots)):
        there = [(n, g, s) for (n, g), s in zip(slots, states, strict=True) if s]
        instances = tuple(instance(*facts) for facts in there)
        healthy = {
            i.generation: i.run for i, (_, _, s) in zip(instances, there, strict=True) if s == "healthy"
        }
        routes = [None, Endpoint("10.200.9.9", 3000), *(i.endpoint for i in instances if i.endpoint)]
        for route, new, old in itertools.product(routes, ATTEMPTS, ATTEMPTS):
            attempts = tuple(
                Attempt(generation, healthy_run=healthy.get(generation, ""), **facts)  # type: ignore[arg-type]
                for generation, facts in ((NEWEST, new), (NEWEST - 1, old))
            )
            yield Observed(instances, route, attempts)


@pytest.mark.parametrize("desired", DESIRED, ids=["wanted", "gone", "held"])
@pytest.mark.parametrize(("starts", "answers"), [(True, True), (True, False), (False, False)])
def test_every_combination_comes_to_rest(desired: Desired, starts: bool, answers: bool) -> None:
    for observed in observations():
        world = World(desired, observed, starts=starts, answers=answers)
        world.rest()
        served = world.observed.serving
        assert world.observed.published == (served.endpoint if served else None), observed
        assert len(world.observed.instances) <= (1 if desired.should_run else 0), observed
        if not desired.should_run:
            assert served is None


def test_a_wish_that_can_be_met_is_met() -> None:
    for observed in observations():
        world = World(DESIRED[0], observed)
        world.rest()
        if not observed.attempt(NEWEST).final:
            assert world.observed.serving, observed
            assert world.observed.serving.generation == NEWEST, observed


def test_what_serves_goes_on_serving_until_a_newer_one_does() -> None:
    """A broken push never takes down a good preview."""
    for observed in observations():
        before = observed.serving
        if before is None:
            continue
        for starts, answers in ((True, False), (False, False)):
            world = World(DESIRED[0], observed, starts=starts, answers=answers)
            world.rest()
            assert world.observed.serving is not None, observed
            assert world.observed.serving.generation >= before.generation


WANTED = RUNNING
OLD = instance(3, 1, "healthy")
NEW = instance(1, 2, "running")
CUT_OFF = replace(NEW, endpoint=None)
"""It has answered once, and somebody took its network away."""
SERVED = Attempt(1, healthy_run=OLD.run)


@pytest.mark.parametrize(
    ("observed", "action"),
    [
        (Observed(), Start(2)),
        (Observed((instance(1, 2, "created"),)), Resume(instance(1, 2, "created"))),
        (Observed((NEW,)), Check(NEW)),
        (Observed((NEW,), None, (Attempt(2, healthy_run=NEW.run),)), Publish(NEW)),
        (Observed((NEW,), NEW.endpoint, (Attempt(2, healthy_run=NEW.run),)), None),
        (Observed((CUT_OFF,), NEW.endpoint, (Attempt(2, healthy_run=NEW.run),)), Unpublish()),
        (Observed((CUT_OFF,), None, (Attempt(2, healthy_run=NEW.run),)), Check(CUT_OFF)),
        (Observed((OLD,), OLD.endpoint, (SERVED,)), Start(2)),
        (Observed((OLD, NEW), OLD.endpoint, (SERVED,)), Check(NEW)),
        (
            Observed((OLD, NEW), NEW.endpoint, (SERVED, Attempt(2, healthy_run=NEW.run))),
            Retire(OLD),
        ),
        (Observed((OLD,), None, (SERVED,)), Publish(OLD)),
        (Observed((), NEW.endpoint), Unpublish()),
        (Observed((instance(1, 2, "stopped"),)), Record(instance(1, 2, "stopped"))),
        (
            Observed((), None, (Attempt(2, retry_at=START + timedelta(seconds=9)),)),
            Wait(START + timedelta(seconds=9)),
        ),
        (Observed((), None, (Attempt(2, final=True, outcome=BROKEN),)), None),
    ],
)
def test_the_next_action(observed: Observed, action: object) -> None:
    assert plan(WANTED, observed, START) == action


def test_draining_never_delays_a_newer_revision() -> None:
    older = instance(4, 0, "healthy")
    attempts = (SERVED, Attempt(0, healthy_run=older.run))
    assert plan(WANTED, Observed((older, OLD), OLD.endpoint, attempts), START) == Start(2)


def test_the_last_good_one_is_revived_when_the_newest_is_given_up() -> None:
    """After a reboot of the machine a preview whose last push was broken comes back as it was."""
    stopped = instance(3, 1, "stopped")
    given_up = Attempt(2, final=True, outcome=BROKEN)
    world = World(WANTED, Observed((stopped,), None, (SERVED, given_up)))
    world.rest()
    assert world.observed.serving is not None
    assert world.observed.serving.generation == 1
