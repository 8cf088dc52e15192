"""`plan`, exhaustively: every combination of desired and observed comes to rest and keeps the promises.

For one service that is every combination. For two services it is every combination of the states that differ.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from stager.domain.environment import (
    Attempt,
    Desired,
    Instance,
    InstanceState,
    Observed,
    RunState,
    Service,
    Suspension,
    SuspensionReason,
)
from stager.domain.plan import (
    Action,
    Check,
    Publish,
    Record,
    Resume,
    Retire,
    Start,
    Unpublish,
    Wait,
    continues,
    plan,
)
from stager.domain.route import Endpoint
from tests.unit.domain.world import ALL, API, BROKEN, DATABASE, START, WEB, World, endpoint, services_of

NEWEST = 2
RUNNING = Desired(RunState.RUNNING, NEWEST)
SUSPENDED = RUNNING.suspended(Suspension(SuspensionReason.KILLED, "Killed by hand."))
DESIRED = {"running": RUNNING, "absent": RUNNING.absent(), "suspended": SUSPENDED}
NOWHERE = Endpoint("10.200.9.9", 3000)

FRESH: Mapping[str, Any] = {}
DUE: Mapping[str, Any] = {"failures": 1, "retry_at": START - timedelta(seconds=5)}
LATER: Mapping[str, Any] = {"failures": 1, "retry_at": START + timedelta(seconds=5)}
GIVEN_UP: Mapping[str, Any] = {"failures": 3, "final": True, "outcome": BROKEN}
ATTEMPTS = (FRESH, DUE, LATER, GIVEN_UP)


@dataclass(frozen=True)
class Layout:
    """What is combined.

    Args:
        slots: service and generation of each instance that may be there.
        states: that an instance may have; None for not there.
        attempts: of the newest and of the older generation.
        services: by generation.
    """

    slots: Sequence[tuple[Service, int]]
    states: Sequence[str | None]
    attempts: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
    services: Mapping[int, tuple[Service, ...]]


def two(new: tuple[Service, ...], old: tuple[Service, ...]) -> Layout:
    """One instance of each service of each generation."""
    return Layout(
        slots=[*((service, NEWEST) for service in new), *((service, NEWEST - 1) for service in old)],
        states=[None, "stopped", "running", "healthy"],
        attempts=[(FRESH, FRESH), (LATER, FRESH), (GIVEN_UP, FRESH), (FRESH, GIVEN_UP)],
        services={NEWEST: new, NEWEST - 1: old},
    )


LAYOUTS = {
    "one service": Layout(
        slots=[(WEB, NEWEST), (WEB, NEWEST), (WEB, NEWEST - 1)],
        states=[None, "created", "stopped", "running", "healthy"],
        attempts=[(new, old) for new in ATTEMPTS for old in ATTEMPTS],
        services={},
    ),
    "two routed services": two((WEB, API), (WEB, API)),
    "one of them not routed": two((DATABASE, WEB), (DATABASE, WEB)),
    "one of them new": two((WEB, API), (WEB,)),
    "one of them no more": two((WEB,), (WEB, API)),
}
ENDINGS = {
    "all answer": (ALL, ALL),
    "web answers alone": (ALL, ("web",)),
    "none answers": (ALL, ()),
    "none starts": ((), ()),
}


def instance(number: int, generation: int, state: str, service: str = "web") -> Instance:
    is_running = state in ("running", "healthy")
    return Instance(
        id=f"i{number}",
        environment="e",
        service=service,
        deployment=f"d{generation}",
        generation=generation,
        state=InstanceState.RUNNING if is_running else InstanceState(state),
        started_at="" if state == "created" else "t1",
        endpoint=endpoint(number) if is_running else None,
    )


def observations(layout: Layout) -> Iterator[Observed]:
    """Each instance in every state, with every route and the pairs of attempts."""
    for states in itertools.product(layout.states, repeat=len(layout.slots)):
        there = [
            (instance(number, generation, state, service.name), state)
            for number, ((service, generation), state) in enumerate(zip(layout.slots, states, strict=True))
            if state
        ]
        instances = tuple(i for i, _ in there)
        healthy: dict[int, dict[str, str]] = {NEWEST: {}, NEWEST - 1: {}}
        for each, state in there:
            if state == "healthy":
                healthy[each.generation][each.service] = each.run
        for published, (new, old) in itertools.product(routes(layout, instances), layout.attempts):
            attempts = tuple(
                Attempt(generation, healthy_runs=healthy[generation], **facts)
                for generation, facts in ((NEWEST, new), (NEWEST - 1, old))
            )
            yield Observed(instances, published, attempts, layout.services)


def routes(layout: Layout, instances: Sequence[Instance]) -> Iterator[dict[str, Endpoint]]:
    """Each routed service with a page, a route to nowhere, or one to any of its instances that run."""
    names = sorted({service.name for service, _ in layout.slots if service.is_routed})
    targets = [
        [None, NOWHERE, *(i.endpoint for i in instances if i.service == name and i.endpoint)]
        for name in names
    ]
    for chosen in itertools.product(*targets):
        yield {name: to for name, to in zip(names, chosen, strict=True) if to is not None}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
def test_every_combination_comes_to_rest(layout: Layout, ending: tuple[Sequence[str], Sequence[str]]) -> None:
    """`World` checks the other promises at each action."""
    starts, answers = ending
    for observed in observations(layout):
        world = World(RUNNING, observed, starts=starts, answers=answers)
        world.rest()
        check_rest(world, observed)
        check_what_served(world, observed)
        if answers == ALL and not observed.attempt(NEWEST).final:
            assert whole_generation(world.observed) == NEWEST, observed
            assert world.healthy(NEWEST) == {s.name for s in services_of(observed, NEWEST)}, observed


def check_rest(world: World, before: Observed) -> None:
    serving = world.observed.serving
    assert world.observed.published.keys() == {i.service for i in serving}, "a route leads nowhere"
    for name in {i.service for i in world.observed.instances}:
        left = [i for i in world.observed.instances if i.service == name]
        assert len(left) <= max(1, len({i.generation for i in serving})), before


def check_what_served(world: World, before: Observed) -> None:
    """A broken push never takes down a good preview."""
    served, serves = whole_generation(before), whole_generation(world.observed)
    if served is not None:
        assert serves is not None, before
        assert serves >= served, before
    lost = {i.service for i in before.serving} - {i.service for i in world.observed.serving}
    assert not lost or serves is not None, before


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("desired", [DESIRED["absent"], DESIRED["suspended"]], ids=["absent", "suspended"])
def test_what_shouldnt_run_is_removed(layout: Layout, desired: Desired) -> None:
    for observed in observations(layout):
        world = World(desired, observed)
        actions = world.rest()
        assert (world.observed.instances, world.observed.published) == ((), {}), observed
        assert {type(action) for action in actions} <= {Unpublish, Retire}


def whole_generation(observed: Observed) -> int | None:
    """The generation that serves with all its routed services, and alone."""
    generations = {i.generation for i in observed.serving}
    if len(generations) != 1:
        return None
    [generation] = generations
    routed = {service.name for service in services_of(observed, generation) if service.is_routed}
    return (
        generation if observed.published.keys() == {i.service for i in observed.serving} == routed else None
    )


OLD = instance(3, 1, "healthy")
NEW = instance(1, 2, "running")
CUT_OFF = replace(NEW, endpoint=None)
"""It was healthy once, and another program removed its network."""
SERVED = Attempt(1, healthy_runs={"web": OLD.run})
PASSED = Attempt(2, healthy_runs={"web": NEW.run})
TO_OLD, TO_NEW = {"web": endpoint(3)}, {"web": endpoint(1)}


@pytest.mark.parametrize(
    ("observed", "action"),
    [
        (Observed(), Start(2, "web")),
        (Observed((instance(1, 2, "created"),)), Resume(instance(1, 2, "created"), 2)),
        (Observed((NEW,)), Check(NEW, 2)),
        (Observed((NEW,), {}, (PASSED,)), Publish(2, (NEW,))),
        (Observed((NEW,), TO_NEW, (PASSED,)), None),
        (Observed((CUT_OFF,), TO_NEW, (PASSED,)), Unpublish(frozenset({"web"}))),
        (Observed((CUT_OFF,), {}, (PASSED,)), Check(CUT_OFF, 2)),
        (Observed((OLD,), TO_OLD, (SERVED,)), Start(2, "web")),
        (Observed((OLD, NEW), TO_OLD, (SERVED,)), Check(NEW, 2)),
        (Observed((OLD, NEW), TO_NEW, (SERVED, PASSED)), Retire((OLD,))),
        (Observed((OLD,), {}, (SERVED,)), Publish(1, (OLD,))),
        (Observed((), TO_NEW), Unpublish(frozenset({"web"}))),
        (Observed((instance(1, 2, "stopped"),)), Record(instance(1, 2, "stopped"), 2)),
        (
            Observed((), {}, (Attempt(2, retry_at=START + timedelta(seconds=9)),)),
            Wait(START + timedelta(seconds=9)),
        ),
        (Observed((), {}, (Attempt(2, final=True, outcome=BROKEN),)), None),
    ],
)
def test_the_next_action(observed: Observed, action: object) -> None:
    assert plan(RUNNING, observed, START) == action


def test_draining_never_delays_a_newer_revision() -> None:
    older = instance(4, 0, "healthy")
    attempts = (SERVED, Attempt(0, healthy_runs={"web": older.run}))
    assert plan(RUNNING, Observed((older, OLD), TO_OLD, attempts), START) == Start(2, "web")


def test_the_last_good_one_is_revived_when_the_newest_is_given_up() -> None:
    """After a reboot of the machine a preview whose last push was broken comes back as it was."""
    stopped = instance(3, 1, "stopped")
    given_up = Attempt(2, final=True, outcome=BROKEN)
    world = World(RUNNING, Observed((stopped,), {}, (SERVED, given_up)))
    world.rest()
    [serving] = world.observed.serving
    assert serving.generation == 1


def test_a_generation_that_the_database_lost_serves_until_the_desired_one_does() -> None:
    """The database was restored from a backup that is older than what runs."""
    lost = instance(3, 3, "healthy")
    observed = Observed((lost,), TO_OLD, (Attempt(3, healthy_runs={"web": lost.run}),))
    world = World(RUNNING, observed)
    names = [type(action).__name__ for action in world.rest()]
    assert names == ["Start", "Check", "Publish", "Retire"]


class TestTwoServices:
    SERVICES: ClassVar = {1: (WEB, DATABASE), 2: (WEB, DATABASE)}

    def test_all_are_started_before_any_is_checked_and_published_last(self) -> None:
        world = World(RUNNING, Observed(services=self.SERVICES))
        names = [type(action).__name__ for action in world.rest()]
        assert names == ["Start", "Start", "Check", "Check", "Publish"]

    def test_a_service_that_dies_is_started_again_while_the_other_serves(self) -> None:
        web, database = instance(1, 2, "healthy"), instance(2, 2, "stopped", "database")
        attempt = Attempt(2, healthy_runs={"web": web.run, "database": database.run})
        world = World(RUNNING, Observed((web, database), TO_NEW, (attempt,), self.SERVICES))
        names = [type(action).__name__ for action in world.rest()]
        assert names == ["Record", "Wait", "Resume", "Check"]
        assert world.observed.published == TO_NEW

    def test_an_old_generation_is_retired_as_a_whole(self) -> None:
        observed = Observed(
            (OLD, instance(4, 1, "healthy", "database"), NEW, instance(2, 2, "healthy", "database")),
            TO_NEW,
            (
                Attempt(1, healthy_runs={"web": OLD.run, "database": "i4@t1"}),
                Attempt(2, healthy_runs={"web": NEW.run, "database": "i2@t1"}),
            ),
            self.SERVICES,
        )
        assert plan(RUNNING, observed, START) == Retire(observed.instances[:2])


CREATED, STOPPED = instance(1, 2, "created"), instance(1, 2, "stopped")
DB = instance(2, 2, "running", "database")


@pytest.mark.parametrize(
    ("running", "planned", "goes_on"),
    [
        (Start(2, "web"), Start(2, "web"), True),
        (Start(2, "web"), Resume(CREATED, 2), True),
        (Start(2, "web"), Check(NEW, 2), True),
        (Start(2, "web"), Start(2, "database"), True),
        (Start(2, "web"), Start(3, "web"), False),
        (Start(2, "web"), Unpublish(frozenset({"web"})), False),
        (Resume(CREATED, 2), Check(NEW, 2), True),
        (Resume(CREATED, 2), Check(DB, 2), True),
        (Resume(CREATED, 2), Start(2, "web"), False),
        (Resume(CREATED, 2), Resume(instance(9, 2, "created"), 2), False),
        (Check(NEW, 2), Check(NEW, 2), True),
        (Check(NEW, 2), Start(2, "database"), False),
        (Check(NEW, 2), Record(STOPPED, 2), False),
        (Check(NEW, 2), None, False),
        (Publish(2, (NEW,)), Publish(2, (NEW,)), True),
        (Publish(2, (NEW,)), Publish(1, (OLD,)), False),
        (Publish(2, (NEW,)), None, True),
        (Retire((OLD, DB)), Retire((DB,)), True),
        (Retire((OLD,)), Retire((OLD, DB)), False),
        (Retire((OLD,)), Start(3, "web"), False),
        (Record(STOPPED, 2), Record(STOPPED, 2), True),
        (Wait(START), Wait(START), True),
        (Wait(START), Resume(STOPPED, 2), False),
    ],
)
def test_whether_a_running_action_continues(running: Action, planned: Action | None, goes_on: bool) -> None:
    assert continues(running, planned) is goes_on
