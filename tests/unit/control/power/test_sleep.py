"""Previews that sleep, with the real control classes over fakes and on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from prometheus_client import generate_latest

from stager.control.environments.visits import Visits, save_visits, visits_of
from stager.control.reconciler.worker import Workers
from stager.domain.deployment import Phase, phase_of
from stager.domain.environment import Depth, Environment, InstanceState
from stager.domain.errors import Refused
from stager.domain.route import Endpoint, Page
from stager.domain.status import State
from stager.ports.engine import Reclaim
from stager.ports.store import Transaction
from stager.testing import Program
from tests.unit.control.harness import ANN, IMAGE, SHOP, Harness

MINUTE = 60.0
SLEEPER = replace(SHOP, owner="acme", sleep_after=30 * MINUTE, stop_after=24 * 60 * MINUTE)
BROKEN = Program(exit_code=3)


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    async with Harness([SLEEPER]).open() as opened:
        yield opened


@pytest.fixture
async def preview(harness: Harness) -> Environment:
    environment = await harness.launch("x")
    await harness.rest(MINUTE)
    return environment


async def sleep(harness: Harness, environment: Environment, depth: Depth = Depth.PAUSED) -> None:
    await harness.running.control_plane.environments.power.sleep(environment.id, depth)
    await harness.rest(MINUTE / 2)


async def visits(harness: Harness, environment: Environment) -> Visits:
    return await harness.store.read(lambda tx: visits_of(tx, environment.id))


def states(harness: Harness) -> set[InstanceState]:
    return {instance.state for instance in harness.engine.there()}


def now(harness: Harness) -> datetime:
    return harness.running.clock.now()


class TestIdle:
    async def test_sleeps_when_nobody_has_visited_it_for_long(
        self, harness: Harness, preview: Environment
    ) -> None:
        await harness.rest(31 * MINUTE)

        assert (await harness.status()).state is State.ASLEEP
        assert states(harness) == {InstanceState.PAUSED}
        target = harness.target(preview.host)
        assert isinstance(target, Page)
        assert target.state == "asleep"
        there = await harness.the()
        assert there.serving == 1
        assert phase_of(await harness.deployment(), there) is Phase.LIVE

    async def test_a_visit_wakes_it_without_a_start(self, harness: Harness, preview: Environment) -> None:
        before, checks = harness.engine.there(), len(harness.engine.asked)
        await harness.rest(31 * MINUTE)
        async with harness.router.visit(preview.host) as visit:
            assert isinstance(visit.target, Endpoint)
        await harness.rest(MINUTE)

        await harness.assert_live(preview)
        assert harness.engine.there() == before
        assert len(harness.engine.asked) == checks
        assert (await harness.the()).asleep_runs == frozenset()

    async def test_a_thousand_visits_wake_it_once(self, harness: Harness, preview: Environment) -> None:
        await harness.rest(31 * MINUTE)

        async def visit() -> object:
            async with harness.router.visit(preview.host) as visit:
                return visit.target

        targets = await asyncio.gather(*(visit() for _ in range(1000)))
        assert {type(target) for target in targets} == {Endpoint}
        since = (await visits(harness, preview)).since
        await harness.rest(MINUTE)
        assert (await visits(harness, preview)).since == since

    async def test_visits_keep_it_awake(self, harness: Harness, preview: Environment) -> None:
        for _ in range(4):
            await harness.rest(20 * MINUTE)
            async with harness.router.visit(preview.host):
                pass
        assert (await harness.status()).state is State.LIVE

    async def test_an_open_request_keeps_it_awake(self, harness: Harness, preview: Environment) -> None:
        async with harness.router.visit(preview.host):
            await harness.rest(60 * MINUTE)
            assert (await harness.status()).state is State.LIVE

    async def test_an_open_terminal_keeps_it_awake(self, harness: Harness, preview: Environment) -> None:
        with harness.running.control_plane.environments.power.in_use(preview.id):
            await harness.rest(60 * MINUTE)
            assert (await harness.status()).state is State.LIVE
        await harness.rest(MINUTE)
        assert (await harness.status()).state is State.ASLEEP

    async def test_a_new_one_stays_awake(self, harness: Harness) -> None:
        """The front has run for longer than the preview."""
        await harness.rest(60 * MINUTE)
        await harness.launch("x")
        await harness.rest(20 * MINUTE)
        assert (await harness.status()).state is State.LIVE

    async def test_one_that_was_woken_by_a_command_stays_awake(
        self, harness: Harness, preview: Environment
    ) -> None:
        await harness.rest(31 * MINUTE)
        await harness.running.control_plane.environments.power.wake_by(preview.id, ANN)
        await harness.rest(20 * MINUTE)
        assert (await harness.status()).state is State.LIVE
        await harness.rest(11 * MINUTE)
        assert (await harness.status()).state is State.ASLEEP

    async def test_is_stopped_after_a_day_asleep(self, harness: Harness, preview: Environment) -> None:
        await harness.rest(31 * MINUTE + 24 * 60 * MINUTE)
        assert states(harness) == {InstanceState.STOPPED}
        assert (await harness.status()).state is State.ASLEEP
        async with harness.router.visit(preview.host) as visit:
            assert isinstance(visit.target, Endpoint)
        await harness.rest(MINUTE)
        await harness.assert_live(preview)
        assert b"stager_service_restarts_total{" not in generate_latest(harness.running.metrics.registry)

    async def test_sleeps_after_the_clock_was_set_back(self, harness: Harness, preview: Environment) -> None:
        """It was launched and woken while the clock was ahead."""
        deployment, later = await harness.deployment(), now(harness) + timedelta(days=365)

        def work(tx: Transaction) -> None:
            tx.save_deployment(replace(deployment, live_at=later))
            save_visits(tx, preview.id, Visits(since=later))

        await harness.store.write(work)
        await harness.rest(31 * MINUTE)
        assert (await harness.status()).state is State.ASLEEP

    async def test_the_last_visit_is_stored(self, harness: Harness, preview: Environment) -> None:
        async with harness.router.visit(preview.host):
            pass
        visited = now(harness)
        await harness.rest(11 * MINUTE)
        stored = (await visits(harness, preview)).last
        assert stored is not None
        assert abs(stored - visited) < timedelta(seconds=2)

    async def test_never_sleeps_if_the_configuration_says_so(self) -> None:
        async with Harness([replace(SLEEPER, sleep_after=None)]).open() as harness:
            await harness.launch("x")
            await harness.rest(300 * MINUTE)
            assert (await harness.status()).state is State.LIVE


class TestCommand:
    async def test_puts_it_to_sleep_at_once(self, harness: Harness, preview: Environment) -> None:
        await harness.running.control_plane.environments.power.sleep_by(preview.id, ANN)
        await harness.rest(5)
        assert states(harness) == {InstanceState.PAUSED}

    async def test_an_open_request_keeps_it_awake(self, harness: Harness, preview: Environment) -> None:
        async with harness.router.visit(preview.host) as visit:
            await sleep(harness, preview)
            assert not visit.cut.is_set()
            assert (await harness.status()).state is State.LIVE
            assert states(harness) == {InstanceState.RUNNING}
        assert (await harness.the()).asleep_runs == frozenset()

    async def test_refuses_what_isnt_live(self, harness: Harness) -> None:
        harness.engine.add_image(IMAGE, BROKEN)
        environment = await harness.launch("x")
        await harness.rest(MINUTE)
        with pytest.raises(Refused, match="Only a live preview"):
            await harness.running.control_plane.environments.power.sleep_by(environment.id, ANN)

    async def test_a_kill_removes_it(self, harness: Harness, preview: Environment) -> None:
        await sleep(harness, preview)
        await harness.stop("x")
        await harness.rest(MINUTE)
        await harness.assert_gone(preview)

    async def test_a_redeployment_wakes_it(self, harness: Harness, preview: Environment) -> None:
        await sleep(harness, preview)
        await harness.running.commands.redeploy(preview.id, ANN)
        await harness.rest(MINUTE)
        assert (await harness.assert_live(preview)).generation == 2

    async def test_a_launch_that_fails_leaves_it_awake(self, harness: Harness, preview: Environment) -> None:
        await sleep(harness, preview, Depth.STOPPED)
        harness.engine.add_image(IMAGE, BROKEN)
        await harness.launch("x")
        await harness.rest(2 * MINUTE)
        await harness.assert_live(preview, generation=1)
        assert (await harness.status()).state is State.FAILED_UPDATE

    async def test_one_whose_update_failed_sleeps_and_says_so(
        self, harness: Harness, preview: Environment
    ) -> None:
        harness.engine.add_image(IMAGE, BROKEN)
        await harness.launch("x")
        await harness.rest(2 * MINUTE)
        await sleep(harness, preview)
        assert "the newest one failed" in (await harness.status()).message
        async with harness.router.visit(preview.host) as visit:
            assert isinstance(visit.target, Endpoint)
        await harness.rest(MINUTE)
        assert (await harness.status()).state is State.FAILED_UPDATE


class TestEngine:
    async def test_one_that_ended_asleep_is_started_again(
        self, harness: Harness, preview: Environment
    ) -> None:
        """As after a reboot, or a crash of dockerd."""
        await sleep(harness, preview)
        [instance] = harness.engine.there()
        harness.engine.end(instance.id)
        await harness.rest(10 * MINUTE)
        assert (await harness.status()).state is State.ASLEEP
        assert states(harness) == {InstanceState.STOPPED}
        async with harness.router.visit(preview.host) as visit:
            assert isinstance(visit.target, Endpoint)
        await harness.rest(MINUTE)
        await harness.assert_live(preview)
        assert (await harness.deployment()).attempt.failures == 0

    async def test_one_that_was_restarted_asleep_is_paused_again(
        self, harness: Harness, preview: Environment
    ) -> None:
        """By `docker restart`."""
        await sleep(harness, preview)
        [instance] = harness.engine.there()
        harness.engine.end(instance.id)
        await harness.engine.start(instance.id)
        await harness.rest(MINUTE)
        assert states(harness) == {InstanceState.PAUSED}
        async with harness.router.visit(preview.host) as visit:
            assert isinstance(visit.target, Endpoint)
        await harness.rest(MINUTE)
        await harness.assert_live(preview)

    async def test_one_that_cant_be_woken_says_why(self, harness: Harness, preview: Environment) -> None:
        await sleep(harness, preview, Depth.STOPPED)
        [instance] = harness.engine.there()
        harness.engine.change(instance.id, Program(starts=False))
        await harness.running.control_plane.environments.power.wake_by(preview.id, ANN)
        await harness.rest(10 * MINUTE)
        there = await harness.the()
        assert (await harness.status()).state is State.FAILED
        assert (there.serving, there.asleep_runs) == (None, frozenset())

    async def test_a_lost_wake_is_repeated(self, harness: Harness, preview: Environment) -> None:
        """The control plane is away when the request comes."""
        await sleep(harness, preview)
        await harness.kill()
        async with asyncio.TaskGroup() as tasks:
            visit = tasks.create_task(self.visit(harness, preview))
            await harness.rest(5)
            await harness.start(rest=False)
        assert isinstance(visit.result(), Endpoint)

    @pytest.mark.parametrize("depth", Depth)
    async def test_a_lost_change_is_made_up_for(
        self, harness: Harness, preview: Environment, depth: Depth, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The full reconciliation finds what should sleep, sleep deeper or wake, and has no worker."""
        power = harness.running.control_plane.environments.power
        for wanted in dict.fromkeys((Depth.PAUSED, depth)):
            with monkeypatch.context() as patched:
                patched.setattr(Workers, "wake", lambda *_: None)
                await power.sleep(preview.id, wanted)
            await harness.rest(65)
            assert states(harness) == {InstanceState(wanted)}
        with monkeypatch.context() as patched:
            patched.setattr(Workers, "wake", lambda *_: None)
            await power.wake_by(preview.id, ANN)
        await harness.rest(65)
        await harness.assert_live(preview)

    @staticmethod
    async def visit(harness: Harness, preview: Environment) -> object:
        async with harness.router.visit(preview.host) as visit:
            return visit.target

    async def test_memory_is_taken_back_once(self, harness: Harness, preview: Environment) -> None:
        await harness.running.control_plane.environments.power.sleep(preview.id)
        await harness.rest(MINUTE / 2)
        assert harness.engine.reclaimed == []
        await harness.rest(2 * MINUTE)
        [instance] = harness.engine.there()
        assert harness.engine.reclaimed == [instance.id]

    async def test_memory_stays_where_the_machine_has_no_swap(
        self, harness: Harness, preview: Environment
    ) -> None:
        harness.engine.support = Reclaim("a fake", "")
        await sleep(harness, preview)
        await harness.rest(5 * MINUTE)
        assert harness.engine.reclaimed == []


class TestPullRequest:
    async def test_its_comment_says_so_and_stays_the_only_one(self, harness: Harness) -> None:
        repository = harness.forge.add_repository("acme", "shop")
        await harness.deliver(harness.forge.open(repository, "feature-x", "a1"))
        await harness.rest(MINUTE)
        statuses = len(harness.forge.statuses)
        environment = await harness.the()
        await sleep(harness, environment)
        [comment] = [comment for comment in harness.forge.comments if comment.ours]
        assert "It is asleep" in comment.body
        async with harness.router.visit(environment.host):
            pass
        await harness.rest(MINUTE)
        [comment] = [comment for comment in harness.forge.comments if comment.ours]
        assert "It is asleep" not in comment.body
        assert len(harness.forge.statuses) == statuses, "a status was reported"

    @pytest.mark.parametrize("depth", Depth)
    async def test_a_redelivery_leaves_it_asleep(self, harness: Harness, depth: Depth) -> None:
        repository = harness.forge.add_repository("acme", "shop")
        opened = harness.forge.open(repository, "feature-x", "a1")
        await harness.deliver(opened)
        await harness.rest(MINUTE)
        environment = await harness.the()
        await sleep(harness, environment, depth)
        await harness.deliver(opened)
        await harness.rest(20 * MINUTE)
        there = await harness.the()
        assert (there.desired.generation, there.desired.is_asleep) == (1, True)


class TestWithoutPause:
    """Docker Swarm can't pause."""

    @pytest.fixture
    async def harness(self) -> AsyncIterator[Harness]:
        harness = Harness([SLEEPER])
        harness.engine.can_pause = False
        async with harness.open() as opened:
            yield opened

    async def test_is_stopped_at_once_and_started_by_a_visit(
        self, harness: Harness, preview: Environment
    ) -> None:
        await harness.rest(31 * MINUTE)

        assert (await harness.status()).state is State.ASLEEP
        assert states(harness) == {InstanceState.STOPPED}
        assert (await harness.the()).desired.depth is Depth.STOPPED
        async with harness.router.visit(preview.host) as visit:
            assert isinstance(visit.target, Endpoint)
        await harness.rest(MINUTE)
        assert (await harness.status()).state is State.LIVE
        assert states(harness) == {InstanceState.RUNNING}

    async def test_a_command_stops_it_once(self, harness: Harness, preview: Environment) -> None:
        for _ in range(2):
            await sleep(harness, preview)
            assert states(harness) == {InstanceState.STOPPED}
