"""`allocate`, exhaustively for few previews and at random for many: it keeps its promises and rests."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stager.domain.allocation import (
    HOST,
    Allocation,
    Level,
    Limit,
    Limits,
    Occupancy,
    Queued,
    Resource,
    Room,
    Scope,
    Shortage,
    Sleep,
    Tenant,
    allocate,
)
from stager.domain.environment import Depth

START = datetime(2026, 1, 1, tzinfo=UTC)
MB = 1 << 20
WAITING, AWAKE, PAUSED, STOPPED = Occupancy
RECLAIMS = Room(reclaims=True)


def tenant(name: str, occupancy: Occupancy = AWAKE, at: int = 0, **facts: object) -> Tenant:
    """A preview of the application `shop`.

    Args:
        at: minutes after the start of its request or last visit.
    """
    base = Tenant(name, "shop", "", occupancy, START + timedelta(minutes=at))
    return replace(base, **facts)  # type: ignore[arg-type]


def scopes(of: Tenant) -> list[Scope]:
    return [HOST, Scope(Level.APPLICATION, of.app), *([Scope(Level.AUTHOR, of.author)] if of.author else [])]


def after(tenants: Iterable[Tenant], allocation: Allocation) -> list[Tenant]:
    """The previews once the decisions were carried out and measured."""
    depths = {sleep.id: sleep.depth for sleep in allocation.sleeps}
    found = []
    for each in tenants:
        if each.id in depths:
            each = replace(each, occupancy=Occupancy(depths[each.id]), memory=0, growth=0)  # noqa: PLW2901
        if each.id in allocation.admitted:
            each = replace(each, occupancy=AWAKE)  # noqa: PLW2901
        found.append(each)
    return found


def assert_promises(limits: Limits, room: Room, tenants: Sequence[Tenant]) -> Allocation:
    allocation = allocate(limits, room, tenants)
    known = {each.id: each for each in tenants}
    waiting = {each.id for each in tenants if each.occupancy is WAITING}

    queued = [each.id for each in allocation.queue]
    assert sorted([*allocation.admitted, *queued]) == sorted(waiting), "each is admitted or waits"
    assert allocate(limits, room, list(reversed(tenants))) == allocation, "the order doesn't matter"

    for sleep in allocation.sleeps:
        assert known[sleep.id].may_sleep
        assert known[sleep.id].occupancy in {AWAKE, PAUSED}
        assert sleep.shortage.resource not in {Resource.PREVIEWS, Resource.DISK, Resource.MACHINE_DISK}
    assert_in_order(known, allocation)
    assert_within(limits, tenants, allocation)
    return allocation


def assert_in_order(known: dict[str, Tenant], allocation: Allocation) -> None:
    """Nobody overtakes those that wait for the same, and places count them."""
    places: dict[Scope, int] = {}
    for queued in allocation.queue:
        scope = queued.shortage.scope
        places[scope] = places.get(scope, 0) + 1
        assert queued.place == places[scope]
        one = known[queued.id]
        for id_ in allocation.admitted:
            other = known[id_]
            is_same = scope == HOST or scope in scopes(other)
            assert not is_same or (other.since, other.id) < (one.since, one.id)


def assert_within(limits: Limits, tenants: Sequence[Tenant], allocation: Allocation) -> None:
    """Where a preview was admitted, no limit is exceeded."""
    then = after(tenants, allocation)
    for each in then:
        if each.id not in allocation.admitted:
            continue
        for scope in scopes(each):
            running = [t for t in then if t.occupancy is AWAKE and scope in scopes(t)]
            limit = limits.of(scope.level).running
            assert limit is None or len(running) <= limit
        places = [t for t in then if t.occupancy is not WAITING]
        assert limits.previews is None or len(places) <= limits.previews


def test_all_combinations_of_three() -> None:
    kinds = [
        *((AWAKE, True), (AWAKE, False), (PAUSED, True), (PAUSED, False)),
        *((STOPPED, False), (WAITING, False)),
    ]
    limits = [
        *(Limits(host=Limit(running=n)) for n in (1, 2)),
        *(Limits(previews=n) for n in (1, 2)),
        Limits(host=Limit(running=2), previews=2),
        Limits(host=Limit(memory=150 * MB)),
        Limits(free_memory=100 * MB),
        Limits(free_disk=100 * MB),
        Limits(application=Limit(running=1)),
        Limits(author=Limit(running=1), host=Limit(running=2)),
    ]
    rooms = [
        *(Room(50 * MB, 500 * MB, reclaims=reclaims) for reclaims in (True, False)),
        *(Room(500 * MB, 50 * MB), Room()),
    ]
    tried = 0
    for chosen in itertools.product(kinds, repeat=3):
        tenants = [
            tenant(name, occupancy, at, may_sleep=may_sleep, memory=100 * MB, author=author)
            for at, (name, author, (occupancy, may_sleep)) in enumerate(
                zip("abc", ("x:ann", "x:ann", ""), chosen, strict=True)
            )
        ]
        for limit, room in itertools.product(limits, rooms):
            assert_promises(limit, room, tenants)
            tried += 1
    assert tried > 8_000


sizes = st.integers(0, 4).map(lambda n: n * 100 * MB)
some = st.none() | sizes.filter(bool)
limit_values = st.builds(Limit, st.none() | st.integers(1, 3), some, some)
tenants_ = st.lists(
    st.builds(
        Tenant,
        st.uuids().map(str),
        st.sampled_from(["shop", "blog"]),
        st.sampled_from(["", "x:ann", "x:bob"]),
        st.sampled_from(Occupancy),
        st.integers(0, 5).map(lambda at: START + timedelta(minutes=at)),
        memory=sizes,
        disk=sizes,
        may_sleep=st.booleans(),
        is_settling=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda each: each.id,
)
limits_ = st.builds(
    Limits,
    host=limit_values,
    application=limit_values,
    author=limit_values,
    previews=st.none() | st.integers(1, 4),
    free_memory=sizes,
    free_disk=sizes,
)
rooms_ = st.builds(Room, st.none() | sizes, st.none() | sizes, st.booleans())


@settings(deadline=None)  # no timing on a busy machine
@given(limits_, rooms_, tenants_)
def test_keeps_its_promises(limits: Limits, room: Room, tenants: list[Tenant]) -> None:
    assert_promises(limits, room, tenants)


@settings(deadline=None)  # no timing on a busy machine
@given(limits_, rooms_, tenants_)
def test_comes_to_rest(limits: Limits, room: Room, tenants: list[Tenant]) -> None:
    """What was decided isn't decided differently, once it is carried out and measured."""
    for _ in range(2 * len(tenants) + 2):
        allocation = allocate(limits, room, tenants)
        if not allocation.sleeps and not allocation.admitted:
            return
        before = tenants
        tenants = [replace(each, is_settling=False, growth=0) for each in after(tenants, allocation)]
        freed = sum(t.memory for t in before) - sum(t.memory for t in tenants)
        if room.memory is not None:
            taken = sum(t.memory for t in tenants if t.id in allocation.admitted)
            room = replace(room, memory=max(0, room.memory + freed - taken))
    raise AssertionError("it never comes to rest")


class TestNumber:
    def test_the_least_recently_visited_one_sleeps(self) -> None:
        tenants = [
            tenant("old", at=1, may_sleep=True),
            tenant("older", at=0, may_sleep=True),
            tenant("new", WAITING, at=2),
        ]
        found = allocate(Limits(host=Limit(running=2)), Room(), tenants)
        shortage = Shortage(Resource.RUNNING, HOST, 2)
        assert found == Allocation((Sleep("older", Depth.PAUSED, shortage),), ("new",))

    def test_the_newest_waits_while_none_may_sleep(self) -> None:
        tenants = [tenant("a"), tenant("b", WAITING, at=2), tenant("c", WAITING, at=1)]
        found = allocate(Limits(host=Limit(running=1)), Room(), tenants)
        shortage = Shortage(Resource.RUNNING, HOST, 1)
        assert found.queue == (Queued("c", 1, shortage), Queued("b", 2, shortage))

    def test_an_author_at_the_limit_holds_up_nobody_else(self) -> None:
        tenants = [
            tenant("a", author="x:ann"),
            tenant("b", WAITING, at=1, author="x:ann"),
            tenant("c", WAITING, at=2, author="x:bob"),
        ]
        found = allocate(Limits(author=Limit(running=1)), Room(), tenants)
        assert found.admitted == ("c",)
        assert [each.shortage.scope for each in found.queue] == [Scope(Level.AUTHOR, "x:ann")]

    def test_a_limit_that_is_exceeded_is_enforced(self) -> None:
        tenants = [tenant(name, at=at, may_sleep=name != "a") for at, name in enumerate("abcd")]
        found = allocate(Limits(host=Limit(running=2)), Room(), tenants)
        assert [sleep.id for sleep in found.sleeps] == ["b", "c"]

    def test_previews_that_sleep_count_as_previews(self) -> None:
        tenants = [tenant("a", PAUSED), tenant("b", WAITING)]
        found = allocate(Limits(previews=1), Room(), tenants)
        assert found.queue == (Queued("b", 1, Shortage(Resource.PREVIEWS, HOST, 1)),)


class TestMemory:
    LIMITS = Limits(host=Limit(memory=250 * MB))

    def test_sleeps_then_waits_until_it_is_measured(self) -> None:
        tenants = [
            tenant("a", memory=100 * MB, may_sleep=True),
            tenant("b", at=1, memory=100 * MB),
            tenant("c", WAITING, at=2, memory=100 * MB),
        ]
        found = allocate(self.LIMITS, RECLAIMS, tenants)
        assert [(sleep.id, sleep.depth) for sleep in found.sleeps] == [("a", Depth.PAUSED)]
        assert [each.id for each in found.queue] == ["c"]

        settling = [replace(tenants[0], occupancy=PAUSED, is_settling=True), *tenants[1:]]
        assert allocate(self.LIMITS, RECLAIMS, settling) == Allocation((), (), found.queue)
        measured = [replace(tenants[0], occupancy=PAUSED, memory=5 * MB), *tenants[1:]]
        assert allocate(self.LIMITS, RECLAIMS, measured).admitted == ("c",)

    def test_is_stopped_where_a_pause_gives_none_back(self) -> None:
        tenants = [tenant("a", memory=200 * MB, may_sleep=True), tenant("b", WAITING, memory=100 * MB)]
        [sleep] = allocate(self.LIMITS, Room(), tenants).sleeps
        assert sleep.depth is Depth.STOPPED

    def test_is_stopped_when_the_pause_gave_too_little_back(self) -> None:
        tenants = [
            tenant("a", PAUSED, memory=200 * MB, may_sleep=True),
            tenant("b", WAITING, memory=100 * MB),
        ]
        [sleep] = allocate(self.LIMITS, RECLAIMS, tenants).sleeps
        assert (sleep.id, sleep.depth) == ("a", Depth.STOPPED)

    def test_nobody_sleeps_in_vain(self) -> None:
        tenants = [
            tenant("a", memory=20 * MB, may_sleep=True),
            tenant("b", memory=200 * MB),
            tenant("c", WAITING, memory=200 * MB),
        ]
        found = allocate(self.LIMITS, RECLAIMS, tenants)
        assert found.sleeps == ()
        assert [each.id for each in found.queue] == ["c"]

    def test_an_expectation_above_the_limit_holds_up_nothing_that_is_alone(self) -> None:
        found = allocate(self.LIMITS, RECLAIMS, [tenant("a", WAITING, memory=900 * MB)])
        assert found.admitted == ("a",)

    def test_what_starts_is_counted_with_what_it_will_use(self) -> None:
        tenants = [
            tenant("a", memory=100 * MB, growth=100 * MB),
            tenant("b", WAITING, memory=100 * MB),
        ]
        limits = Limits(free_memory=100 * MB)
        assert allocate(limits, Room(250 * MB), tenants).admitted == ()
        assert allocate(limits, Room(300 * MB), tenants).admitted == ("b",)


@pytest.mark.parametrize("may_sleep", [True, False])
def test_a_full_disk_has_new_ones_wait_and_puts_none_to_sleep(may_sleep: bool) -> None:
    tenants = [tenant("a", may_sleep=may_sleep), tenant("b", WAITING)]
    found = allocate(Limits(free_disk=MB), Room(disk=MB - 1), tenants)
    assert found == Allocation((), (), (Queued("b", 1, Shortage(Resource.MACHINE_DISK, HOST, MB)),))


def test_an_application_that_has_filled_its_part_of_the_disk_waits_alone() -> None:
    tenants = [
        tenant("a", PAUSED, disk=2 * MB),
        tenant("b", WAITING, at=1),
        tenant("c", WAITING, at=2, app="blog"),
    ]
    found = allocate(Limits(application=Limit(disk=2 * MB)), Room(), tenants)
    assert found.admitted == ("c",)
    shortage = Shortage(Resource.DISK, Scope(Level.APPLICATION, "shop"), 2 * MB)
    assert found.queue == (Queued("b", 1, shortage),)
