"""What every engine promises about instances that are paused, and go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from stager.domain.environment import Instance, InstanceState
from stager.domain.errors import Retry
from stager.ports.engine import Reclaim
from stager.testing import FakeEngine
from tests.contracts.engines import Engine, FakeEngineUnderTest
from tests.contracts.test_engine import made, seen, started, status, until_stopped


async def paused(engine: Engine, does: str = "serves") -> Instance:
    """One that was started, answered if it serves, and was paused; as it was when it ran."""
    instance = await started(engine, does)
    if does == "serves":
        assert await status(engine, instance) == 404
    await engine.power.pause(instance.id)
    return instance


class TestPause:
    async def test_keeps_the_run(self, engine: Engine) -> None:
        instance = await paused(engine)
        found = await seen(engine, instance)
        assert found.state is InstanceState.PAUSED
        assert (found.run, found.exit_code, found.endpoint) == (instance.run, None, None)
        [summary] = await engine.instances.find()
        assert summary.state is InstanceState.PAUSED

    async def test_it_answers_once_it_goes_on(self, engine: Engine) -> None:
        instance = await paused(engine)
        assert instance.endpoint
        assert await engine.prober.answers(instance.endpoint, "x.preview.test", "/", 0.3) is None
        asking = asyncio.create_task(engine.prober.answers(instance.endpoint, "x.preview.test", "/no"))
        await asyncio.sleep(0.2)
        assert not asking.done()
        assert await engine.prober.accepts(instance.endpoint)
        await engine.power.unpause(instance.id)
        assert await asking == 404
        assert await seen(engine, instance) == instance

    async def test_again_has_no_effect(self, engine: Engine) -> None:
        instance = await paused(engine)
        await engine.power.pause(instance.id)
        assert (await seen(engine, instance)).state is InstanceState.PAUSED
        await engine.power.unpause(instance.id)
        await engine.power.unpause(instance.id)
        assert await seen(engine, instance) == instance

    async def test_at_the_same_time(self, engine: Engine) -> None:
        instance = await started(engine)
        await asyncio.gather(*(engine.power.pause(instance.id) for _ in range(4)))
        assert (await seen(engine, instance)).state is InstanceState.PAUSED
        await asyncio.gather(*(engine.power.unpause(instance.id) for _ in range(4)))
        assert await seen(engine, instance) == instance

    @pytest.mark.parametrize("state", ["created", "ended", "removed"])
    async def test_of_one_that_doesnt_run(self, engine: Engine, state: str) -> None:
        instance = await made(engine, "exits")
        if state == "ended":
            await engine.instances.start(instance.id)
            await until_stopped(engine, instance)
        if state == "removed":
            await engine.instances.remove(instance.id)
        for call in (engine.power.pause, engine.power.unpause):
            with pytest.raises(Retry) as caught:
                await call(instance.id)
            assert caught.value.reason == "instance-gone"

    async def test_is_an_event(self, engine: Engine) -> None:
        instance = await started(engine)
        events = engine.instances.events()
        assert await asyncio.wait_for(anext(events), 5) == ""
        await engine.power.pause(instance.id)
        assert await asyncio.wait_for(anext(events), 5) == "e1"
        assert (await seen(engine, instance)).state is InstanceState.PAUSED
        await engine.power.unpause(instance.id)
        assert await asyncio.wait_for(anext(events), 5) == "e1"
        assert await seen(engine, instance) == instance
        assert isinstance(events, AsyncIterator)
        await events.aclose()  # type: ignore[attr-defined]


class TestPaused:
    """What else may be done with a paused instance."""

    async def test_started_it_goes_on(self, engine: Engine) -> None:
        instance = await paused(engine)
        assert await engine.instances.start(instance.id) == instance
        assert await status(engine, instance) == 404

    async def test_stopped_it_ends(self, engine: Engine) -> None:
        instance = await paused(engine)
        await engine.instances.stop(instance.id)
        assert (await seen(engine, instance)).state is InstanceState.STOPPED
        again = await engine.instances.start(instance.id)
        assert (again.endpoint, again.run == instance.run) == (instance.endpoint, False)

    async def test_removed_it_is_gone(self, engine: Engine) -> None:
        instance = await paused(engine)
        await engine.instances.remove(instance.id)
        assert await engine.instances.find("e1") == []

    async def test_killed_it_has_ended(self, engine: Engine) -> None:
        instance = await paused(engine)
        await engine.kill(instance.id)
        assert (await until_stopped(engine, instance)).exit_code == 137

    async def test_its_network_stays(self, engine: Engine) -> None:
        await paused(engine)
        assert await engine.instances.sweep() == 0

    async def test_no_command_runs_in_it(self, engine: Engine) -> None:
        instance = await paused(engine, "runs")
        with pytest.raises(Retry) as caught:
            await engine.instances.run(instance.id, engine.inner("speaks"), 5)
        assert caught.value.reason == "instance-gone"

    async def test_its_check_fails(self, engine: Engine) -> None:
        checked = await engine.instances.check((await paused(engine, "well")).id)
        assert checked is not None
        assert not checked.healthy

    async def test_its_output_is_there(self, engine: Engine) -> None:
        assert await engine.instances.logs((await paused(engine)).id, 10) == "ready"


class TestReclaim:
    async def test_not_of_one_that_runs(self, engine: Engine) -> None:
        assert await engine.power.reclaim((await started(engine)).id) is None

    async def test_not_of_one_that_isnt_there(self, engine: Engine) -> None:
        instance = await paused(engine)
        await engine.instances.remove(instance.id)
        assert await engine.power.reclaim(instance.id) is None

    async def test_where_the_machine_can(self, engine: Engine) -> None:
        instance = await paused(engine)
        works = (await engine.power.reclaim_support()).works
        assert (await engine.power.reclaim(instance.id) is not None) == works
        await engine.power.unpause(instance.id)
        assert await status(engine, instance) == 404

    async def test_not_without_swap(self, engine: Engine) -> None:
        if not isinstance(engine, FakeEngineUnderTest):
            pytest.skip("the machine's swap isn't the test's")
        assert isinstance(engine.power, FakeEngine)
        engine.power.support = Reclaim("a fake", "", "Add swap.")
        assert await engine.power.reclaim((await paused(engine)).id) is None
