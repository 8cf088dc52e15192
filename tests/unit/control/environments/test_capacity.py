"""Limits, the queue, and what people see of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import pytest

from stager.control.environments.capacity import BY_CAPACITY
from stager.domain.allocation import Limit, Limits
from stager.domain.environment import Depth, Environment, SuspensionReason
from stager.domain.errors import Retry
from stager.domain.pull_requests.events import ChangeEvent
from stager.domain.pull_requests.rules import Rules
from stager.domain.route import Page
from stager.domain.status import State
from stager.ports.engine import Reclaim
from stager.ports.store import StateKind
from stager.testing import Program
from tests.unit.control.harness import ANN, IMAGE, SHOP, Harness
from tests.unit.control.tripwire import Tripwire

TWO = Limits(host=Limit(running=2))
ONE = Limits(host=Limit(running=1))
APP = replace(SHOP, owner="acme")


class Machine(Harness):
    """A harness whose pull requests have numbers by their order."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.repository = self.forge.add_repository("acme", "shop")

    async def opened(self, ref: str, author: str = "octocat") -> ChangeEvent:
        event = self.forge.open(self.repository, ref, f"{ord(ref[0]):040x}", author=author)
        await self.deliver(event)
        await self.rest(30)
        return event

    async def of(self, event: ChangeEvent) -> Environment:
        every = await self.environments()
        [found] = [e for e in every if e.change and e.change.number == event.change.number]
        return found

    async def state(self, event: ChangeEvent) -> State:
        return (await self.status(await self.of(event))).state

    async def places(self) -> dict[str, int]:
        """The queue: places by the name of the preview."""
        waiting = [e for e in await self.environments() if e.desired.is_queued]
        return {e.name: e.desired.suspension.place for e in waiting if e.desired.suspension}

    async def live(self) -> list[str]:
        return [e.name for e in await self.environments() if e.desired.should_run and e.serving is not None]

    def comment(self, event: ChangeEvent) -> str:
        [found] = [c for c in self.forge.comments if c.ours and c.number == event.change.number]
        return found.body

    def edits(self, event: ChangeEvent) -> int:
        return sum(c.edits for c in self.forge.comments if c.ours and c.number == event.change.number)


@pytest.fixture
async def machine() -> AsyncIterator[Machine]:
    async with Machine([APP], limits=TWO).open() as opened:
        yield opened


async def full(machine: Machine, *refs: str) -> list[ChangeEvent]:
    """The pull requests `a` and `b`, which have room, and these, which wait."""
    return [await machine.opened(ref) for ref in ("a", "b", *refs)]


class TestQueue:
    async def test_the_third_waits_and_everyone_is_told(self, machine: Machine) -> None:
        *_, event = await full(machine, "c")
        environment = await machine.of(event)

        assert await machine.live() == ["a", "b"]
        assert machine.engine.there(environment.id) == []
        sentence = "The limit of 2 running previews is reached. This preview is number 1 in the queue."
        status = await machine.status(environment)
        assert (status.state, status.message, status.place) == (State.QUEUED, sentence, 1)
        page = machine.target(environment.host)
        assert isinstance(page, Page)
        assert page.state == "queued"
        assert "waits for room" in machine.comment(event)
        assert "number 1 in the queue" in machine.comment(event)
        audited = await machine.running.control_plane.identity.audit.entries(limit=50)
        assert ("queue", str(BY_CAPACITY)) in [(record.action, record.actor) for record in audited]

    async def test_starts_by_itself_in_order(self, machine: Machine) -> None:
        first, *_ = await full(machine, "c", "d", "e")
        assert await machine.places() == {"c": 1, "d": 2, "e": 3}

        await machine.deliver(machine.forge.close(first))
        await machine.rest(60)
        assert await machine.live() == ["b", "c"]
        assert await machine.places() == {"d": 1, "e": 2}
        await machine.stop("b")
        await machine.rest(60)
        assert await machine.live() == ["c", "d"]
        assert await machine.places() == {"e": 1}

    async def test_a_push_keeps_the_place(self, machine: Machine) -> None:
        *_, third, _fourth = await full(machine, "c", "d")
        await machine.deliver(machine.forge.push(third, "f" * 40))
        await machine.rest(30)

        assert await machine.places() == {"c": 1, "d": 2}
        await machine.stop("a")
        await machine.rest(60)
        assert (await machine.assert_live(await machine.of(third))).generation == 2

    async def test_a_push_to_one_that_has_room_waits_for_nothing(self, machine: Machine) -> None:
        first, *_ = await full(machine, "c")
        await machine.deliver(machine.forge.push(first, "f" * 40))
        await machine.rest(60)

        assert (await machine.assert_live(await machine.of(first))).generation == 2
        assert await machine.places() == {"c": 1}

    async def test_one_that_is_killed_leaves_the_queue(self, machine: Machine) -> None:
        *_, third, fourth = await full(machine, "c", "d")
        await machine.stop("c")
        await machine.rest(30)

        assert await machine.state(third) is State.STOPPED
        assert await machine.places() == {"d": 1}
        queued_at = await machine.store.read(lambda tx: tx.environment_states(StateKind.QUEUE))
        assert list(queued_at) == [(await machine.of(fourth)).id]

    async def test_one_that_is_closed_leaves_the_queue(self, machine: Machine) -> None:
        *_, third, _ = await full(machine, "c", "d")
        await machine.deliver(machine.forge.close(third))
        await machine.rest(30)

        assert await machine.state(third) is State.GONE
        assert await machine.places() == {"d": 1}

    async def test_one_that_fails_gives_its_room_up(self, machine: Machine) -> None:
        await machine.opened("a")
        machine.engine.add_image(IMAGE, Program(exit_code=3))
        for ref in ("b", "c"):
            await machine.deliver(machine.forge.open(machine.repository, ref, f"{ord(ref):040x}"))
        await machine.rest(60)
        assert await machine.places() == {}
        audited = await machine.running.control_plane.identity.audit.entries(limit=50)
        assert [record.action for record in reversed(audited)] == ["queue", "admit"]
        states = [(await machine.status(e)).state for e in await machine.environments()]
        assert states == [State.LIVE, State.FAILED, State.FAILED]

    async def test_one_that_failed_is_admitted_again_with_its_next_push(self, machine: Machine) -> None:
        machine.engine.add_image(IMAGE, Program(exit_code=3))
        failed = await machine.opened("a")
        await machine.rest(60)
        assert await machine.state(failed) is State.FAILED
        machine.engine.add_image(IMAGE)
        for ref in ("b", "c"):
            await machine.opened(ref)
        await machine.deliver(machine.forge.push(failed, "f" * 40))
        await machine.rest(60)

        assert await machine.live() == ["b", "c"]
        assert await machine.places() == {"a": 1}
        await machine.stop("b")
        await machine.rest(60)
        assert await machine.state(failed) is State.LIVE

    async def test_a_restart_forgets_nobody(self, machine: Machine) -> None:
        await full(machine, "c", "d")
        await machine.kill()
        await machine.start()

        assert await machine.places() == {"c": 1, "d": 2}
        assert await machine.live() == ["a", "b"]
        await machine.stop("a")
        await machine.rest(60)
        assert await machine.places() == {"d": 1}

    async def test_a_lost_database_queues_nothing_that_runs(self, machine: Machine) -> None:
        await full(machine)
        await machine.kill()
        machine.store = type(machine.store)()
        await machine.start()

        assert await machine.live() == ["a", "b"]
        assert await machine.places() == {}

    async def test_rules_apply_while_it_waits(self) -> None:
        app = replace(APP, rules=Rules(without_labels=("wip",)))
        async with Machine([app], limits=ONE).open() as machine:
            await machine.opened("a")
            event = await machine.opened("b")
            await machine.deliver(machine.forge.edit(event, title="Another title"))
            await machine.rest(30)
            assert await machine.state(event) is State.QUEUED
            await machine.deliver(machine.forge.edit(event, labels=("wip",)))
            await machine.rest(30)
            assert await machine.state(event) is State.REFUSED
            await machine.deliver(machine.forge.edit(event, labels=()))
            await machine.rest(30)
            assert await machine.state(event) is State.QUEUED

    async def test_a_long_queue_is_approximate_where_each_change_is_a_request(self, machine: Machine) -> None:
        events = await full(machine, *"cdefghijk")
        assert (await machine.places())["k"] == 9
        assert "5 or more previews are before this one" in machine.comment(events[-1])
        assert "number 9 in the queue" in (await machine.status(await machine.of(events[-1]))).message
        before = machine.edits(events[-1])
        await machine.stop("a")
        await machine.rest(60)
        assert (await machine.places())["k"] == 8
        assert machine.edits(events[-1]) == before

    async def test_a_manual_launch_is_told_at_once(self, machine: Machine) -> None:
        await full(machine)
        environment = await machine.launch("by-name")
        result = await machine.running.waiters.until_settled(environment, 5.0)
        assert not result.is_live
        assert result.environment.desired.is_queued


class TestLevels:
    async def test_an_application(self) -> None:
        other = replace(SHOP, name="blog")
        limits = Limits(application=Limit(running=1))
        async with Machine([APP, other], limits=limits).open() as machine:
            await machine.launch("a")
            await machine.launch("b")
            await machine.launch("c", app="blog")
            await machine.rest(60)
            assert await machine.live() == ["a", "c"]
            status = [await machine.status(e) for e in await machine.environments() if e.desired.is_queued]
            assert "The limit of 1 running preview of shop is reached." in status[0].message

    async def test_an_author(self) -> None:
        async with Machine([APP], limits=Limits(author=Limit(running=1))).open() as machine:
            for ref, author in (("a", "ann"), ("b", "ann"), ("c", "bob")):
                await machine.opened(ref, author=author)
            assert await machine.live() == ["a", "c"]
            [waiting] = [e for e in await machine.environments() if e.desired.is_queued]
            assert "by ann is reached" in (await machine.status(waiting)).message

    async def test_the_disk(self) -> None:
        async with Machine([APP], limits=Limits(free_disk=10 << 30)).open() as machine:
            machine.machine.set(free_disk=9 << 30)
            event = await machine.opened("a")
            assert await machine.state(event) is State.QUEUED
            assert "short of disk space: 10 GiB must stay free" in machine.comment(event)
            machine.machine.set(free_disk=11 << 30)
            await machine.rest(60)
            assert await machine.state(event) is State.LIVE

    async def test_the_disk_space_of_an_application(self) -> None:
        limits = Limits(application=Limit(disk=1 << 30))
        async with Machine([APP], limits=limits).open() as machine:
            first = await machine.opened("a")
            machine.engine.used_disk[(await machine.of(first)).id] = 1 << 30
            await machine.rest(150)
            second = await machine.opened("b")
            assert await machine.state(second) is State.QUEUED
            assert "disk limit of previews of shop, 1 GiB, is reached" in machine.comment(second)
            await machine.deliver(machine.forge.close(first))
            await machine.rest(150)
            assert await machine.state(second) is State.LIVE

    async def test_the_memory_of_previews(self) -> None:
        limits = Limits(host=Limit(memory=300 << 20))
        async with Machine([APP], limits=limits).open() as machine:
            first = await machine.opened("a")
            machine.engine.used_memory[(await machine.of(first)).id] = 200 << 20
            second = await machine.opened("b")
            assert await machine.state(second) is State.QUEUED
            assert "memory limit of previews, 300 MiB, is reached" in machine.comment(second)
            machine.engine.used_memory[(await machine.of(first)).id] = 90 << 20
            await machine.rest(60)
            assert await machine.state(second) is State.LIVE

    async def test_an_unknown_machine_limits_nothing(self) -> None:
        async with Machine([APP], limits=Limits(free_disk=1, free_memory=1)).open() as machine:
            machine.machine.set(free_disk=None, available_memory=None)
            assert await machine.state(await machine.opened("a")) is State.LIVE


SLEEPER = replace(APP, sleep_after=86_400.0)


class TestSleep:
    """The least recently visited one sleeps for a new one, and is told why."""

    @pytest.fixture
    async def machine(self) -> AsyncIterator[Machine]:
        async with Machine([SLEEPER], limits=TWO).open() as opened:
            yield opened

    async def test_the_least_recently_visited_one_sleeps(self, machine: Machine) -> None:
        first, second = await full(machine)
        await machine.rest(120)
        async with machine.router.visit((await machine.of(first)).host):
            pass
        await machine.rest(90)
        third = await machine.opened("c")

        assert await machine.state(second) is State.ASLEEP
        assert [await machine.state(event) for event in (first, third)] == [State.LIVE, State.LIVE]
        assert "It was put to sleep to make room" in machine.comment(second)
        assert "running previews is reached" in machine.comment(second)
        audited = await machine.running.control_plane.identity.audit.entries(limit=50)
        assert "sleep" in [record.action for record in audited]

    async def test_a_visit_wakes_it_and_another_one_sleeps(self, machine: Machine) -> None:
        first, *_ = await full(machine)
        await machine.rest(120)
        await machine.opened("c")
        assert await machine.state(first) is State.ASLEEP
        await machine.rest(120)
        async with machine.router.visit((await machine.of(first)).host):
            pass
        await machine.rest(60)

        assert await machine.state(first) is State.LIVE
        states = [(await machine.status(e)).state for e in await machine.environments()]
        assert states.count(State.ASLEEP) == 1

    async def test_one_that_is_used_or_pinned_stays_awake(self, machine: Machine) -> None:
        first, second = await full(machine)
        await machine.running.commands.pin((await machine.of(first)).id, ANN)
        await machine.rest(120)
        async with machine.router.visit((await machine.of(second)).host):
            third = await machine.opened("c")
            assert await machine.state(third) is State.QUEUED
            assert await machine.live() == ["a", "b"]
        await machine.rest(120)
        assert await machine.state(third) is State.LIVE
        assert await machine.state(second) is State.ASLEEP

    async def test_nothing_sleeps_while_visits_arent_known(self, machine: Machine) -> None:
        await full(machine)
        await machine.rest(120)
        machine.router.leave()
        third = machine.forge.open(machine.repository, "c", "c" * 40)
        await machine.deliver(third)
        await machine.rest(30)
        assert await machine.state(third) is State.QUEUED
        machine.router.come_back()
        await machine.rest(60)
        assert await machine.state(third) is State.LIVE

    async def test_short_of_memory_it_is_paused_then_stopped(self) -> None:
        async with Machine([SLEEPER], limits=Limits(free_memory=1 << 30)).open() as machine:
            machine.engine.support = Reclaim("by hand", "4 GB of zram")
            first = await machine.opened("a")
            await machine.rest(120)
            machine.machine.set(available_memory=100 << 20)
            await machine.rest(15)
            assert (await machine.of(first)).desired.depth is Depth.PAUSED
            assert await machine.state(first) is State.ASLEEP
            await machine.rest(120)
            assert (await machine.of(first)).desired.depth is Depth.STOPPED

    async def test_without_swap_it_is_stopped_at_once(self) -> None:
        async with Machine([SLEEPER], limits=Limits(free_memory=1 << 30)).open() as machine:
            machine.engine.support = Reclaim("", "")
            first = await machine.opened("a")
            await machine.rest(120)
            machine.machine.set(available_memory=100 << 20)
            await machine.rest(15)
            assert (await machine.of(first)).desired.depth is Depth.STOPPED


class TestRotation:
    """`max_previews` replaces the oldest, as in the first Stager. What goes is told."""

    async def test_the_one_that_goes_is_told(self) -> None:
        async with Machine([APP], max_previews=1).open() as machine:
            first = await machine.opened("a")
            await machine.opened("b")
            assert await machine.live() == ["b"]
            suspension = (await machine.of(first)).desired.suspension
            assert suspension is not None
            assert suspension.reason is SuspensionReason.NO_ROOM
            assert "newer preview" in machine.comment(first)
            audited = await machine.running.control_plane.identity.audit.entries(limit=50)
            assert "rotate" in [record.action for record in audited]

    async def test_names_of_other_applications_stay_private(self) -> None:
        async with Machine([APP, replace(SHOP, name="secret")], max_previews=1).open() as machine:
            first = await machine.opened("a")
            await machine.launch("project-x", app="secret")
            await machine.rest(30)
            assert "a newer preview replaced" in machine.comment(first)
            assert "project-x" not in machine.comment(first)

    async def test_one_that_waits_for_its_author_holds_up_nobody_else(self) -> None:
        limits = Limits(author=Limit(running=1))
        async with Machine([APP], limits=limits, max_previews=2).open() as machine:
            for ref, author in (("a", "ann"), ("b", "bob"), ("c", "bob"), ("d", "carol")):
                await machine.opened(ref, author=author)
            await machine.rest(60)
            assert await machine.live() == ["b", "d"]
            assert await machine.places() == {"c": 1}

    async def test_the_newest_waits_while_all_are_pinned(self) -> None:
        async with Machine([APP], max_previews=1).open() as machine:
            first = await machine.opened("a")
            await machine.running.commands.pin((await machine.of(first)).id, ANN)
            second = await machine.opened("b")
            assert await machine.state(second) is State.QUEUED
            await machine.deliver(machine.forge.close(first))
            await machine.rest(60)
            assert await machine.live() == ["b"]


async def play(kill_at: int | None) -> Tripwire:
    """Open a pull request on a full machine, then close the one that has room; with `kill -9` there."""
    machine = Machine([APP], limits=ONE)
    async with machine.open():
        first = await machine.opened("a")
        await machine.kill()
        wire = Tripwire(kill_at)
        if kill_at is None:
            wire.watch(lambda: machine.outside)
        await machine.start(wire, rest=False)
        await machine.rest(30)
        wire.arm()
        happening = asyncio.ensure_future(happen(machine, first))
        await machine.rest(240)
        happening.cancel()
        with suppress(asyncio.CancelledError, Retry):
            await happening
        await machine.kill()
        await machine.start(rest=False)
        await machine.rest(240)
        assert len(machine.engine.there()) == 1
        if await machine.live() == ["a"]:  # it was killed before it was closed
            await machine.deliver(machine.forge.close(first))
            await machine.rest(240)
        waits = [e for e in await machine.environments() if e.name == "b"]
        assert await machine.live() == [e.name for e in waits]
        assert await machine.places() == {}
    return wire


async def play_sleep(kill_at: int | None) -> Tripwire:
    """Open a pull request on a full machine, where the other preview may sleep; with `kill -9` there."""
    machine = Machine([SLEEPER], limits=ONE)
    async with machine.open():
        first = await machine.opened("a")
        await machine.rest(120)
        await machine.kill()
        wire = Tripwire(kill_at)
        if kill_at is None:
            wire.watch(lambda: machine.outside)
        await machine.start(wire, rest=False)
        await machine.rest(30)
        wire.arm()
        second = machine.forge.open(machine.repository, "b", "b" * 40)
        happening = asyncio.ensure_future(machine.deliver(second))
        await machine.rest(120)
        happening.cancel()
        with suppress(asyncio.CancelledError, Retry):
            await happening
        await machine.kill()
        await machine.start(rest=False)
        await machine.rest(240)
        assert await machine.places() == {}
        assert await machine.state(second) is State.LIVE
        assert await machine.state(first) is State.ASLEEP
    return wire


async def happen(machine: Machine, first: ChangeEvent) -> None:
    await machine.opened("b")
    await machine.deliver(machine.forge.close(first))


@pytest.mark.parametrize("played", [play, play_sleep])
async def test_killed_at_every_second_point(played: Callable[[int | None], Awaitable[Tripwire]]) -> None:
    """No preview is lost, and none waits for ever."""
    points: Sequence[int] = (await played(None)).distinct[::2]
    assert len(points) > 5
    for point in points:
        await played(point)
