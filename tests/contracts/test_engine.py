"""What every engine promises. Each test runs against Docker and against the engine in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from stager.domain.environment import Instance, InstanceState
from stager.domain.errors import Fault, Retry
from stager.domain.leftovers import LeftoverKind
from stager.domain.profile import ProfileName
from stager.engines.docker.exec_in_container import OUTPUT_KEPT
from stager.ports.engine import Listener, Ran, Size, Terminal
from stager.testing import FakeEngine
from tests.contracts.engines import (
    LIMITS,
    DockerUnderTest,
    Engine,
    FakeEngineUnderTest,
    docker_under_test,
    instance_labels,
    spec_of,
    unused_endpoint,
    with_settings,
)


async def made(engine: Engine, does: str = "serves", environment: str = "e1") -> Instance:
    return await engine.instances.create(await engine.spec(does, instance_labels(environment)))


async def started(engine: Engine, does: str = "serves", environment: str = "e1") -> Instance:
    return await engine.instances.start((await made(engine, does, environment)).id)


async def seen(engine: Engine, instance: Instance) -> Instance:
    """The instance as a closer look shows it."""
    [found] = [i for i in await engine.instances.find(instance.environment) if i.id == instance.id]
    return found


async def until_stopped(engine: Engine, instance: Instance) -> Instance:
    async with asyncio.timeout(10):
        while (now := await seen(engine, instance)).state is not InstanceState.STOPPED:
            await asyncio.sleep(0.05)
    return now


async def status(engine: Engine, instance: Instance) -> int | None:
    """What it answers, once it does; None when it never did."""
    assert instance.endpoint
    for _ in range(40):
        answer = await engine.prober.answers(instance.endpoint, "x.preview.test", "/nothing")
        if answer is not None:
            return answer
        await asyncio.sleep(0.05)
    return None


class TestImages:
    async def test_one_that_is_there(self, engine: Engine) -> None:
        found = await engine.images.resolve(engine.reference)

        assert found
        assert await engine.images.resolve(engine.reference) == found
        assert found != engine.reference

    @pytest.mark.parametrize("reference", ["127.0.0.1:1/acme/none:1", "NOT A NAME"])
    async def test_one_that_isnt_to_be_had(self, engine: Engine, reference: str) -> None:
        with pytest.raises(Fault) as caught:
            await engine.images.resolve(reference)

        assert caught.value.reason == "image-missing"
        assert reference in caught.value.message


class TestCreate:
    async def test_makes_one_that_doesnt_run(self, engine: Engine) -> None:
        spec = await engine.spec("serves", instance_labels())
        instance = await engine.instances.create(spec)

        assert (instance.environment, instance.deployment) == ("e1", spec.labels.deployment)
        assert (instance.state, instance.generation) == (InstanceState.CREATED, 1)
        assert (await seen(engine, instance)).state is InstanceState.CREATED
        assert instance.network
        assert (instance.endpoint, instance.started_at) == (None, "")

    async def test_again_is_the_same_one(self, engine: Engine) -> None:
        spec = await engine.spec("serves", instance_labels())
        first = await engine.instances.create(spec)
        assert (await engine.instances.create(spec)).id == first.id
        await engine.instances.start(first.id)
        assert (await engine.instances.create(spec)).id == first.id

        assert len(await engine.instances.find()) == 1

    async def test_each_service_of_a_deployment_has_one(self, engine: Engine) -> None:
        web = await engine.spec("serves", instance_labels())
        database = replace(web, labels=replace(web.labels, service="database"))
        made = [await engine.instances.create(spec) for spec in (web, database, web, database)]

        assert len({instance.id for instance in made}) == 2
        found = await engine.instances.find("e1")
        assert {(i.id, i.service) for i in found} == {(i.id, i.service) for i in made}

    async def test_equal_inputs_mean_that_it_was_created_from_the_same(self, engine: Engine) -> None:
        spec = replace(await engine.spec("runs", instance_labels()), fallbacks={"PORT": "8080"})
        other = replace(spec, labels=instance_labels(), variables={"X": "1"})
        again = replace(spec, labels=instance_labels())
        for each in (spec, other, again):
            await engine.instances.create(each)

        inputs = {i.deployment: i.inputs for i in await engine.instances.find("e1")}
        assert inputs == {each.labels.deployment: each.inputs for each in (spec, other, again)}
        assert spec.inputs == again.inputs != other.inputs

    async def test_refuses_an_image_that_is_gone(self, engine: Engine) -> None:
        spec = replace(await engine.spec("serves", instance_labels()), image=f"sha256:{0:064x}")
        with pytest.raises(Fault) as caught:
            await engine.instances.create(spec)

        assert caught.value.reason == "create-failed"
        assert await engine.instances.find() == []

    async def test_instances_of_one_environment_share_its_network(self, engine: Engine) -> None:
        first, second = await started(engine), await started(engine)
        other = await started(engine, environment="e2")

        assert first.network == second.network != other.network
        assert len({first.endpoint, second.endpoint, other.endpoint}) == 3

    async def test_fallbacks_give_way_to_the_image_and_to_variables(self, engine: Engine) -> None:
        spec = await engine.spec("serves", instance_labels())
        given = {"PATH": "/nowhere", "PORT": "8080", "EMPTY": "x", "MINE": "x"}
        spec = replace(spec, variables={"EMPTY": "", "MINE": "y"}, fallbacks=given)
        variables = await engine.variables((await engine.instances.create(spec)).id)

        assert variables["PORT"] == "8080"
        assert (variables["EMPTY"], variables["MINE"]) == ("", "y")
        assert variables["PATH"] not in ("/nowhere", "")


class TestFind:
    async def test_nothing_at_first(self, engine: Engine) -> None:
        assert await engine.instances.find() == []
        assert await engine.instances.find("e1") == []
        assert await engine.instances.find_with_labels() == []

    async def test_one_environments_or_all(self, engine: Engine) -> None:
        mine, other = await started(engine), await made(engine, environment="e2")

        assert await engine.instances.find("e1") == [mine]
        every = {i.id: i.state for i in await engine.instances.find()}
        assert every == {mine.id: InstanceState.RUNNING, other.id: InstanceState.CREATED}

    async def test_labels_are_as_they_were_given(self, engine: Engine) -> None:
        full = instance_labels()
        bare = replace(instance_labels("e2"), change=None, parameters={})
        for labels in (full, bare):
            await engine.instances.create(await engine.spec("runs", labels))

        found = {labels.environment: labels for _, labels in await engine.instances.find_with_labels()}
        assert found == {"e1": full, "e2": bare}


class TestStart:
    async def test_runs_where_it_says(self, engine: Engine) -> None:
        instance = await started(engine)

        assert instance.state is InstanceState.RUNNING
        assert instance.exit_code is None
        assert await seen(engine, instance) == instance
        assert await status(engine, instance) == 404

    async def test_says_when(self, engine: Engine) -> None:
        stamp = datetime.fromisoformat((await started(engine)).started_at)

        if not isinstance(engine, FakeEngineUnderTest):
            assert abs(datetime.now(UTC) - stamp) < timedelta(minutes=1)
        assert stamp.tzinfo

    async def test_again_has_no_effect(self, engine: Engine) -> None:
        instance = await started(engine)

        assert await engine.instances.start(instance.id) == instance

    async def test_of_one_that_isnt_there(self, engine: Engine) -> None:
        instance = await made(engine)
        await engine.instances.remove(instance.id)
        with pytest.raises(Retry) as caught:
            await engine.instances.start(instance.id)

        assert caught.value.reason == "instance-gone"

    async def test_of_one_that_cant_be(self, engine: Engine) -> None:
        instance = await made(engine, "unstartable")
        with pytest.raises(Fault) as caught:
            await engine.instances.start(instance.id)

        assert caught.value.reason == "start-failed"
        assert (await seen(engine, instance)).state is not InstanceState.RUNNING
        await engine.instances.remove(instance.id)
        assert await engine.instances.find() == []

    async def test_one_that_listens_nowhere_runs_all_the_same(self, engine: Engine) -> None:
        instance = await started(engine, "runs")
        assert instance.endpoint

        assert await engine.prober.answers(instance.endpoint, "x.preview.test", "/") is None
        assert (await seen(engine, instance)).state is InstanceState.RUNNING


class TestEnd:
    async def test_by_itself(self, engine: Engine) -> None:
        instance = await until_stopped(engine, await started(engine, "exits"))

        assert (instance.exit_code, instance.endpoint) == (3, None)
        assert await engine.instances.logs(instance.id, 10) == "first\nlast"
        assert await engine.instances.logs(instance.id, 1) == "last"

    @pytest.mark.parametrize(
        ("does", "exit_code", "exceeded"),
        [
            ("hungry", 137, LIMITS.memory),
            ("has-a-hungry-child", 1, LIMITS.memory),
            ("forgives-its-child", 0, 0),
            ("exits", 3, 0),
        ],
    )
    async def test_by_its_memory_limit(
        self, engine: Engine, does: str, exit_code: int, exceeded: int
    ) -> None:
        instance = await until_stopped(engine, await started(engine, does))

        assert (instance.exit_code, instance.memory_exceeded) == (exit_code, exceeded)

    async def test_when_another_program_killed_it(self, engine: Engine) -> None:
        instance = await started(engine)
        await engine.kill(instance.id)

        killed = await until_stopped(engine, instance)
        assert (killed.exit_code, killed.memory_exceeded) == (137, 0)

    async def test_started_again_it_is_another_run_at_the_same_place(self, engine: Engine) -> None:
        first = await started(engine)
        await engine.kill(first.id)
        await until_stopped(engine, first)
        second = await engine.instances.start(first.id)

        assert second.id == first.id
        assert second.run != first.run
        assert second.endpoint == first.endpoint
        assert await status(engine, second) == 404


class TestRemove:
    @pytest.mark.parametrize("does", ["serves", "runs", "exits"])
    async def test_whatever_it_does(self, engine: Engine, does: str) -> None:
        instance = await started(engine, does)
        await engine.instances.remove(instance.id)

        assert await engine.instances.find("e1") == []
        assert await engine.instances.logs(instance.id, 10) == ""

    async def test_one_that_never_ran(self, engine: Engine) -> None:
        await engine.instances.remove((await made(engine)).id)

        assert await engine.instances.find("e1") == []

    async def test_again_is_success(self, engine: Engine) -> None:
        instance = await started(engine)
        await engine.instances.remove(instance.id)
        await engine.instances.remove(instance.id)

    async def test_at_the_same_time_is_success(self, engine: Engine) -> None:
        instance = await started(engine)
        await asyncio.gather(*(engine.instances.remove(instance.id) for _ in range(3)))

        assert await engine.instances.find("e1") == []

    async def test_leaves_the_others_alone(self, engine: Engine) -> None:
        gone, stays = await started(engine), await started(engine)
        await engine.instances.remove(gone.id)

        assert await engine.instances.find("e1") == [stays]
        assert await status(engine, stays) == 404


class TestSweep:
    async def test_what_isnt_used_any_more(self, engine: Engine) -> None:
        first, second = await started(engine), await made(engine, environment="e2")
        assert await engine.instances.leftovers() == []
        assert await engine.instances.sweep() == 0
        await engine.instances.remove(first.id)
        [leftover] = await engine.instances.leftovers()
        assert (leftover.kind, leftover.why) == (LeftoverKind.NETWORK, "no container is in it")
        assert await engine.instances.sweep() == 1
        assert await engine.instances.leftovers() == []
        await engine.instances.remove(second.id)
        assert await engine.instances.sweep() == 1

        assert await engine.instances.sweep() == 0

    async def test_not_what_a_stopped_instance_will_need(self, engine: Engine) -> None:
        instance = await started(engine)
        await engine.kill(instance.id)
        await until_stopped(engine, instance)

        assert await engine.instances.sweep() == 0
        assert (await engine.instances.start(instance.id)).endpoint == instance.endpoint

    async def test_while_instances_are_made(self, engine: Engine) -> None:
        """A network that was prepared for an instance must not be removed before the instance exists."""
        making = asyncio.gather(*(started(engine, "runs", f"e{number}") for number in range(4)))
        while not making.done():
            await engine.instances.sweep()
            await asyncio.sleep(0.005)

        assert all(instance.state is InstanceState.RUNNING for instance in await making)


class TestPrepared:
    """What is made ahead of an instance."""

    async def test_is_what_the_instance_gets(self, engine: Engine) -> None:
        async with engine.instances.prepared("e1", ProfileName.STANDARD):
            assert await engine.instances.sweep() == 0
            instance = await started(engine)
            assert await engine.instances.sweep() == 0
        assert await engine.instances.sweep() == 0
        assert await status(engine, instance)
        await engine.instances.remove(instance.id)
        assert await engine.instances.sweep() == 1

    async def test_is_not_removed_before_the_instance_is_created(self, engine: Engine) -> None:
        async with engine.instances.prepared("e1", ProfileName.STANDARD):
            await asyncio.sleep(0.5)
            assert await engine.instances.sweep() == 0
        assert await engine.instances.sweep() == 1

    async def test_is_nothing_where_there_is_an_instance(self, engine: Engine) -> None:
        first = await started(engine)
        async with engine.instances.prepared("e1", ProfileName.STANDARD):
            second = await made(engine)
        assert second.network == first.network
        assert await engine.instances.sweep() == 0

    async def test_is_for_one_environment(self, engine: Engine) -> None:
        async with engine.instances.prepared("e1", ProfileName.STANDARD):
            other = await started(engine, environment="e2")
        assert await engine.instances.sweep() == 1
        assert await status(engine, other)


class TestEvents:
    async def test_name_the_environment_that_changed(self, engine: Engine) -> None:
        events = engine.instances.events()
        assert await asyncio.wait_for(anext(events), 5) == ""
        instance = await started(engine)
        assert await asyncio.wait_for(anext(events), 5) == "e1"
        await engine.kill(instance.id)
        assert await asyncio.wait_for(anext(events), 5) == "e1"
        other = await started(engine, environment="e2")
        assert await self.next_other(events, "e1") == "e2"
        await engine.instances.remove(instance.id)
        assert await self.next_other(events, "e2") == "e1"
        await engine.instances.remove(other.id)
        await events.aclose()  # type: ignore[attr-defined]

    async def next_other(self, events: AsyncIterator[str], than: str) -> str:
        async with asyncio.timeout(5):
            while (event := await anext(events)) == than:
                pass
        return event


class TestLogs:
    async def test_of_one_that_runs(self, engine: Engine) -> None:
        instance = await started(engine)
        assert await status(engine, instance)

        assert await engine.instances.logs(instance.id, 10) == "ready"

    async def test_of_one_that_never_ran(self, engine: Engine) -> None:
        assert await engine.instances.logs((await made(engine)).id, 10) == ""


class TestHealth:
    """What the image's own check says."""

    async def test_that_finds_it_well(self, engine: Engine) -> None:
        instance = await started(engine, "well")
        assert await self.check(engine, instance) == (True, "fine")

        await engine.kill(instance.id)
        await until_stopped(engine, instance)
        assert await self.check(engine, instance) == (False, "")
        await engine.instances.remove(instance.id)
        assert await self.check(engine, instance) == (False, "")

    @staticmethod
    async def check(engine: Engine, instance: Instance) -> tuple[bool | None, str]:
        checked = await engine.instances.check(instance.id)
        assert checked
        return checked.healthy, checked.output.strip()

    async def test_that_finds_it_ill(self, engine: Engine) -> None:
        assert await self.check(engine, await started(engine, "ill")) == (False, "no table")

    async def test_that_cant_be_run(self, engine: Engine) -> None:
        healthy, output = await self.check(engine, await started(engine, "uncheckable"))

        assert (healthy, "not found" in output) == (None, True)

    async def test_where_there_is_none(self, engine: Engine) -> None:
        assert await engine.instances.check((await started(engine, "runs")).id) is None

    async def test_of_one_that_never_ran(self, engine: Engine) -> None:
        assert await self.check(engine, await made(engine, "well")) == (False, "")


class TestListeners:
    """Where an instance listens."""

    @pytest.mark.parametrize(
        ("does", "found"),
        [
            ("serves", ["[::]:8080"]),
            ("serves-itself", ["127.0.0.1:8080", "127.0.0.1:8081"]),
            ("runs", []),
        ],
    )
    async def test_of_one_that_runs(self, engine: Engine, does: str, found: list[str]) -> None:
        instance = await started(engine, does)
        listeners: tuple[Listener, ...] | None = ()
        for _ in range(20):
            listeners = await engine.instances.listeners(instance.id)
            if found and listeners and len(listeners) == len(found):
                break
            await asyncio.sleep(0.05)

        assert listeners is not None
        assert [str(listener) for listener in listeners] == found

    async def test_of_one_that_doesnt(self, engine: Engine) -> None:
        instance = await made(engine)
        assert await engine.instances.listeners(instance.id) is None
        await engine.instances.remove(instance.id)
        assert await engine.instances.listeners(instance.id) is None


class TestRun:
    """Commands inside a running instance."""

    @pytest.mark.parametrize(
        ("does", "exit_code", "output"),
        [
            ("speaks", 0, ["first", "last"]),
            ("fails", 3, ["no such table"]),
            ("complains", 1, ["on the other stream"]),
        ],
    )
    async def test_how_it_went(self, engine: Engine, does: str, exit_code: int, output: list[str]) -> None:
        instance = await started(engine, "runs")
        ran = await engine.instances.run(instance.id, engine.inner(does), 30)

        assert (ran.exit_code, ran.output.splitlines()) == (exit_code, output)

    async def test_however_often(self, engine: Engine) -> None:
        """Each is known to have ended, however soon that was."""
        instance = await started(engine, "runs")
        for _ in range(10):
            assert (await engine.instances.run(instance.id, engine.inner("fails"), 30)).exit_code == 3

    async def test_of_much_output_the_end_is_kept(self, engine: Engine) -> None:
        instance = await started(engine, "runs")
        ran = await engine.instances.run(instance.id, engine.inner("talks"), 30)

        assert ran.exit_code == 0
        assert ran.output.splitlines()[-1] == "the end"
        assert len(ran.output) <= OUTPUT_KEPT

    async def test_that_takes_too_long_isnt_waited_for(self, engine: Engine) -> None:
        instance = await started(engine, "runs")
        ran = await engine.instances.run(instance.id, engine.inner("hangs"), 1)

        assert ran.exit_code is None
        assert ran.output.strip() == "begun"
        assert (await seen(engine, instance)).state is InstanceState.RUNNING

    async def test_of_a_program_that_isnt_there(self, engine: Engine) -> None:
        instance = await started(engine, "runs")
        command = engine.inner("isnt-there")
        with pytest.raises(Fault) as caught:
            await engine.instances.run(instance.id, command, 30)

        assert caught.value.reason == "hook-failed"
        assert command[0] in caught.value.message

    async def test_in_one_that_never_ran(self, engine: Engine) -> None:
        await self.assert_gone(engine, await made(engine, "runs"))

    async def test_in_one_that_ended(self, engine: Engine) -> None:
        instance = await started(engine, "runs")
        await engine.kill(instance.id)
        await until_stopped(engine, instance)

        await self.assert_gone(engine, instance)

    async def test_in_one_that_was_removed(self, engine: Engine) -> None:
        instance = await started(engine, "runs")
        await engine.instances.remove(instance.id)

        await self.assert_gone(engine, instance)

    async def test_that_the_instances_end_cuts_short(self, engine: Engine) -> None:
        """It neither succeeded nor is it waited for."""
        instance = await started(engine, "runs")
        running = asyncio.ensure_future(engine.instances.run(instance.id, engine.inner("hangs"), 5))
        await asyncio.sleep(0.5)
        await engine.kill(instance.id)

        (ran,) = await asyncio.gather(running, return_exceptions=True)
        assert isinstance(ran, Retry) or (isinstance(ran, Ran) and ran.exit_code != 0)

    async def test_given_up(self, engine: Engine) -> None:
        instance = await started(engine, "runs")
        running = asyncio.ensure_future(engine.instances.run(instance.id, engine.inner("hangs"), 600))
        await asyncio.sleep(0.3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

        assert (await engine.instances.run(instance.id, engine.inner("speaks"), 30)).exit_code == 0

    async def assert_gone(self, engine: Engine, instance: Instance) -> None:
        with pytest.raises(Retry) as caught:
            await engine.instances.run(instance.id, engine.inner("speaks"), 30)
        assert caught.value.reason == "instance-gone"


class TestFollow:
    """Its output, as it comes."""

    async def test_until_it_ends(self, engine: Engine) -> None:
        instance = await started(engine)
        assert await status(engine, instance)
        pieces = engine.instances.follow(instance.id, 10)
        async with asyncio.timeout(10):
            assert await anext(pieces) == "ready\n"
            await engine.kill(instance.id)
            assert [piece async for piece in pieces] == []

    async def test_of_one_that_has_ended(self, engine: Engine) -> None:
        instance = await until_stopped(engine, await started(engine, "exits"))
        assert "".join([piece async for piece in engine.instances.follow(instance.id, 10)]) == "first\nlast\n"
        assert "".join([piece async for piece in engine.instances.follow(instance.id, 1)]) == "last\n"

    async def test_of_one_that_isnt_there(self, engine: Engine) -> None:
        instance = await started(engine)
        await engine.instances.remove(instance.id)
        assert [piece async for piece in engine.instances.follow(instance.id, 10)] == []


async def printed(terminal: Terminal, words: str) -> str:
    """What it has printed, once these words are part of it."""
    said = b""
    async with asyncio.timeout(10):
        while words.encode() not in said:
            piece = await terminal.read()
            assert piece, said
            said += piece
    return said.decode()


async def rest(terminal: Terminal) -> str:
    """All that it prints until it ends."""
    said = b""
    async with asyncio.timeout(10):
        while piece := await terminal.read():
            said += piece
    return said.decode()


class TestTerminal:
    """Interactive commands inside a running instance."""

    async def opened(self, engine: Engine, does: str = "listens") -> tuple[Instance, Terminal]:
        instance = await started(engine, "runs")
        return instance, await engine.instances.open(instance.id, engine.inner(does), Size(33, 101), "vt100")

    @pytest.mark.parametrize(
        ("does", "exit_code", "output"),
        [("speaks", 0, "first\r\nlast\r\n"), ("fails", 3, "no such table\r\n")],
    )
    async def test_how_it_went(self, engine: Engine, does: str, exit_code: int, output: str) -> None:
        _, terminal = await self.opened(engine, does)
        assert await rest(terminal) == output
        assert await terminal.read() == b""
        assert await terminal.exit_code() == exit_code
        await terminal.write(b"nobody listens\n")
        await terminal.resize(Size(1, 1))
        await terminal.close()

    async def test_it_receives_input_and_its_size(self, engine: Engine) -> None:
        _, terminal = await self.opened(engine)
        for typed, answer in (("hello", "you said hello"), ("size", "33 101"), ("kind", "vt100")):
            await terminal.write(f"{typed}\n".encode())
            await printed(terminal, answer)
        await terminal.resize(Size(50, 132))
        await terminal.write(b"size\n")
        await printed(terminal, "50 132")
        await terminal.write(b"exit 7\n")
        await rest(terminal)
        assert await terminal.exit_code() == 7
        await terminal.close()

    async def test_of_a_program_that_isnt_there(self, engine: Engine) -> None:
        _, terminal = await self.opened(engine, "isnt-there")
        assert "no-such-program" in await rest(terminal) or isinstance(engine, FakeEngineUnderTest)
        assert await terminal.exit_code() in (126, 127)
        await terminal.close()

    async def test_it_ends_with_its_instance(self, engine: Engine) -> None:
        instance, terminal = await self.opened(engine)
        await engine.kill(instance.id)
        await rest(terminal)
        assert await terminal.exit_code() != 0
        await terminal.close()

    async def test_closing_it_hangs_up(self, engine: Engine) -> None:
        instance, terminal = await self.opened(engine)
        await terminal.write(b"hello\n")
        await printed(terminal, "you said hello")
        await terminal.close()
        assert (await seen(engine, instance)).state is InstanceState.RUNNING

    async def test_in_one_that_doesnt_run(self, engine: Engine) -> None:
        instance = await made(engine, "runs")
        with pytest.raises(Retry) as caught:
            await engine.instances.open(instance.id, engine.inner("speaks"), Size(), "xterm")
        assert caught.value.reason == "instance-gone"


class TestProber:
    async def test_nothing_listens(self, engine: Engine) -> None:
        assert await engine.prober.answers(unused_endpoint(), "x.preview.test", "/") is None
        assert await engine.prober.accepts(unused_endpoint()) is False

    async def test_one_that_serves(self, engine: Engine) -> None:
        instance = await started(engine)
        assert await status(engine, instance)
        assert instance.endpoint
        assert await engine.prober.accepts(instance.endpoint) is True


@pytest.mark.docker
@pytest.mark.requirement("R30")
class TestStrangers:
    """What doesn't bear our installation's id isn't ours, however much it looks like it."""

    async def test_another_installations(self) -> None:
        async with docker_under_test() as ours, docker_under_test() as theirs:
            foreign = await started(theirs)
            assert await ours.instances.find() == []
            assert await ours.instances.find_with_labels() == []
            await ours.instances.sweep()
            await started(ours)

            assert (await seen(theirs, foreign)).state is InstanceState.RUNNING
            assert await status(theirs, foreign) == 404

    async def test_one_without_whole_labels(self) -> None:
        async with docker_under_test() as ours:
            mine = await started(ours)
            await self.add_half_labelled(ours, mine)

            assert [i.id for i, _ in await ours.instances.find_with_labels()] == [mine.id]

    async def add_half_labelled(self, ours: DockerUnderTest, mine: Instance) -> None:
        """A container with our installation's id and none of our other labels."""
        shown = await ours.docker.containers.container(mine.id).show()
        label = {"stager.installation": shown["Config"]["Labels"]["stager.installation"]}
        await ours.docker.containers.create({"Image": ours.reference, "Cmd": ["true"], "Labels": label})


@pytest.mark.docker
async def test_a_command_that_isnt_in_the_image_is_named_in_the_log() -> None:
    """Docker's init is started first, so it is that which can't find it: the instance exits at once."""
    async with docker_under_test() as docker:
        spec = with_settings(
            await docker.spec("runs", instance_labels()), command=("no-such-program", "--now")
        )
        instance = await docker.instances.create(spec)
        await docker.instances.start(instance.id)

        assert (await until_stopped(docker, instance)).exit_code == 127
        assert "no-such-program" in await docker.instances.logs(instance.id, 10)


@pytest.mark.docker
async def test_a_user_that_isnt_in_the_image_is_a_fault() -> None:
    async with docker_under_test() as docker:
        spec = with_settings(
            await docker.spec("runs", instance_labels()), parameters={"User": "nobody-of-this-name"}
        )
        instance = await docker.instances.create(spec)
        with pytest.raises(Fault):
            await docker.instances.start(instance.id)


class TestFakeEngine:
    """What the one in memory does besides."""

    async def test_away(self) -> None:
        engine = FakeEngine()
        engine.leave()
        for call in (
            engine.find(),
            engine.find_with_labels(),
            engine.resolve("x"),
            engine.remove("x"),
            engine.sweep(),
        ):
            with pytest.raises(Retry):
                await call
        events = engine.events()
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        assert not waiting.done()
        engine.come_back()

        assert await waiting == ""


async def test_the_memory_of_what_runs_is_measured(engine: Engine) -> None:
    running = await started(engine, "serves", "e1")
    ended = await started(engine, "runs", "e2")
    await engine.instances.stop(ended.id)
    await made(engine, "serves", "e3")
    used = await engine.instances.memory()

    assert used["e1"] > 0
    assert [used.get(environment, 0) for environment in ("e2", "e3")] == [0, 0]
    await engine.instances.remove(running.id)
    assert (await engine.instances.memory()).get("e1", 0) == 0


async def test_the_memory_and_the_processor_time_of_what_runs_are_measured(engine: Engine) -> None:
    await started(engine, "serves", "e1")
    used = (await engine.instances.consumption())["e1"]

    assert used.memory > 0
    assert used.processor_time >= 0


async def test_the_disk_space_of_what_is_there_is_measured(engine: Engine) -> None:
    await started(engine, "serves", "e1")
    assert (await engine.instances.disk())["e1"] >= 0


IGNORES = "trap '' INT HUP TERM; echo begins; while :; do sleep 0.2 || :; done"
"""A command that only SIGKILL ends."""
LEAVES = f"(trap '' INT HUP; sleep 4321) & {IGNORES}"
CLEAN = ["env", "-i", "/bin/sh", "-c", IGNORES]
"""The same, without the environment that it was given."""


@pytest.mark.docker
@pytest.mark.parametrize("image", ["stager-base/static:1", "stager-base/debian:1", "stager-base/python:1"])
@pytest.mark.parametrize("command", [["sh", "-c", IGNORES], ["sh", "-c", LEAVES], CLEAN])
class TestEndings:
    """A command that ignores its interruption is killed, with what it has started, and nothing else is. The
    shells of the images differ."""

    @pytest.fixture
    async def docker_engine(self) -> AsyncIterator[DockerUnderTest]:
        async with docker_under_test() as engine:
            yield engine

    async def sleeper(self, engine: DockerUnderTest, image: str) -> Instance:
        spec = spec_of(instance_labels(), await engine.images.resolve(image), ("sleep", "9999"))
        return await engine.instances.start((await engine.instances.create(spec)).id)

    async def assert_alone(self, engine: DockerUnderTest, instance: Instance) -> None:
        """Its own process is all that runs in it."""
        async with asyncio.timeout(10):
            while len(left := engine.processes(instance.id)) > 1:
                await asyncio.sleep(0.1)
        assert left == ["sleep 9999"]

    async def test_after_the_timeout(
        self, docker_engine: DockerUnderTest, image: str, command: list[str]
    ) -> None:
        instance = await self.sleeper(docker_engine, image)
        ran = await docker_engine.instances.run(instance.id, command, 1)

        assert ran == Ran(None, "begins\n")
        await self.assert_alone(docker_engine, instance)

    async def test_when_the_caller_leaves(
        self, docker_engine: DockerUnderTest, image: str, command: list[str]
    ) -> None:
        instance = await self.sleeper(docker_engine, image)
        running = asyncio.ensure_future(docker_engine.instances.run(instance.id, command, 600))
        while len(docker_engine.processes(instance.id)) < 2:
            await asyncio.sleep(0.1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

        await self.assert_alone(docker_engine, instance)

    async def test_in_a_terminal(
        self, docker_engine: DockerUnderTest, image: str, command: list[str]
    ) -> None:
        instance = await self.sleeper(docker_engine, image)
        terminal = await docker_engine.instances.open(instance.id, command, Size(), "dumb")
        await printed(terminal, "begins")
        await terminal.close()

        await self.assert_alone(docker_engine, instance)
