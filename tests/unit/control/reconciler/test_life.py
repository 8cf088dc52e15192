"""The life of an environment, with the real control classes over fakes and on virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from stager.control.reconciler.worker import Worker
from stager.control.reconciler.workers import Workers
from stager.domain.deployment import Phase, phase_of
from stager.domain.environment import InstanceState
from stager.domain.errors import Retry
from stager.domain.profile import ProfileName
from stager.domain.route import Endpoint, Health, Page
from stager.domain.source import Access
from stager.domain.status import State
from stager.ports.store import StateKind, Transaction
from stager.testing import Program
from tests.unit.control.harness import ANN, IMAGE, SHOP, Harness
from tests.unit.control.tripwire import Tripwire

BROKEN = Program(exit_code=3, output="reading config\nno such table: orders")
SILENT = Program(status=None, output="listening on the wrong port")


def visitors(house: Harness, host: str) -> set[str]:
    """Which instances the host's visitors reach from now on. That they reach none at times breaks a promise,
    and shows in `house.life.wire.broken`."""
    reached = set()

    def look() -> str:
        instance = house.served(host)
        if instance is None:
            return f"a visitor met {house.target(host)}"
        reached.add(instance.id)
        return ""

    house.life.wire.check(look)
    return reached


class TestLaunch:
    @pytest.mark.requirement("R57")
    async def test_comes_live(self, house: Harness) -> None:
        environment = await house.launch("feature-x")
        await house.rest()

        instance = await house.assert_live(environment)
        deployment = await house.deployment()
        assert environment.host == "feature-x.preview.test"
        assert instance.generation == 1
        assert phase_of(deployment, await house.the()) is Phase.LIVE
        assert deployment.starting_at
        assert deployment.checking_at
        assert deployment.live_at

    async def test_is_asked_by_the_host_that_visitors_use(self, house: Harness) -> None:
        await house.launch("feature-x")
        await house.rest()

        assert set(house.engine.asked) == {("feature-x.preview.test", "/")}

    @pytest.mark.parametrize(
        ("health_path", "status", "state"),
        [
            (None, 200, State.LIVE),
            (None, 302, State.LIVE),
            (None, 404, State.LIVE),
            (None, 500, State.FAILED),
            ("/ready", 204, State.LIVE),
            ("/ready", 302, State.LIVE),
            ("/ready", 404, State.FAILED),
            ("/ready", 503, State.FAILED),
        ],
    )
    async def test_what_counts_as_an_answer(self, health_path: str | None, status: int, state: State) -> None:
        async with Harness([replace(SHOP, health_path=health_path)]).open() as house:
            house.engine.add_image(IMAGE, Program(status=status))
            await house.launch()
            await house.rest()

            assert (await house.status()).state is state
            assert {path for _, path in house.engine.asked} == {health_path or "/"}

    async def test_the_page_tells_how_it_goes(self, house: Harness) -> None:
        house.engine.delays["start"] = 10
        environment = await house.launch()
        await house.rest(5)

        page = house.target(environment.host)
        assert isinstance(page, Page)
        assert page.state == "starting"
        assert page.name == "master"

    async def test_what_the_instance_is_made_by(self) -> None:
        app = replace(
            SHOP,
            command=("./run", "now"),
            variables={"MODE": "stage"},
            parameters={"Tty": True},
            stop_grace_period=3,
        )
        async with Harness([app]).open() as house:
            environment = await house.launch("feature/x", GREETING="hallo", MODE="mine")
            await house.rest()

            [instance] = house.engine.there()
            spec = house.engine.spec(instance.id)
            assert spec.application == app
            assert spec.profile == app.profile(ProfileName.STANDARD)
            assert spec.labels.environment == environment.id
            assert spec.labels.parameters == {"GREETING": "hallo", "MODE": "mine"}
            assert dict(spec.variables) == {
                "GREETING": "hallo",
                "MODE": "mine",
                "image_name": "shop",
                "container_name": "feature/x",
                "action": "launch",
                "STAGER": "1",
                "STAGER_APP": "shop",
                "STAGER_ENVIRONMENT": environment.id,
                "STAGER_NAME": "feature/x",
                "STAGER_URL": "http://featurex.preview.test",
                "STAGER_HOST": "featurex.preview.test",
                "STAGER_PORT": "3000",
                "STAGER_TRUST": "trusted",
                "STAGER_SHA": "",
                "STAGER_REF": "feature/x",
            }

    async def test_many_at_once(self, house: Harness) -> None:
        launched = [await house.launch(f"branch-{number}") for number in range(40)]
        await house.rest()

        for environment in launched:
            await house.assert_live(environment)
        assert len({str(house.target(e.host)) for e in launched}) == 40


class TestRefresh:
    async def test_publishes_the_new_one_before_the_old_one_is_retired(self, house: Harness) -> None:
        environment = await house.launch()
        await house.rest()
        old = await house.assert_live()
        reached = visitors(house, environment.host)
        await house.launch()
        await house.rest()

        new = await house.assert_live()
        assert house.life.wire.broken == []
        assert reached == {old.id, new.id}

    @pytest.mark.requirement("R89")
    async def test_takes_the_image_as_it_is_by_then(self, house: Harness) -> None:
        await house.launch()
        await house.rest()
        image = house.engine.add_image(IMAGE)
        await house.launch()
        await house.rest()

        assert house.engine.spec((await house.assert_live()).id).image == image
        assert (await house.deployment()).image == image

    async def test_open_requests_end_before_the_old_one_goes(self, house: Harness) -> None:
        environment = await house.launch()
        await house.rest()
        async with house.router.visit(environment.host) as visit:
            await house.launch()
            await house.rest(2)
            assert len(house.engine.there()) == 2
            assert isinstance(visit.target, Endpoint)
        await house.rest(0.05)

        await house.assert_live(generation=2)
        assert not visit.cut.is_set()

    async def test_a_request_without_end_is_cut_in_time(self, house: Harness) -> None:
        environment = await house.launch()
        await house.rest()
        async with house.router.visit(environment.host) as visit:
            await house.launch()
            await house.rest(SHOP.drain_timeout + 1)

            await house.assert_live(generation=2)
            assert visit.cut.is_set()

    @pytest.mark.parametrize(
        "program", [BROKEN, SILENT, Program(starts=False)], ids=["exits", "silent", "unstartable"]
    )
    async def test_a_broken_one_leaves_the_old_one_serving(self, house: Harness, program: Program) -> None:
        environment = await house.launch()
        await house.rest()
        house.engine.add_image(IMAGE, program)
        reached = visitors(house, environment.host)
        await house.launch()
        await house.rest()

        old = await house.assert_live(generation=1)
        assert house.life.wire.broken == []
        assert reached == {old.id}
        assert (await house.status()).state is State.FAILED_UPDATE

    async def test_a_good_one_follows_a_broken_one(self, house: Harness) -> None:
        await house.launch()
        for program in (BROKEN, SILENT, Program()):
            house.engine.add_image(IMAGE, program)
            await house.launch()
            await house.rest()

        assert (await house.assert_live()).generation == 4

    async def test_the_last_good_one_comes_back_after_a_broken_one(self, house: Harness) -> None:
        """The machine was started anew: everything is stopped, also what served before the broken push."""
        await house.launch()
        await house.rest()
        house.engine.add_image(IMAGE, BROKEN)
        await house.launch()
        await house.rest()
        house.engine.end((await house.assert_live(generation=1)).id)
        await house.rest()

        await house.assert_live(generation=1)


class TestFailures:
    async def test_an_exit_at_boot_is_final_and_shows_the_last_lines(self, house: Harness) -> None:
        house.engine.add_image(IMAGE, BROKEN)
        environment = await house.launch()
        await house.rest()

        status, page = await house.status(), house.target(environment.host)
        assert (status.state, status.reason) == (State.FAILED, "exited")
        assert "exit code 3" in status.message
        assert status.lines == ("reading config", "no such table: orders")
        assert isinstance(page, Page)
        assert (page.state, page.lines) == ("failed", status.lines)
        assert house.engine.there() == []
        assert (await house.deployment()).log == BROKEN.output

    async def test_an_exit_at_boot_shows_what_was_found_out(self, house: Harness) -> None:
        house.engine.add_image(IMAGE, replace(BROKEN, post_mortem="There is no `/run.sh`."))
        await house.launch()
        await house.rest()

        assert (await house.status()).hint == "There is no `/run.sh`."

    async def test_one_that_exceeds_its_memory_says_so(self, house: Harness) -> None:
        house.engine.add_image(IMAGE, replace(BROKEN, exit_code=137, hungry=True))
        await house.launch()
        await house.rest()

        status = await house.status()
        assert (status.state, status.reason) == (State.FAILED, "out-of-memory")
        assert "256 MiB" in status.message

    async def test_what_never_answers_is_given_up_after_its_time(self, house: Harness) -> None:
        house.engine.add_image(IMAGE, SILENT)
        await house.launch()
        await house.rest(SHOP.start_timeout - 1)
        assert (await house.status()).state is State.STARTING
        await house.rest(3)

        status = await house.status()
        assert (status.state, status.reason) == (State.FAILED, "no-answer")
        assert status.message.startswith("Failed while checking:")
        assert status.lines == ("listening on the wrong port",)
        assert house.engine.there() == []

    async def test_what_stops_answering_says_so_until_it_answers_again(self, house: Harness) -> None:
        environment = await house.launch()
        await house.rest(2)
        assert (await house.status()).state is State.LIVE
        house.router.change(Health(frozenset({environment.host})))
        await house.rest(2)
        status = await house.status()
        assert (status.state, status.reason) == (State.UNRESPONSIVE, "unresponsive")
        assert "without an answer" in status.message
        # It is told again after a restart of the control plane, and forgotten after one of the front.
        await house.rest(120)
        assert (await house.status()).state is State.UNRESPONSIVE
        house.router.change(Health())
        await house.rest(2)
        assert (await house.status()).state is State.LIVE

    async def test_a_front_that_forgot_is_believed(self, house: Harness) -> None:
        environment = await house.launch()
        await house.rest(2)
        house.router.change(Health(frozenset({environment.host})))
        await house.rest(2)
        house.router.state = Health()  # with no word of it
        await house.rest(120)
        assert (await house.status()).state is State.LIVE

    async def test_a_front_that_can_t_save_is_told_of(self, house: Harness) -> None:
        house.router.state = Health(trouble="The route table can't be saved: No space left on device.")
        await house.rest(120)
        assert "No space left" in house.life.controller.troubles["routes"]
        house.router.state = Health()
        await house.rest(120)
        assert "routes" not in house.life.controller.troubles

    async def test_what_answers_as_visitors_can_t_be_answered_is_given_up_with_the_reason(
        self, house: Harness
    ) -> None:
        house.engine.add_image(IMAGE, Program(status=None, refusal="A header has no colon."))
        await house.launch()
        await house.rest(SHOP.start_timeout + 3)
        status = await house.status()
        assert (status.state, status.reason) == (State.FAILED, "bad-response")
        assert "A header has no colon." in status.message

    @pytest.mark.parametrize(
        ("image", "program", "reason"),
        [("acme/none:1", None, "image-missing"), (IMAGE, Program(starts=False), "start-failed")],
    )
    async def test_a_fault_at_the_start_is_final(
        self, image: str, program: Program | None, reason: str
    ) -> None:
        async with Harness([replace(SHOP, image=image)]).open() as house:
            if program:
                house.engine.add_image(image, program)
            environment = await house.launch()
            await house.rest()

            status = await house.status()
            assert (status.state, status.reason) == (State.FAILED, reason)
            assert status.message.startswith("Failed while starting:")
            await house.assert_gone()
            page = house.target(environment.host)
            assert isinstance(page, Page)
            assert page.state == "failed"

    async def test_an_application_that_left_the_configuration(self, house: Harness) -> None:
        environment = await house.launch()
        await house.rest()
        await house.kill()
        house.applications = [replace(SHOP, name="other")]
        await house.start()
        await house.assert_live()
        await house.life.commands.kill_by_id(environment.id, ANN)
        await house.rest()

        await house.assert_gone()


class TestCrashes:
    async def test_is_started_again(self, house: Harness) -> None:
        environment = await house.launch()
        await house.rest()
        before = await house.assert_live()
        house.engine.end(before.id, 1)
        await house.rest(0.5)
        assert isinstance(house.target(environment.host), Page)
        assert (await house.status()).reason == "crashed"
        await house.rest()

        after = await house.assert_live()
        assert after.id == before.id
        assert after.run != before.run

    async def test_pauses_grow_and_the_sixth_crash_in_a_row_is_the_last(self, house: Harness) -> None:
        environment = await house.launch()
        await house.rest()
        pauses = []
        while house.engine.there():
            pauses.append(await self.crash_and_come_back(house))

        assert [round(pause) for pause in pauses[:-1]] == [1, 2, 4, 8, 16]
        status = await house.status()
        assert (status.state, status.reason) == (State.FAILED, "crashed")
        assert isinstance(house.target(environment.host), Page)
        assert (await house.deployment()).log == "the last words"

    async def crash_and_come_back(self, house: Harness) -> float:
        """Crash; the seconds until it ran again, or was given up."""
        loop = asyncio.get_running_loop()
        [instance] = house.engine.there()
        house.engine.change(instance.id, Program(output="the last words"))
        house.engine.end(instance.id, 1)
        since = loop.time()
        while (there := house.engine.there()) and not there[0].endpoint:
            await house.rest(0.05)
        passed = loop.time() - since
        await house.rest(1.5)
        return passed

    async def test_counting_starts_afresh_after_a_long_run(self, house: Harness) -> None:
        await house.launch()
        for _ in range(10):
            await house.rest(120)
            house.engine.end((await house.assert_live()).id)
            await house.rest(30)

        await house.assert_live()

    async def test_a_new_launch_forgives_everything(self, house: Harness) -> None:
        house.engine.add_image(IMAGE, BROKEN)
        await house.launch()
        await house.rest()
        house.engine.add_image(IMAGE)
        await house.launch()
        await house.rest()

        await house.assert_live()


class TestAway:
    async def test_the_engine_while_it_launches(self, house: Harness) -> None:
        house.engine.leave()
        environment = await house.launch()
        await house.rest(120)
        assert house.life.controller.troubles == {"engine": "The engine doesn't answer."}
        house.engine.come_back()
        await house.rest()

        await house.assert_live(environment)
        assert house.life.controller.troubles == {}

    @pytest.mark.parametrize("after", [0.0, 0.01, 0.03])
    async def test_the_engine_in_the_middle_of_it(self, house: Harness, after: float) -> None:
        house.engine.delays = {"create": 0.01, "start": 0.01, "answers": 0.01}
        await house.launch()
        await house.rest(after)
        house.engine.leave()
        await house.rest(60)
        house.engine.come_back()
        await house.rest()

        await house.assert_live()

    async def test_the_engine_costs_no_running_preview(self, house: Harness) -> None:
        environment = await house.launch()
        await house.rest()
        house.engine.leave()
        await house.rest(600)
        assert house.served(environment.host)
        house.engine.come_back()
        await house.rest()

        await house.assert_live()

    async def test_the_router_while_it_launches(self, house: Harness) -> None:
        house.router.leave()
        environment = await house.launch()
        await house.rest(120)
        assert (await house.the()).serving is None
        house.router.come_back()
        await house.rest()

        await house.assert_live(environment)
        assert (await house.deployment()).attempt.failures == 0

    async def test_the_router_that_comes_back_without_its_table(self, house: Harness) -> None:
        await house.launch()
        await house.rest()
        house.router.leave()
        house.router.table = replace(house.router.table, routes={})
        house.router.come_back()
        await house.rest(1)

        await house.assert_live()

    async def test_the_router_while_it_removes(self, house: Harness) -> None:
        await house.launch()
        await house.rest()
        house.router.leave()
        await house.stop()
        await house.rest(60)
        assert house.engine.there(), "stopped although visitors are still led to it"
        house.router.come_back()
        await house.rest()

        await house.assert_gone()


class TestBehindOurBack:
    async def test_removed(self, house: Harness) -> None:
        await house.launch()
        await house.rest()
        before = await house.assert_live()
        house.engine.lose(before.id)
        await house.rest()

        after = await house.assert_live()
        assert after.id != before.id

    async def test_stopped(self, house: Harness) -> None:
        await house.launch()
        await house.rest()
        house.engine.end((await house.assert_live()).id, 0)
        await house.rest()

        await house.assert_live()

    @pytest.mark.parametrize("how", ["removed", "stopped"])
    async def test_while_nobody_looked(self, house: Harness, how: str) -> None:
        await house.launch()
        await house.rest()
        instance = await house.assert_live()
        await house.kill()
        (house.engine.lose if how == "removed" else house.engine.end)(instance.id)
        await house.start()

        await house.assert_live()

    @pytest.mark.parametrize("how", ["removed", "stopped"])
    async def test_while_the_engine_told_nothing(self, house: Harness, how: str) -> None:
        await house.launch()
        await house.rest()
        instance = await house.assert_live()
        house.engine.leave()
        (house.engine.lose if how == "removed" else house.engine.end)(instance.id)
        house.engine.come_back()
        await house.rest()

        await house.assert_live()

    async def test_a_visitor_finds_nobody_home(self, house: Harness) -> None:
        """The router says that an endpoint refuses: somebody looks, and finds nothing wrong."""
        environment = await house.launch()
        await house.rest()
        instance = await house.assert_live()
        assert instance.endpoint
        house.router.refusing.add(instance.endpoint)
        async with house.router.visit(environment.host):
            await house.rest()

        await house.assert_live()


class TestSuperseded:
    @pytest.mark.parametrize("slow", ["resolve", "create", "start", "answers", "find"])
    async def test_the_newest_wins_at_once(self, house: Harness, slow: str) -> None:
        house.engine.delays[slow] = 5
        await house.launch()
        await house.rest(7)
        del house.engine.delays[slow]
        started = asyncio.get_running_loop().time()
        for _ in range(3):
            environment = await house.launch()
        while not house.served(environment.host) and asyncio.get_running_loop().time() < started + 60:
            await house.rest(0.05)

        assert asyncio.get_running_loop().time() - started < 6
        await house.rest()
        assert (await house.assert_live()).generation == 4

    async def test_one_that_would_never_have_answered(self, house: Harness) -> None:
        house.engine.add_image(IMAGE, SILENT)
        environment = await house.launch()
        await house.rest(5)
        house.engine.add_image(IMAGE)
        await house.launch()
        await house.rest(1)

        assert (await house.assert_live()).generation == 2
        first, second = reversed(await house.store.read(lambda tx: tx.deployments(environment.id)))
        there = await house.the()
        assert phase_of(first, there) is Phase.SUPERSEDED
        assert phase_of(second, there) is Phase.LIVE

    async def test_removed_while_it_starts(self, house: Harness) -> None:
        house.engine.delays["start"] = 10
        await house.launch()
        await house.rest(5)
        await house.stop()
        await house.rest(1)

        await house.assert_gone()
        assert (await house.status()).state is State.GONE


class TestRemoval:
    async def test_nothing_of_a_preview_is_remembered_after_its_time(self) -> None:
        keep = timedelta(days=8)
        async with Harness([replace(SHOP, owner="acme")], keep_gone=keep).open() as house:
            repository = house.forge.add_repository("acme", "shop")
            house.forge.allow(repository, "ann", Access.WRITE)
            event = house.forge.open(repository, "feature-x", "a1")
            await house.tell(event)
            await house.rest()
            environment = await house.the()
            await house.tell(house.forge.say(event, "/stager pin", "ann"))
            await house.tell(house.forge.say(event, "/stager logs", "ann"))
            await house.rest()

            def kinds() -> set[StateKind]:
                return {kind for (of, kind) in house.store._tables.state if of == environment.id}

            assert kinds() == set(StateKind)
            assert not [name for name in house.store._tables.facts if environment.id in name]
            await house.tell(house.forge.close(event))
            await house.rest()
            assert kinds()

            await house.rest((keep + timedelta(hours=2)).total_seconds())
            assert await house.environments() == []
            assert kinds() == set()

    async def test_no_network_stays_until_the_next_pass(self, house: Harness) -> None:
        for name in ("stays", "goes", "is-killed-while-starting"):
            await house.launch(name)
        await house.rest()
        assert len(house.engine.networks) == 3
        killed = await house.stop("goes")
        assert killed is not None
        await house.life.waiters.until_removed(killed, 60)
        assert len(house.engine.networks) == 2

        house.engine.delays["start"] = 100
        await house.launch("is-killed-while-starting")
        await house.rest(1)
        await house.stop("is-killed-while-starting")
        await house.rest(20)
        assert len(house.engine.networks) == 1

    async def test_a_network_that_cant_be_removed_costs_no_removal(
        self, house: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await house.launch()
        await house.rest()

        async def refuse() -> int:
            raise Retry("Docker is busy.", reason="engine-away")

        monkeypatch.setattr(house.engine, "sweep", refuse)
        await house.stop()
        await house.rest(20)
        await house.assert_gone()
        monkeypatch.undo()
        await house.rest()
        assert house.engine.networks == frozenset()

    async def test_a_page_says_so(self, house: Harness) -> None:
        environment = await house.launch()
        await house.rest()
        await house.stop()
        await house.rest()

        await house.assert_gone()
        page = house.target(environment.host)
        assert isinstance(page, Page)
        assert page.state == "gone"
        assert await house.engine.sweep() == 0, "a network was left behind"

    async def test_comes_back_at_the_same_host(self, house: Harness) -> None:
        first = await house.launch("feature/x")
        await house.rest()
        await house.stop("feature/x")
        await house.rest()
        again = await house.launch("feature/x")
        await house.rest()

        await house.assert_live()
        assert (again.id, again.host) == (first.id, first.host)

    async def test_its_host_may_be_anothers_by_then(self, house: Harness) -> None:
        first = await house.launch("feature/x")
        await house.rest()
        await house.stop("feature/x")
        second = await house.launch("featurex")
        await house.rest()
        await house.launch("feature/x")
        await house.rest()

        assert second.host == first.host
        assert (await house.the(first)).host != second.host
        await house.assert_live(first)
        await house.assert_live(second)

    async def test_it_is_forgotten_in_time_with_its_page(self) -> None:
        async with Harness(keep_gone=timedelta(days=7)).open() as house:
            environment = await house.launch()
            await house.rest()
            await house.stop()
            await house.rest(6 * 86_400)
            assert await house.environments() != []
            await house.rest(2 * 86_400)

            assert await house.environments() == []
            assert house.target(environment.host) is None


class TestSupervisor:
    async def test_a_bug_of_ours_costs_one_environment_a_pause(
        self, house: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original, failures = house.life.steps.observe, Counter[str]()

        async def look(environment_id: str) -> object:
            if environment_id == broken.id and failures["look"] < 3:
                failures["look"] += 1
                raise ZeroDivisionError
            return await original(environment_id)

        broken = await house.launch("broken")
        monkeypatch.setattr(house.life.steps, "observe", look)
        good = await house.launch("good")
        await house.rest(4)
        await house.assert_live(good)
        await house.rest()

        assert failures["look"] == 3
        await house.assert_live(broken)

    async def test_nobody_works_when_everything_is_at_rest(self, house: Harness) -> None:
        await house.launch()
        await house.rest()
        wire = Tripwire()
        await house.kill()
        await house.start(wire)
        wire.arm()
        await house.rest(60)

        assert not house.life.control_plane.reconciler.workers
        calls = Counter(name for name in wire.passed if name.startswith("before"))
        assert calls["before find"] <= 2, calls
        assert not {"before update", "before create", "before start", "before write"} & calls.keys(), calls

    async def test_a_wake_that_is_lost_is_made_up_for(
        self, house: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The minute's pass finds a wish that nobody works on."""
        await house.launch()
        await house.rest()
        with monkeypatch.context() as patched:
            patched.setattr(Workers, "wake", lambda *_: None)
            await house.launch()
        await house.rest(65)

        await house.assert_live(generation=2)

    async def test_a_full_disk_costs_no_delivery(
        self, house: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        repository = house.forge.add_repository("acme", "shop")
        await house.tell(house.forge.open(repository, "feature-x", "a"))
        original, refusals = house.store.write, iter(range(5))

        async def write(work: Callable[[Transaction], object]) -> object:
            if next(refusals, None) is not None:
                raise Retry("There is no room.", reason="database-disk-full")
            return await original(work)

        monkeypatch.setattr(house.store, "write", write)
        await house.rest()

        await house.assert_live()

    async def test_a_bug_in_a_loop_ends_no_loop(
        self, house: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        environment = await house.launch()
        await house.rest()
        original, failures = house.store.read, iter(range(5))

        async def read(work: Callable[[Transaction], object]) -> object:
            if next(failures, None) is not None:
                raise ZeroDivisionError
            return await original(work)

        monkeypatch.setattr(house.store, "read", read)
        repository = house.forge.add_repository("acme", "shop")
        await house.tell(house.forge.open(repository, "feature-x", "a"))
        house.engine.lose(house.engine.there(environment.id)[0].id)
        await house.rest()

        assert len(house.engine.there()) == 2

    async def test_a_wake_at_the_last_moment_isnt_lost(
        self, house: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A worker has just found nothing to do, and ends; whoever wakes it then must be heard."""
        environment = await house.launch()
        await house.rest()
        workers, woken = house.life.control_plane.reconciler.workers, asyncio.Event()
        runs = Counter[str]()
        original = Worker.run

        async def run(worker: Worker) -> None:
            runs["run"] += 1
            await original(worker)
            if not woken.is_set():
                woken.set()
                asyncio.get_running_loop().call_soon(workers.wake, environment.id)

        monkeypatch.setattr(Worker, "run", run)
        workers.wake(environment.id)
        await house.rest(1)

        assert runs["run"] == 2

    async def test_ends_when_it_is_told_to_and_leaves_everything_running(self, house: Harness) -> None:
        environment = await house.launch()
        await house.rest()
        await house.kill()
        await house.rest()

        assert house.served(environment.host)
        assert [i.state for i in house.engine.there()] == [InstanceState.RUNNING]

    async def test_ends_in_the_middle_of_work(self, house: Harness) -> None:
        house.engine.delays["create"] = 100
        await house.launch()
        await house.rest(1)
        workers = house.life.control_plane.reconciler.workers
        await house.kill()

        assert not workers
