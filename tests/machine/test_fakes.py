"""Random histories of an installation, at length: the real control plane over fakes and on virtual time.

Whatever happens, in whatever order, and wherever the control plane dies: once the faults stop, it comes to
rest with exactly what is open running, the newest revision of it, and nothing left over.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Collection, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from stager.domain.environment import Environment, Instance, InstanceState
from stager.domain.errors import Refused
from stager.domain.events import ChangeAction, ChangeSeen
from stager.domain.route import Endpoint, RouteTable
from stager.domain.source import Change, Trust
from stager.domain.status import State
from stager.ports.store import Transaction
from stager.testing import FakeForge, Mood
from stager.testing.memory_store import MemoryTransaction
from tests.machine.conftest import Mishaps
from tests.machine.engine import DiligentEngine
from tests.machine.expected import Expected, Held
from tests.unit.control.house import SHOP, House
from tests.unit.control.tripwire import Tripwire
from tests.unit.control.virtual_time import LoopClock, VirtualTimeLoop

T = TypeVar("T")

REFS = st.sampled_from(["red", "feature/x", "featurex", "default"])
"""Two of them make the same slug, and one is reserved."""
NAMES = st.sampled_from(["red", "featurex", "by-hand"])
PASSES = st.sampled_from([0.0, 0.05, 0.5, 3.0, 45.0, 400.0])
"""Seconds: within a step, between two, until the next pass, until the next resync."""
FUSES = st.none() | st.integers(0, 120)
"""After how many calls of the world outside a control plane dies; None: not by itself."""
MOODS = st.sampled_from([Mood.WELL, Mood.SLOW, Mood.FAILING, Mood.PARTIAL, Mood.REFUSING])
CALLS = st.sampled_from(["find", "births", "create", "start", "remove", "answers", "logs"])
STOPS_ALLOWED = 4
"""How often in a row one revision is stopped from outside: after the next, it rightly counts as broken."""
QUIET = 1500.0
"""Seconds after the last fault in which everything comes to rest: several passes and resyncs."""


class Installation(RuleBasedStateMachine):
    """One installation with its engine, its front and a forge that can be asked."""

    credentials = True
    changes = Bundle("changes")
    messages = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.unheard: list[str] = []
        self.loop.set_exception_handler(lambda _, context: self.unheard.append(repr(context)))
        Mishaps.seen.clear()
        self.expected = Expected()
        self.versions = 0
        self.repeated = 0
        self.stops: Counter[str] = Counter()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize(tick=st.sampled_from([1.0, 0.4]), fuse=FUSES)
    def begin(self, tick: float, fuse: int | None) -> None:
        """An empty installation; two things may happen within one of the forge's seconds, or not."""
        # Who can't ask can't tell what comes first within a second.
        self.do(self._build(tick if self.credentials else 1.0))
        self.do(self._start(fuse))

    async def _build(self, tick: float) -> None:
        self.engine = DiligentEngine(LoopClock())
        self.house = House(
            [replace(SHOP, owner="acme")],
            credentials=self.credentials,
            engine=self.engine,
            forge=FakeForge(tick=tick),
        )
        self.repository = self.house.forge.add_repository("acme", "shop")
        self.fork = self.house.forge.add_repository("stranger", "shop")

    # What happens at the forge. What isn't told is lost, told later or told often.

    @rule(target=changes, ref=REFS, forked=st.sampled_from([False, False, False, True]), told=st.booleans())
    def open(self, ref: str, forked: bool, told: bool) -> ChangeSeen:
        event = self.house.forge.open(self.repository, ref, self._sha(), fork=self.fork if forked else None)
        return self._happened(event, told)

    @rule(target=messages, change=changes, told=st.booleans())
    def push(self, change: ChangeSeen, told: bool) -> ChangeSeen | MultipleResults[ChangeSeen]:
        if not self._is_open(change):
            return multiple()
        return self._happened(self.house.forge.push(change, self._sha()), told)

    @rule(target=messages, change=changes, merged=st.booleans(), head_goes=st.booleans(), told=st.booleans())
    def close(
        self, change: ChangeSeen, merged: bool, head_goes: bool, told: bool
    ) -> ChangeSeen | MultipleResults[ChangeSeen]:
        if not self._is_open(change):
            return multiple()
        event = self.house.forge.close(change, merged=merged)
        if head_goes:
            self.house.forge.delete_head(change)
        return self._happened(event, told)

    @rule(target=messages, change=changes, told=st.booleans())
    def reopen(self, change: ChangeSeen, told: bool) -> ChangeSeen | MultipleResults[ChangeSeen]:
        if self._is_open(change):
            return multiple()
        return self._happened(self.house.forge.reopen(change), told)

    @rule(message=messages | changes, afresh=st.booleans())
    def deliver(self, message: ChangeSeen, afresh: bool) -> None:
        """Late, or once more, with the id that it had or with another one."""
        self.repeated += afresh
        self._tell(message, f"again-{self.repeated}" if afresh else "")

    def _is_open(self, change: ChangeSeen) -> bool:
        """Whether it is, at the forge."""
        return self.house.forge._changes[self.repository.id, change.change.number].is_open

    def _happened(self, event: ChangeSeen, told: bool) -> ChangeSeen:
        self._know(event)
        if told:
            self._tell(event)
        return event

    def _tell(self, event: ChangeSeen, delivery_id: str = "") -> None:
        delivery = self.house.forge.delivery(event, delivery_id)
        if self._alive:
            self._answered(self.house.life.intake.receive(delivery))
        if (delivery.forge, delivery.id) in self.house.store._tables.receipts:
            self._heard(event)

    # What that means for a preview that was stopped by hand.

    def _know(self, event: ChangeSeen) -> None:
        """The forge can be asked, so a push is found even if nobody tells of it."""
        number = event.change.number
        if event.action is ChangeAction.SYNCHRONIZE:
            self.expected.hold(number, Held.NO)
        elif self.expected.held(number) is Held.YES:
            self.expected.hold(number, Held.MAYBE)

    def _heard(self, event: ChangeSeen) -> None:
        number = event.change.number
        if event.action is ChangeAction.REOPENED and self.expected.held(number) is Held.YES:
            self.expected.hold(number, Held.MAYBE)

    # What people do.

    @rule(name=NAMES)
    @precondition(lambda self: self._alive)
    def launch(self, name: str) -> None:
        self.versions += 1
        version = str(self.versions)
        try:
            environment = self._answered(self.house.launch(name, V=version))
        except Refused:
            return
        if environment is None:
            self._in_doubt(name, version)
        elif environment.change is None:
            self.expected.runs(name, version)
        else:
            self.expected.hold(environment.change.number, Held.NO)

    @rule(name=NAMES)
    @precondition(lambda self: self._alive)
    def kill(self, name: str) -> None:
        knows = self._knows_everything()
        try:
            answer = self._answered(_in_a_tuple(self.house.stop(name)))
        except Refused:
            return
        if answer is None:
            self._in_doubt(name, None)
        elif answer[0] is not None and answer[0].change is None:
            self.expected.runs(name, None)
        elif answer[0] is not None:
            self._stopped(answer[0], knows)

    def _stopped(self, environment: Environment, knows: bool) -> None:
        """What it doesn't know of yet may bring it back."""
        assert environment.change is not None
        change = self.truth(environment.change.number)
        certain = knows and change.is_open and change.head_sha == environment.desired.revision.sha
        self.expected.hold(change.number, Held.YES if certain else Held.MAYBE)

    def _in_doubt(self, name: str, version: str | None) -> None:
        """It died before it answered: what was asked for may have been written down, or not."""
        self.expected.may_run(name, version)
        for number in self._numbers(name):
            self.expected.may_be_held(number)

    # What goes wrong.

    @rule(fuse=FUSES, database_lost=st.sampled_from([False, False, True]), passing=PASSES)
    def control_plane_dies(self, fuse: int | None, database_lost: bool, passing: float) -> None:
        """`kill -9`; after a while another one starts, which may die at any line as well."""
        self.do(self._die())
        if database_lost and self.credentials:
            self._lose_database()
        self.do(self.house.rest(passing))
        self.do(self._start(fuse))

    @rule(passing=PASSES, table_lost=st.sampled_from([False, False, True]))
    def front_dies(self, passing: float, table_lost: bool) -> None:
        self.house.router.leave()
        if table_lost:
            self.house.router.table = RouteTable()
        self.do(self.house.rest(passing))
        self.house.router.come_back()

    @rule(seconds=st.sampled_from([0.0, 0.1, 2.0]))
    def front_is_slow(self, seconds: float) -> None:
        self.house.router.delay = seconds

    @rule(which=st.integers(0, 9))
    @precondition(lambda self: self.engine.there())
    def container_removed(self, which: int) -> None:
        instance = self._one_of(self.engine.there(), which)
        birth = self.engine.spec(instance.id).birth
        if birth.change is None and not self._is_known(birth.environment):
            self.expected.may_run(birth.name, None)  # It was all that was left of a wish.
        self.engine.lose(instance.id)

    @rule(which=st.integers(0, 9), exit_code=st.sampled_from([0, 1, 137, 143]))
    @precondition(lambda self: self._to_stop())
    def container_stopped(self, which: int, exit_code: int) -> None:
        """Killed at any time, or ended by itself; but what does that before it answers rightly fails."""
        instance = self._one_of(self._to_stop(), which)
        self.stops[instance.deployment] += 1
        self.engine.end(instance.id, exit_code if self._has_answered(instance) else 137)

    @rule()
    def engine_leaves(self) -> None:
        self.engine.leave()

    @rule()
    def engine_comes_back(self) -> None:
        self.engine.come_back()

    @rule(passing=PASSES, exit_code=st.sampled_from([137, 143]))
    @precondition(lambda self: len(self._to_stop()) == len(self._running()))
    def engine_is_restarted(self, passing: float, exit_code: int) -> None:
        """Everything ends with it, and nobody is told of that."""
        self.engine.leave()
        for instance in self._to_stop():
            self.stops[instance.deployment] += 1
            self.engine.end(instance.id, exit_code)
        self.do(self.house.rest(passing))
        self.engine.come_back()

    @rule(call=CALLS, seconds=st.sampled_from([0.0, 0.1, 5.0]))
    def engine_is_slow(self, call: str, seconds: float) -> None:
        self.engine.delays[call] = seconds

    @rule(mood=MOODS)
    def forge_in_a_mood(self, mood: Mood) -> None:
        self.house.forge.mood = mood

    @rule(seconds=PASSES)
    def time_passes(self, seconds: float) -> None:
        self.do(self.house.rest(seconds))

    # What must be so.

    @invariant()
    def nothing_breaks(self) -> None:
        """No control plane ends by itself, and none meets a bug of ours."""
        assert Mishaps.seen == []
        assert self.unheard == [], "an exception that nobody waited for"
        if self._alive:
            assert not self.house.life.task.done(), self.house.life.task

    @rule()
    def faults_stop(self) -> None:
        """The one promise."""
        self.engine.come_back()
        self.engine.delays.clear()
        self.house.router.delay = 0.0
        self.house.forge.mood = Mood.WELL
        self.do(self._die())
        self.do(self._start(None))
        self.do(self.house.rest(QUIET))
        self.do(self._is_at_rest())
        self._settle()

    def teardown(self) -> None:
        try:
            if hasattr(self, "house"):
                self.faults_stop()
        finally:
            self.do(_end_all_tasks())
            self.loop.close()
        gc.collect(1)  # What nobody waited for shows at its end.
        assert self.unheard == [], "an exception that nobody waited for"

    async def _is_at_rest(self) -> None:
        house = self.house
        self.nothing_breaks()
        assert house.life.supervisor.troubles == {}
        assert await house.store.read(lambda tx: tx.next_delivery()) is None
        running: list[Instance] = []
        for environment in await house.environments():
            running += await self._as_expected(environment)
        for change in self._truths():
            head = change.head_sha if change.is_open and change.trust is Trust.TRUSTED else None
            assert self._running_of(change.number) in self.expected.heads(change.number, head), change
        for name in self.expected.names:
            assert self._running_as(name) in self.expected.versions(name), name
        await self._nothing_is_left_over(running)

    async def _as_expected(self, environment: Environment) -> list[Instance]:
        """It says live and is, or says that it isn't and isn't; whether it should be is asked elsewhere."""
        status = await self.house.status(environment)
        if environment.desired.wanted:
            assert status.state is State.LIVE, (environment, status)
            return [await self.house.assert_live(environment)]
        assert status.state in (State.GONE, State.STOPPED, State.REFUSED)
        assert environment.serving is None
        assert self.engine.there(environment.id) == []
        return []

    async def _nothing_is_left_over(self, running: list[Instance]) -> None:
        house = self.house
        assert sorted(i.id for i in self.engine.there()) == sorted(i.id for i in running)
        assert await self.engine.sweep() == 0, "a network was left over"
        targets = [t for t in house.router.table.routes.values() if isinstance(t, Endpoint)]
        assert sorted(map(str, targets)) == sorted(str(i.endpoint) for i in running)
        hosts = {environment.host for environment in await house.environments()}
        assert house.router.table.routes.keys() == hosts
        asked, ids = len(self.engine.asked), [i.id for i in self.engine.there()]
        await house.rest(QUIET)
        assert [i.id for i in self.engine.there()] == ids, "it doesn't stay at rest"
        assert len(self.engine.asked) == asked, "it doesn't stay at rest"
        comments = [(c.repository_id, c.number) for c in house.forge.comments]
        assert len(comments) == len(set(comments)), "a second comment"

    def _settle(self) -> None:
        """What was in doubt is known now."""
        self.stops.clear()
        for name in self.expected.names:
            self.expected.runs(name, self._running_as(name))
        for change in self._truths():
            stopped = change.is_open and self._running_of(change.number) is None
            self.expected.hold(change.number, Held.YES if stopped else Held.NO)

    def truth(self, number: int) -> Change:
        """How a pull request stands."""
        return next(c for c in self._truths() if c.number == number)

    def _truths(self) -> list[Change]:
        return list(self.house.forge._changes.values())

    # Small things.

    async def _die(self) -> None:
        """Nothing of the control plane is left but what the engine is doing for it."""
        await self.house.kill()
        await _end_all_tasks(but=self.engine.under_way)

    async def _start(self, fuse: int | None) -> None:
        """Start a control plane; that brings the front back first, as the real one does."""
        self.house.router.come_back()
        wire = Tripwire(fuse)
        wire.arm()
        await self.house.start(wire, rest=False)
        await self.house.rest(5 * self.house.router.delay + 0.01)

    @property
    def _alive(self) -> bool:
        return not self.house.life.wire.tripped.is_set()

    def _answered(self, call: Coroutine[Any, Any, T]) -> T | None:
        """What was answered; None if the control plane died before it could answer."""
        return self.do(self._answer(call))

    async def _answer(self, call: Coroutine[Any, Any, T]) -> T | None:
        asked = asyncio.ensure_future(call)
        died = asyncio.ensure_future(self.house.life.wire.tripped.wait())
        await asyncio.wait({asked, died}, return_when=asyncio.FIRST_COMPLETED)
        died.cancel()
        if asked.done():
            return asked.result()
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        return None

    def _peek(self, work: Callable[[Transaction], T]) -> T:
        """What the store has at this moment; no time passes."""
        return work(MemoryTransaction(self.house.store._tables, writable=False))

    def _is_known(self, environment: str) -> bool:
        return self._peek(lambda tx: tx.environment(environment)) is not None

    def _knows_everything(self) -> bool:
        return self._peek(lambda tx: tx.next_delivery()) is None

    def _lose_database(self) -> None:
        """What is there is known again; and what the engine is about to make or to remove may be, or not."""
        self.house.store = type(self.house.store)()
        for name in self.expected.names:
            in_doubt = {None, *self.expected.versions(name)} if self.engine.under_way else set()
            self.expected.runs(name, *(self._versions_there(name) or (None,)), *in_doubt)
        for change in self._truths():
            self.expected.hold(change.number, Held.NO)

    def _to_stop(self) -> list[Instance]:
        return [i for i in self._running() if self.stops[i.deployment] < STOPS_ALLOWED]

    def _running(self) -> list[Instance]:
        return [i for i in self.engine.there() if i.state is InstanceState.RUNNING]

    def _has_answered(self, instance: Instance) -> bool:
        deployment = self._peek(lambda tx: tx.deployment(instance.deployment))
        return deployment is not None and bool(deployment.attempt.healthy_run)

    def _running_of(self, number: int) -> str | None:
        """The head that runs for this pull request."""
        births = [self.engine.spec(i.id).birth for i in self.engine.there()]
        heads = [b.revision.sha for b in births if b.change is not None and b.change.number == number]
        return heads[0] if heads else None

    def _running_as(self, name: str) -> str | None:
        """The version that runs under this name."""
        found = self._versions_there(name)
        return found[0] if found else None

    def _versions_there(self, name: str) -> list[str]:
        births = [self.engine.spec(i.id).birth for i in self.engine.there()]
        return [b.parameters["V"] for b in births if b.subject == f"name:{name}"]

    def _numbers(self, ref: str) -> list[int]:
        return [c.number for c in self._truths() if c.head_ref == ref]

    def _sha(self) -> str:
        self.versions += 1
        return f"{self.versions:040x}"

    @staticmethod
    def _one_of(instances: list[Instance], which: int) -> Instance:
        return instances[which % len(instances)]


class OutOfTouch(Installation):
    """One without credentials: it knows what it is told and nothing else, so that is what should run."""

    credentials = False

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[int, Change] = {}

    def _truths(self) -> list[Change]:
        return list(self.told.values())

    def _know(self, event: ChangeSeen) -> None:
        """What happens is nothing until it is told."""

    def _heard(self, event: ChangeSeen) -> None:
        """Only what is newer than everything before changes anything."""
        change = event.change
        known = self.told.get(change.number)
        if known is None or known.updated_at < change.updated_at:
            self.told[change.number] = change
            self.expected.hold(change.number, Held.NO)


async def _end_all_tasks(but: Collection[asyncio.Task[Any]] = ()) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task(), *but}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _in_a_tuple(call: Coroutine[Any, Any, T]) -> tuple[T]:
    return (await call,)


LENGTH = settings(
    max_examples=300, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("machine", [Installation, OutOfTouch])
def test_any_history_ends_with_what_is_open_running(machine: type[Installation]) -> None:
    run_state_machine_as_test(machine, settings=LENGTH)
