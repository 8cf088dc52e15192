"""`plan`, exhaustively: from every combination of desired and observed it comes to rest and keeps its
promises, whatever its actions lead to."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from stager.domain.attempt import Attempt, ServiceFailure, degraded
from stager.domain.environment import (
    Depth,
    Desired,
    Instance,
    InstanceState,
    RunState,
    Service,
    Suspension,
    SuspensionReason,
)
from stager.domain.observed import Observed
from stager.domain.plan import (
    Action,
    Check,
    EndSleep,
    Halt,
    Join,
    Park,
    Pause,
    Prepare,
    Publish,
    Record,
    Resume,
    Retire,
    Start,
    Unpause,
    Unpublish,
    Wait,
    continues,
    plan,
)
from stager.domain.route import Endpoint
from stager.domain.service import Condition
from tests.unit.domain.world import BROKEN, DUE, START, WEB, World, endpoint, instance_of, paused, stopped

NEWEST = 2
RUNNING = Desired(RunState.RUNNING, NEWEST)
SUSPENDED = RUNNING.suspended(Suspension(SuspensionReason.KILLED, "Killed by hand."))
DESIRED = {"running": RUNNING, "absent": RUNNING.absent(), "suspended": SUSPENDED}
ASLEEP = {f"asleep, {depth}": RUNNING.asleep(depth) for depth in Depth}
NOWHERE = Endpoint("10.200.9.9", 3000)
DEEPEST = 100
"""More actions than any of these environments needs."""

FRESH: Mapping[str, Any] = {}
OVERDUE: Mapping[str, Any] = {"failures": 1, "retry_at": DUE}
LATER: Mapping[str, Any] = {"failures": 1, "retry_at": START + timedelta(seconds=5)}
GIVEN_UP: Mapping[str, Any] = {"failures": 3, "final": True, "outcome": BROKEN}
ATTEMPTS = (FRESH, OVERDUE, LATER, GIVEN_UP)

API = Service("api")
DATABASE = Service("database", is_routed=False, is_kept=True, is_stateful=True, inputs="16")
UPGRADED = replace(DATABASE, inputs="17")
CACHE = Service("cache", is_routed=False, is_kept=True, inputs="7")
MAIL = Service("mail", is_kept=True, inputs="2")
JOB = Service("migrate", is_routed=False, is_job=True, depends_on={"database": Condition.HEALTHY})
NEEDS_DATABASE = replace(WEB, depends_on={"database": Condition.HEALTHY})
NEEDS_CACHE = replace(WEB, depends_on={"cache": Condition.STARTED})
NEEDS_JOB = replace(WEB, depends_on={"migrate": Condition.COMPLETED})


@dataclass(frozen=True)
class Layout:
    """What is combined.

    Args:
        slots: service and generation of each instance that may be there.
        states: that an instance may have; None for not there. See `found`.
        attempts: of the newest and of the older generation.
        services: by generation.
        declared: what the newest generation has once it is prepared.
    """

    slots: Sequence[tuple[Service, int]]
    states: Sequence[str | None]
    attempts: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
    services: Mapping[int, tuple[Service, ...]]
    declared: tuple[Service, ...] = (WEB,)


def two(new: tuple[Service, ...], old: tuple[Service, ...], *, is_prepared: bool = True) -> Layout:
    """One instance of each service of each generation."""
    return Layout(
        slots=[*((service, NEWEST) for service in new), *((service, NEWEST - 1) for service in old)],
        states=[None, "stopped", "running", "healthy"],
        attempts=[(FRESH, FRESH), (LATER, FRESH), (GIVEN_UP, FRESH), (FRESH, GIVEN_UP)],
        services={NEWEST: new, NEWEST - 1: old} if is_prepared else {NEWEST - 1: old},
        declared=new,
    )


def shared(new: tuple[Service, ...], old: tuple[Service, ...]) -> Layout:
    """As `two`, with instances that the newest generation may use further."""
    states = [None, "stopped", "running", "healthy", "joined", "shared"]
    if not any(service.is_routed and service.is_kept for service in new):  # there are many routes
        states += ["crashed", "apart"]
    return replace(two(new, old), states=states, attempts=[(FRESH, FRESH), (GIVEN_UP, FRESH)])


LAYOUTS = {
    "one service": Layout(
        slots=[(WEB, NEWEST), (WEB, NEWEST), (WEB, NEWEST - 1)],
        states=[None, "created", "stopped", "running", "healthy"],
        attempts=[(new, old) for new in ATTEMPTS for old in ATTEMPTS],
        services={NEWEST: (WEB,), NEWEST - 1: (WEB,)},
    ),
    "one service, not prepared": two((WEB,), (WEB,), is_prepared=False),
    "two routed services": two((WEB, API), (WEB, API)),
    "one of them new": two((WEB, API), (WEB,)),
    "one of them no more": two((WEB,), (WEB, API)),
    "a database": shared((DATABASE, NEEDS_DATABASE), (DATABASE, NEEDS_DATABASE)),
    "a database, not prepared": two(
        (DATABASE, NEEDS_DATABASE), (DATABASE, NEEDS_DATABASE), is_prepared=False
    ),
    "an upgraded database": shared((UPGRADED, NEEDS_DATABASE), (DATABASE, NEEDS_DATABASE)),
    "an upgraded database that nothing waits for": shared((UPGRADED, WEB), (DATABASE, WEB)),
    "a database no more": shared((WEB,), (DATABASE, WEB)),
    "a cache": shared((CACHE, NEEDS_CACHE), (CACHE, NEEDS_CACHE)),
    "another cache": shared((replace(CACHE, inputs="8"), NEEDS_CACHE), (CACHE, NEEDS_CACHE)),
    "a routed service that is kept": shared((WEB, MAIL), (WEB, MAIL)),
    "another routed service": shared((WEB, replace(MAIL, inputs="3")), (WEB, MAIL)),
    "a job": replace(
        two((DATABASE, JOB, NEEDS_JOB), (WEB, DATABASE)),
        slots=[(JOB, NEWEST), (NEEDS_JOB, NEWEST), (WEB, NEWEST - 1), (DATABASE, NEWEST - 1)],
    ),
}


SLEEPING = [None, "stopped", "running", "healthy", "paused", "asleep"]
SLEEPING_LAYOUTS = {
    "one service": replace(
        LAYOUTS["one service"],
        slots=[(WEB, NEWEST), (WEB, NEWEST - 1)],
        states=[*SLEEPING, "created"],
    ),
    "one service, not prepared": replace(LAYOUTS["one service, not prepared"], states=SLEEPING),
    "two routed services": replace(
        LAYOUTS["two routed services"], states=[None, "healthy", "paused", "asleep"]
    ),
    "a database": replace(LAYOUTS["a database"], states=[*SLEEPING, "joined", "shared"]),
    "an upgraded database": replace(LAYOUTS["an upgraded database"], states=[*SLEEPING, "joined", "shared"]),
    "a job": replace(LAYOUTS["a job"], states=[None, "healthy", "paused", "asleep"]),
}


def found(number: int, service: Service, generation: int, state: str) -> Instance:
    """An instance in one of the states: `crashed` was healthy before, `joined` also belongs to the newest
    generation, `shared` is healthy in it, too, and `apart` was created and not joined yet; `paused` and
    `asleep`, which is stopped, were healthy when they were put to sleep."""
    if state in ("finished", "done"):
        return stopped(found(number, service, generation, "running"), 0)
    if state == "paused":
        return paused(found(number, service, generation, "running"))
    if state == "asleep":
        return stopped(found(number, service, generation, "running"), 137)
    run_state = dict.fromkeys(("healthy", "joined", "shared", "apart"), "running") | {"crashed": "stopped"}
    of = (set() if state == "apart" else {generation}) | (
        {NEWEST} if state in ("joined", "shared") else set()
    )
    made = instance_of(service.name, generation, run_state.get(state, state), service.inputs)
    id_ = f"{service.name}.{generation}.{number}"
    to = endpoint(id_, made.started_at) if made.endpoint else None
    return replace(made, id=id_, endpoint=to, generations=frozenset(of))


def states_of(layout: Layout, service: Service, generation: int) -> list[str | None]:
    """The states of one instance; those of shared ones only for what may be shared."""
    if service.is_job:
        return [None, "stopped", "running", "finished", "done"]
    if generation == NEWEST:
        return [state for state in layout.states if state not in ("joined", "shared", "crashed")]
    unshared = (None, "created", "stopped", "running", "healthy", "paused", "asleep")
    return [state for state in layout.states if service.is_kept or state in unshared]


def worlds(layout: Layout) -> Iterator[World]:
    """Each instance in every state, with every route and the pairs of attempts."""
    for states in itertools.product(*(states_of(layout, *slot) for slot in layout.slots)):
        there = [
            (found(number, service, generation, state), state)
            for number, ((service, generation), state) in enumerate(zip(layout.slots, states, strict=True))
            if state
        ]
        instances = tuple(i for i, _ in there)
        if _are_doubled(layout, instances):
            continue
        healthy: dict[int, dict[str, str]] = {NEWEST: {}, NEWEST - 1: {}}
        for each, state in there:
            if state in ("healthy", "joined", "shared", "crashed", "done", "paused", "asleep"):
                healthy[each.generation][each.service] = each.run
            if state == "shared":
                healthy[NEWEST][each.service] = each.run
        for published, (new, old) in itertools.product(routes(layout, instances), layout.attempts):
            attempts = tuple(
                Attempt(generation, healthy_runs=healthy[generation], **facts)
                for generation, facts in ((NEWEST, new), (NEWEST - 1, old))
            )
            asleep_runs = frozenset(i.run for i, state in there if state in ("paused", "asleep"))
            observed = Observed(instances, published, attempts, layout.services, asleep_runs)
            world = World(RUNNING, observed, layout.declared)
            live = world.whole_generation
            yield replace(world, live=frozenset() if live is None else frozenset({live}))


def _are_doubled(layout: Layout, instances: Sequence[Instance]) -> bool:
    """Whether there are instances that Stager never creates: a second one of a stateful service, or of a
    service that is kept while one with the same inputs runs."""
    kept = {service.name: service for service, _ in layout.slots if service.is_kept}
    of_kept = [i for i in instances if i.service in kept]
    return any(
        one.service == other.service
        and (
            kept[one.service].is_stateful
            or (one.inputs == other.inputs and InstanceState.RUNNING in (one.state, other.state))
        )
        for one, other in itertools.combinations(of_kept, 2)
    )


def routes(layout: Layout, instances: Sequence[Instance]) -> Iterator[dict[str, Endpoint]]:
    """Each routed service with a page, a route to nowhere, or one to any of its instances that run."""
    names = sorted({service.name for service, _ in layout.slots if service.is_routed})
    targets = [
        [None, NOWHERE, *(i.endpoint for i in instances if i.service == name and i.endpoint)]
        for name in names
    ]
    for chosen in itertools.product(*targets):
        yield {name: to for name, to in zip(names, chosen, strict=True) if to is not None}


class Exploration:
    """Follows each plan from each world, with everything that an action may lead to.

    Args:
        only_success: follow only what an action leads to if nothing fails.

    Attributes:
        at_rest: the worlds that had nothing left to do.
    """

    def __init__(self, *, only_success: bool = False) -> None:
        self._outcomes = 1 if only_success else None
        self._done: dict[object, bool] = {}
        self.at_rest: list[World] = []

    def explore(self, start: World) -> None:
        """Follow all branches. A world that is reached from itself never comes to rest."""
        if start.key in self._done:
            return
        stack = [(start.key, self._enter(start))]
        while stack:
            key, following = stack[-1]
            after = next(following, None)
            if after is None:
                self._done[key] = True
                stack.pop()
            elif (is_done := self._done.get(after.key)) is None:
                stack.append((after.key, self._enter(after)))
            else:
                assert is_done, f"never comes to rest: {after.observed}"
            assert len(stack) < DEEPEST, f"never comes to rest: {start.observed}"

    def _enter(self, world: World) -> Iterator[World]:
        self._done[world.key] = False
        action = world.plan()
        if action is None:
            self.at_rest.append(world)
            world.check_rest()
            return
        world.check(action)
        for after in itertools.islice(world.outcomes(action), self._outcomes):
            world.check_step(after)
            yield after


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_every_combination_comes_to_rest(layout: Layout) -> None:
    """`World` checks the other promises at each action."""
    exploration = Exploration()
    for world in worlds(layout):
        exploration.explore(world)
    assert exploration.at_rest


@pytest.mark.parametrize("layout", SLEEPING_LAYOUTS.values(), ids=SLEEPING_LAYOUTS.keys())
@pytest.mark.parametrize("desired", [RUNNING, *ASLEEP.values()], ids=["running", *ASLEEP])
def test_every_combination_with_what_sleeps_comes_to_rest(layout: Layout, desired: Desired) -> None:
    """Also if the front refuses, so that it stays awake."""
    exploration = Exploration()
    for world in worlds(layout):
        exploration.explore(replace(world, desired=desired))
    assert exploration.at_rest


@pytest.mark.parametrize("layout", SLEEPING_LAYOUTS.values(), ids=SLEEPING_LAYOUTS.keys())
@pytest.mark.parametrize("desired", ASLEEP.values(), ids=ASLEEP)
def test_what_sleeps_serves_again_when_it_is_woken(layout: Layout, desired: Desired) -> None:
    """The generation that served, without a start of anything new."""
    for world in worlds(layout):
        serving = world.whole_generation
        if serving is None or world.observed.asleep_runs or world.given_up(serving):
            continue
        if world.observed.attempt(serving).final or serving not in world.observed.services:
            continue
        if world.ready(serving) != {s.name for s in world.services(serving)}:
            continue
        asleep, _ = replace(world, desired=desired).rest()
        assert {i.id for i in asleep.observed.instances} == {i.id for i in world.observed.instances}
        woken, actions = replace(asleep, desired=RUNNING), list[Action]()
        while woken.whole_generation is None:
            action = woken.plan()
            assert action is not None, asleep.observed
            woken.check(action)
            actions.append(action)
            woken = next(woken.outcomes(action))
        assert not any(isinstance(action, Start) for action in actions), actions
        is_known = NEWEST in world.observed.services or world.observed.instances[0].generation < NEWEST
        assert not (is_known and any(isinstance(action, Prepare) for action in actions)), actions
        assert woken.whole_generation >= serving


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_the_desired_generation_serves_if_nothing_fails(layout: Layout) -> None:
    exploration = Exploration(only_success=True)
    for world in worlds(layout):
        if not world.observed.attempt(NEWEST).final:
            exploration.explore(world)
    for world in exploration.at_rest:
        if world.observed.attempt(NEWEST).final or world.given_up(NEWEST):
            continue  # for an instance that ended before the first action
        assert world.whole_generation == NEWEST, world.observed
        assert world.ready(NEWEST) == {s.name for s in layout.declared}, world.observed


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("desired", [DESIRED["absent"], DESIRED["suspended"]], ids=["absent", "suspended"])
def test_what_shouldnt_run_is_removed(layout: Layout, desired: Desired) -> None:
    for world in worlds(layout):
        after, actions = replace(world, desired=desired).rest()
        assert (after.observed.instances, after.observed.published) == ((), {}), world.observed
        assert {type(action) for action in actions} <= {Unpublish, Retire}


@pytest.mark.parametrize("layout", SLEEPING_LAYOUTS.values(), ids=SLEEPING_LAYOUTS.keys())
def test_what_sleeps_and_shouldnt_run_is_removed(layout: Layout) -> None:
    for world in worlds(layout):
        after, actions = replace(world, desired=SUSPENDED).rest()
        observed = after.observed
        assert (observed.instances, observed.published, observed.asleep_runs) == ((), {}, frozenset())
        assert {type(action) for action in actions} <= {Unpause, Unpublish, Retire}


def instance(number: int, generation: int, state: str, service: str = "web") -> Instance:
    made = instance_of(service, generation, "running" if state == "healthy" else state)
    id_ = f"i{number}"
    return replace(made, id=id_, endpoint=endpoint(id_, "t1") if made.endpoint else None)


OLD = instance(3, 1, "healthy")
NEW = instance(1, 2, "running")
CUT_OFF = replace(NEW, endpoint=None)
"""It was healthy once, and another program removed its network."""
SERVED = Attempt(1, healthy_runs={"web": OLD.run})
PASSED = Attempt(2, healthy_runs={"web": NEW.run})
TO_OLD, TO_NEW = {"web": endpoint("i3", "t1")}, {"web": endpoint("i1", "t1")}


def observe(
    instances: tuple[Instance, ...] = (),
    published: Mapping[str, Endpoint] | None = None,
    attempts: tuple[Attempt, ...] = (),
    *services: Service,
) -> Observed:
    """With the same services in each generation."""
    return Observed(instances, published or {}, attempts, dict.fromkeys(range(4), services or (WEB,)))


@pytest.mark.parametrize(
    ("observed", "action"),
    [
        (Observed(), Prepare(2)),
        (Observed((OLD,), TO_OLD, (SERVED,)), Prepare(2)),
        (Observed((), {}, (Attempt(2, retry_at=DUE),)), Prepare(2)),
        (
            Observed((), {}, (Attempt(2, retry_at=START + timedelta(seconds=9)),)),
            Wait(START + timedelta(seconds=9)),
        ),
        (Observed((), {}, (Attempt(2, final=True, outcome=BROKEN),)), None),
        (Observed((instance(3, 1, "running"),)), Retire((instance(3, 1, "running"),))),
        (observe(), Start(2, "web")),
        (observe((instance(1, 2, "created"),)), Resume(instance(1, 2, "created"), 2)),
        (observe((NEW,)), Check(NEW, 2)),
        (observe((NEW,), {}, (PASSED,)), Publish(2, (NEW,))),
        (observe((NEW,), TO_NEW, (PASSED,)), None),
        (observe((CUT_OFF,), TO_NEW, (PASSED,)), Unpublish(frozenset({"web"}))),
        (observe((CUT_OFF,), {}, (PASSED,)), Check(CUT_OFF, 2)),
        (observe((OLD,), TO_OLD, (SERVED,)), Start(2, "web")),
        (observe((OLD, NEW), TO_OLD, (SERVED,)), Check(NEW, 2)),
        (observe((OLD, NEW), TO_NEW, (SERVED, PASSED)), Retire((OLD,))),
        (observe((OLD,), {}, (SERVED,)), Publish(1, (OLD,))),
        (observe((), TO_NEW), Unpublish(frozenset({"web"}))),
        (observe((instance(1, 2, "stopped"),)), Record(instance(1, 2, "stopped"), 2)),
        (
            observe((), {}, (Attempt(2, retry_at=START + timedelta(seconds=9)),)),
            Wait(START + timedelta(seconds=9)),
        ),
        (observe((), {}, (Attempt(2, final=True, outcome=BROKEN),)), None),
    ],
)
def test_the_next_action(observed: Observed, action: object) -> None:
    assert plan(RUNNING, observed, START) == action


def test_draining_never_delays_a_newer_revision() -> None:
    older = instance(4, 0, "healthy")
    attempts = (SERVED, Attempt(0, healthy_runs={"web": older.run}))
    assert plan(RUNNING, observe((older, OLD), TO_OLD, attempts), START) == Start(2, "web")


def test_the_last_good_one_is_revived_when_the_newest_is_given_up() -> None:
    """After a reboot of the machine a preview whose last push was broken comes back as it was."""
    stopped = instance(3, 1, "stopped")
    given_up = Attempt(2, final=True, outcome=BROKEN)
    world, _ = World(RUNNING, observe((stopped,), {}, (SERVED, given_up))).rest()
    [serving] = world.observed.serving
    assert serving.generation == 1


def test_a_generation_that_the_database_lost_serves_until_the_desired_one_does() -> None:
    """The database was restored from a backup that is older than what runs."""
    lost = instance(3, 3, "healthy")
    observed = observe((lost,), TO_OLD, (Attempt(3, healthy_runs={"web": lost.run}),))
    assert names(World(RUNNING, observed)) == ["Start web", "Check web 2", "Publish", "Retire web.3"]


def names(world: World) -> list[str]:
    """The actions until it is at rest: each with the service that it is for."""
    return [_name(action) for action in world.rest()[1]]


def _name(action: Action) -> str:
    kind = type(action).__name__
    match action:
        case Start(_, service):
            return f"{kind} {service}"
        case Join(instance, generation) | Check(instance, generation) | Record(instance, generation):
            return f"{kind} {instance.service} {generation}"
        case Resume(instance, generation):
            return f"{kind} {instance.service} {generation}"
        case Pause(instances) | Halt(instances) | Unpause(instances):
            return " ".join([kind, *(f"{i.service}.{i.generation}" for i in instances)])
        case Retire(instances):
            return " ".join([kind, *sorted(f"{i.service}.{i.generation}" for i in instances)])
        case _:
            return kind


def push(world: World, *services: Service) -> World:
    """The next generation, of these services."""
    desired = replace(world.desired.resumed(), generation=world.desired.generation + 1)
    return replace(world, desired=desired, declared=services)


def launched(*services: Service) -> World:
    """Generation 1 is live."""
    world, _ = World(Desired(RunState.RUNNING, 1), Observed(), services).rest()
    assert world.whole_generation == 1
    return world


class TestServices:
    def test_each_is_started_when_what_it_needs_is_ready(self) -> None:
        world = World(Desired(RunState.RUNNING, 1), Observed(), (NEEDS_JOB, JOB, DATABASE, CACHE))
        assert names(world) == [
            *("Prepare", "Start database", "Join database 1", "Start cache", "Join cache 1"),
            *("Check database 1", "Start migrate", "Check migrate 1", "Record migrate 1"),
            *("Start web", "Check web 1", "Check cache 1", "Publish"),
        ]

    def test_nothing_that_needs_a_service_starts_while_it_cant_be_joined(self) -> None:
        cache = instance_of("cache", 2, "running", CACHE.inputs)
        later = START + timedelta(seconds=5)
        attempt = Attempt(2, failed_services={"cache": ServiceFailure(1, later)})
        observed = observe((cache,), {}, (attempt,), NEEDS_CACHE, CACHE)
        assert plan(RUNNING, observed, START) == Wait(later)

    def test_nothing_is_checked_while_what_it_needs_is_started_again(self) -> None:
        """A long check would keep the other one down, and then fail."""
        database = stopped(instance_of("database", 2, "running", "16", generations=frozenset({2})), 1)
        later = START + timedelta(seconds=5)
        attempt = Attempt(2, failed_services={"database": ServiceFailure(1, later)})
        observed = observe((NEW, database), {}, (attempt,), NEEDS_DATABASE, DATABASE)
        assert plan(RUNNING, observed, START) == Wait(later)

    def test_a_push_replaces_only_what_changed(self) -> None:
        world = push(launched(WEB, DATABASE, CACHE), WEB, DATABASE, replace(CACHE, inputs="8"))
        assert names(world) == [
            *("Prepare", "Join database 2", "Start web", "Start cache", "Join cache 2"),
            *("Check web 2", "Check database 2", "Check cache 2", "Publish", "Retire cache.1 web.1"),
        ]

    def test_a_stateful_one_is_stopped_before_its_successor_starts_and_serves_both(self) -> None:
        world = push(launched(NEEDS_DATABASE, DATABASE), NEEDS_DATABASE, UPGRADED)
        assert names(world) == [
            *("Prepare", "Retire database.1", "Start database", "Join database 2", "Join database 1"),
            *("Check database 2", "Start web", "Check web 2", "Publish", "Retire web.1"),
        ]

    def test_the_old_database_comes_back_if_the_new_one_never_is_healthy(self) -> None:
        world = push(launched(NEEDS_DATABASE, DATABASE), NEEDS_DATABASE, UPGRADED)
        while not isinstance(action := world.plan(), Check):
            assert action
            world = next(world.outcomes(action))
        failed = list(world.outcomes(action))[-1]
        assert names(failed) == ["Retire database.2", "Start database", "Join database 1", "Check database 1"]
        assert failed.rest()[0].whole_generation == 1

    def test_a_new_database_that_is_healthy_stays_if_the_application_is_broken(self) -> None:
        """Its data may have been migrated."""
        world = push(launched(NEEDS_DATABASE, DATABASE), NEEDS_DATABASE, UPGRADED)
        while not (isinstance(action := world.plan(), Check) and action.instance.service == "web"):
            assert action
            world = next(world.outcomes(action))
        failed = list(world.outcomes(action))[-1]
        assert names(failed) == ["Retire web.2", "Check database 1"]
        assert failed.rest()[0].ready(1) == {"web", "database"}

    def test_a_job_that_is_done_doesnt_run_again_if_its_container_is_pruned(self) -> None:
        world = launched(NEEDS_JOB, JOB, DATABASE)
        left = tuple(i for i in world.observed.instances if i.service != "migrate")
        assert replace(world, observed=replace(world.observed, instances=left)).plan() is None

    def test_a_service_that_crashes_for_good_leaves_the_preview_degraded(self) -> None:
        world = launched(WEB, CACHE)
        for _ in range(30):
            [cache] = [i for i in world.observed.instances if i.service == "cache"]
            ended = [stopped(cache, 1) if i == cache else i for i in world.observed.instances]
            world, _ = replace(world, observed=replace(world.observed, instances=tuple(ended))).rest()
        assert world.whole_generation == 1
        assert not world.observed.attempt(1).final
        assert degraded(world.observed.attempt(1)).keys() == {"cache"}

    def test_the_database_of_a_first_push_that_fails_keeps_running(self) -> None:
        """Stopping it in its first initialisation would leave a broken volume."""
        world = World(Desired(RunState.RUNNING, 1), Observed(), (WEB, DATABASE))
        while not (isinstance(action := world.plan(), Check) and action.instance.service == "web"):
            assert action
            world = next(world.outcomes(action))
        failed = list(world.outcomes(action))[-1]
        assert names(failed) == ["Retire web.1"]
        assert names(push(failed.rest()[0], WEB, DATABASE))[:2] == ["Prepare", "Join database 2"]

    def test_stateful_ones_are_removed_last(self) -> None:
        world = launched(WEB, DATABASE)
        world = replace(world, desired=world.desired.absent())
        assert names(world) == ["Unpublish", "Retire web.1", "Retire database.1"]


def asleep(world: World, depth: Depth = Depth.PAUSED) -> World:
    return replace(world, desired=world.desired.asleep(depth))


def woken(world: World) -> World:
    return replace(world, desired=world.desired.resumed())


class TestSleep:
    @pytest.fixture
    def live(self) -> World:
        return launched(NEEDS_DATABASE, DATABASE)

    def test_a_paused_one_is_published_again_without_a_check(self, live: World) -> None:
        assert names(asleep(live)) == ["Park", "Pause web.1 database.1"]
        assert names(woken(asleep(live).rest()[0])) == ["Unpause database.1 web.1", "Publish"]

    def test_a_stopped_one_is_started_and_checked(self, live: World) -> None:
        stopped = asleep(live, Depth.STOPPED)
        assert names(stopped) == ["Park", "Halt web.1 database.1"]
        assert names(woken(stopped.rest()[0])) == [
            *("Resume database 1", "Check database 1", "Resume web 1", "Check web 1", "Publish")
        ]

    def test_a_paused_one_is_stopped_later(self, live: World) -> None:
        deeper = asleep(asleep(live).rest()[0], Depth.STOPPED)
        assert names(deeper) == ["Halt web.1 database.1"]

    @pytest.mark.parametrize("depth", Depth)
    def test_a_push_wakes_the_old_revision_first(self, live: World, depth: Depth) -> None:
        pushed = push(asleep(live, depth).rest()[0], NEEDS_DATABASE, DATABASE)
        actions = names(pushed)
        assert actions.index("Publish") < actions.index("Prepare")
        assert actions[-2:] == ["Publish", "Retire web.1"]

    @pytest.mark.parametrize("depth", Depth)
    def test_a_build_that_fails_leaves_the_old_revision_awake(self, live: World, depth: Depth) -> None:
        pushed = push(asleep(live, depth).rest()[0], NEEDS_DATABASE, DATABASE)
        while not isinstance(action := pushed.plan(), Prepare):
            assert action
            pushed = next(pushed.outcomes(action))
        *_, failed = pushed.outcomes(action)
        assert failed.rest()[0].whole_generation == 1

    def test_one_whose_engine_crashed_is_started_again(self, live: World) -> None:
        """As after a reboot: it was paused, and is stopped now. That it ended is no failure."""
        slept, _ = asleep(live).rest()
        ended = tuple(stopped(i, 137) for i in slept.observed.instances)
        crashed = replace(slept, observed=replace(slept.observed, instances=ended))
        assert names(crashed) == []
        assert names(woken(crashed))[0] == "Resume database 1"
        assert woken(crashed).rest()[0].observed.attempt(1).failures == 0

    def test_one_that_cant_be_started_again_makes_way_for_a_push(self, live: World) -> None:
        pushed = push(asleep(live, Depth.STOPPED).rest()[0], NEEDS_DATABASE, DATABASE)
        while not (isinstance(action := pushed.plan(), Check) and action.instance.service == "web"):
            assert action
            pushed = next(pushed.outcomes(action))
        *_, failed = pushed.outcomes(action)
        assert names(failed)[:2] == ["EndSleep", "Retire web.1"]
        assert failed.rest()[0].whole_generation == 2

    def test_one_whose_container_was_removed_starts_as_a_new_one(self, live: World) -> None:
        slept, _ = asleep(live).rest()
        left = tuple(i for i in slept.observed.instances if i.service == "database")
        removed = replace(slept, observed=replace(slept.observed, instances=left))
        assert names(woken(removed))[:3] == ["Unpause database.1", "EndSleep", "Start web"]

    def test_one_that_is_killed_is_unpaused_so_that_it_can_end(self, live: World) -> None:
        killed = replace(asleep(live).rest()[0], desired=live.desired.absent())
        assert names(killed) == [
            *("Unpause database.1 web.1", "Unpublish", "Retire web.1", "Retire database.1")
        ]

    def test_one_that_was_paused_by_another_program_runs_again(self, live: World) -> None:
        frozen = tuple(paused(i) for i in live.observed.instances)
        assert names(replace(live, observed=replace(live.observed, instances=frozen))) == [
            "Unpause database.1 web.1"
        ]


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
        (Prepare(2), Prepare(2), True),
        (Prepare(2), Start(2, "web"), True),
        (Prepare(2), Join(DB, 2), True),
        (Prepare(2), Prepare(3), False),
        (Prepare(2), Join(DB, 1), False),
        (Start(2, "database"), Join(DB, 2), True),
        (Start(2, "database"), Join(DB, 1), True),
        (Start(2, "database"), Join(DB, 3), False),
        (Join(DB, 2), Join(DB, 2), True),
        (Join(DB, 2), Start(2, "web"), True),
        (Join(DB, 2), Start(2, "database"), False),
        (Join(DB, 2), None, True),
        (Join(DB, 2), Check(DB, 2), True),
        (Join(DB, 2), Check(DB, 3), False),
        (Check(DB, 2), Check(DB, 3), False),
        (Record(DB, 2), Record(DB, 3), False),
        (Publish(2, (DB,)), Publish(3, (DB,)), False),
        (Park(frozenset({"web"})), Pause((NEW,)), True),
        (Park(frozenset({"web"})), None, True),
        (Park(frozenset({"web"})), Publish(2, (NEW,)), False),
        (Pause((NEW, DB)), Pause((DB,)), True),
        (Pause((NEW, DB)), Unpause((NEW,)), False),
        (Halt((NEW, DB)), Halt((DB,)), True),
        (Halt((NEW, DB)), Unpause((NEW,)), True),
        (Unpause((NEW, DB)), Unpause((DB,)), True),
        (Unpause((NEW, DB)), Publish(2, (NEW,)), True),
        (Unpause((NEW, DB)), Pause((NEW,)), False),
        (EndSleep(), Prepare(2), True),
        (Check(NEW, 2), Pause((NEW,)), False),
    ],
)
def test_whether_a_running_action_continues(running: Action, planned: Action | None, goes_on: bool) -> None:
    assert continues(running, planned) is goes_on
