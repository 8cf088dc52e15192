"""The life of an environment, with the real control classes over fakes and on virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from stager.control.reconciler.worker import Worker, Workers
from stager.domain.application import Container
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


def visitors(harness: Harness, host: str) -> set[str]:
    """Which instances the host's visitors reach from now on. That they reach none at times breaks a promise,
    and shows in `harness.life.wire.broken`."""
    reached = set()

    def look() -> str:
        instance = harness.served(host)
        if instance is None:
            return f"a visitor met {harness.target(host)}"
        reached.add(instance.id)
        return ""

    harness.running.wire.check(look)
    return reached


class TestLaunch:
    @pytest.mark.requirement("R57")
    async def test_comes_live(self, harness: Harness) -> None:
        environment = await harness.launch("feature-x")
        await harness.rest()

        instance = await harness.assert_live(environment)
        deployment = await harness.deployment()
        assert environment.host == "feature-x.preview.test"
        assert instance.generation == 1
        assert phase_of(deployment, await harness.the()) is Phase.LIVE
        assert deployment.starting_at
        assert deployment.checking_at
        assert deployment.live_at

    async def test_is_requested_by_the_host_that_visitors_use(self, harness: Harness) -> None:
        await harness.launch("feature-x")
        await harness.rest()

        assert set(harness.engine.asked) == {("feature-x.preview.test", "/")}

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
        async with Harness([replace(SHOP, health_path=health_path)]).open() as harness:
            harness.engine.add_image(IMAGE, Program(status=status))
            await harness.launch()
            await harness.rest()

            assert (await harness.status()).state is state
            assert {path for _, path in harness.engine.asked} == {health_path or "/"}

    async def test_the_page_shows_the_progress(self, harness: Harness) -> None:
        harness.engine.delays["start"] = 10
        environment = await harness.launch()
        await harness.rest(5)

        page = harness.target(environment.host)
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
        async with Harness([app]).open() as harness:
            environment = await harness.launch("feature/x", GREETING="hallo", MODE="mine")
            await harness.rest()

            [instance] = harness.engine.there()
            spec = harness.engine.spec(instance.id)
            assert spec.container == Container(("./run", "now"), app.port, 3, {"Tty": True})
            assert spec.profile == app.profile(ProfileName.STANDARD)
            assert spec.labels.environment == environment.id
            assert spec.labels.parameters == {"GREETING": "hallo", "MODE": "mine"}
            assert {**spec.variables, **spec.per_commit} == {
                "GREETING": "hallo",
                "MODE": "mine",
                "image_name": "shop",
                "container_name": "feature/x",
                "action": "launch",
                "STAGER": "1",
                "STAGER_APP": "shop",
                "STAGER_ENVIRONMENT": environment.id,
                "STAGER_NAME": "feature/x",
                "STAGER_URL": "http://feature-x.preview.test",
                "STAGER_HOST": "feature-x.preview.test",
                "STAGER_PORT": "3000",
                "STAGER_TRUST": "trusted",
                "STAGER_SHA": "",
                "STAGER_REF": "feature/x",
            }

    async def test_many_at_once(self, harness: Harness) -> None:
        launched = [await harness.launch(f"branch-{number}") for number in range(40)]
        await harness.rest()

        for environment in launched:
            await harness.assert_live(environment)
        assert len({str(harness.target(e.host)) for e in launched}) == 40


class TestRefresh:
    async def test_publishes_the_new_one_before_the_old_one_is_retired(self, harness: Harness) -> None:
        environment = await harness.launch()
        await harness.rest()
        old = await harness.assert_live()
        reached = visitors(harness, environment.host)
        await harness.launch()
        await harness.rest()

        new = await harness.assert_live()
        assert harness.running.wire.broken == []
        assert reached == {old.id, new.id}

    @pytest.mark.requirement("R89")
    async def test_takes_the_image_as_it_is_by_then(self, harness: Harness) -> None:
        await harness.launch()
        await harness.rest()
        image = harness.engine.add_image(IMAGE)
        await harness.launch()
        await harness.rest()

        assert harness.engine.spec((await harness.assert_live()).id).image == image
        assert (await harness.deployment()).image == image

    async def test_open_requests_end_before_the_old_one_is_removed(self, harness: Harness) -> None:
        environment = await harness.launch()
        await harness.rest()
        async with harness.router.visit(environment.host) as visit:
            await harness.launch()
            await harness.rest(2)
            assert len(harness.engine.there()) == 2
            assert isinstance(visit.target, Endpoint)
        await harness.rest(0.05)

        await harness.assert_live(generation=2)
        assert not visit.cut.is_set()

    async def test_a_request_without_end_is_cut_in_time(self, harness: Harness) -> None:
        environment = await harness.launch()
        await harness.rest()
        async with harness.router.visit(environment.host) as visit:
            await harness.launch()
            await harness.rest(SHOP.drain_timeout + 1)

            await harness.assert_live(generation=2)
            assert visit.cut.is_set()

    @pytest.mark.parametrize(
        "program", [BROKEN, SILENT, Program(starts=False)], ids=["exits", "silent", "unstartable"]
    )
    async def test_a_broken_one_leaves_the_old_one_serving(self, harness: Harness, program: Program) -> None:
        environment = await harness.launch()
        await harness.rest()
        harness.engine.add_image(IMAGE, program)
        reached = visitors(harness, environment.host)
        await harness.launch()
        await harness.rest()

        old = await harness.assert_live(generation=1)
        assert harness.running.wire.broken == []
        assert reached == {old.id}
        assert (await harness.status()).state is State.FAILED_UPDATE

    async def test_a_good_one_follows_a_broken_one(self, harness: Harness) -> None:
        await harness.launch()
        for program in (BROKEN, SILENT, Program()):
            harness.engine.add_image(IMAGE, program)
            await harness.launch()
            await harness.rest()

        assert (await harness.assert_live()).generation == 4

    async def test_the_last_good_one_comes_back_after_a_broken_one(self, harness: Harness) -> None:
        """The machine was restarted: everything is stopped, also what served before the broken push."""
        await harness.launch()
        await harness.rest()
        harness.engine.add_image(IMAGE, BROKEN)
        await harness.launch()
        await harness.rest()
        harness.engine.end((await harness.assert_live(generation=1)).id)
        await harness.rest()

        await harness.assert_live(generation=1)


class TestFailures:
    async def test_an_exit_at_boot_is_final_and_shows_the_last_lines(self, harness: Harness) -> None:
        harness.engine.add_image(IMAGE, BROKEN)
        environment = await harness.launch()
        await harness.rest()

        status, page = await harness.status(), harness.target(environment.host)
        assert (status.state, status.reason) == (State.FAILED, "exited")
        assert "exit code 3" in status.message
        assert status.lines == ("reading config", "no such table: orders")
        assert isinstance(page, Page)
        assert (page.state, page.lines) == ("failed", status.lines)
        assert harness.engine.there() == []
        assert (await harness.deployment()).log == BROKEN.output

    async def test_an_exit_at_boot_shows_what_was_found_out(self, harness: Harness) -> None:
        harness.engine.add_image(IMAGE, replace(BROKEN, post_mortem="There is no `/run.sh`."))
        await harness.launch()
        await harness.rest()

        assert (await harness.status()).hint == "There is no `/run.sh`."

    async def test_one_that_exceeds_its_memory_says_so(self, harness: Harness) -> None:
        harness.engine.add_image(IMAGE, replace(BROKEN, exit_code=137, hungry=True))
        await harness.launch()
        await harness.rest()

        status = await harness.status()
        assert (status.state, status.reason) == (State.FAILED, "out-of-memory")
        assert "256 MiB" in status.message

    async def test_what_never_answers_is_given_up_after_its_time(self, harness: Harness) -> None:
        harness.engine.add_image(IMAGE, SILENT)
        await harness.launch()
        await harness.rest(SHOP.start_timeout - 1)
        assert (await harness.status()).state is State.STARTING
        await harness.rest(3)

        status = await harness.status()
        assert (status.state, status.reason) == (State.FAILED, "no-answer")
        assert status.message.startswith("Failed while checking:")
        assert status.lines == ("listening on the wrong port",)
        assert harness.engine.there() == []

    async def test_what_stops_answering_says_so_until_it_answers_again(self, harness: Harness) -> None:
        environment = await harness.launch()
        await harness.rest(2)
        assert (await harness.status()).state is State.LIVE
        harness.router.change(Health(frozenset({environment.host})))
        await harness.rest(2)
        status = await harness.status()
        assert (status.state, status.reason) == (State.UNRESPONSIVE, "unresponsive")
        assert "didn't answer" in status.message
        # It is reported again after a restart of the control plane, and cleared by one of the front.
        await harness.rest(120)
        assert (await harness.status()).state is State.UNRESPONSIVE
        harness.router.change(Health())
        await harness.rest(2)
        assert (await harness.status()).state is State.LIVE

    async def test_a_front_that_recovered_without_an_event_is_noticed(self, harness: Harness) -> None:
        environment = await harness.launch()
        await harness.rest(2)
        harness.router.change(Health(frozenset({environment.host})))
        await harness.rest(2)
        harness.router.state = Health()  # with no word of it
        await harness.rest(120)
        assert (await harness.status()).state is State.LIVE

    async def test_a_front_that_can_t_save_is_reported(self, harness: Harness) -> None:
        harness.router.state = Health(problem="The route table can't be saved: No space left on device.")
        await harness.rest(120)
        assert "No space left" in harness.running.problems["routes"]
        harness.router.state = Health()
        await harness.rest(120)
        assert "routes" not in harness.running.problems

    async def test_what_answers_as_visitors_can_t_be_answered_is_given_up_with_the_reason(
        self, harness: Harness
    ) -> None:
        harness.engine.add_image(IMAGE, Program(status=None, refusal="A header has no colon."))
        await harness.launch()
        await harness.rest(SHOP.start_timeout + 3)
        status = await harness.status()
        assert (status.state, status.reason) == (State.FAILED, "bad-response")
        assert "A header has no colon." in status.message

    @pytest.mark.parametrize(
        ("image", "program", "reason"),
        [("acme/none:1", None, "image-missing"), (IMAGE, Program(starts=False), "start-failed")],
    )
    async def test_a_fault_at_the_start_is_final(
        self, image: str, program: Program | None, reason: str
    ) -> None:
        async with Harness([replace(SHOP, image=image)]).open() as harness:
            if program:
                harness.engine.add_image(image, program)
            environment = await harness.launch()
            await harness.rest()

            status = await harness.status()
            assert (status.state, status.reason) == (State.FAILED, reason)
            assert status.message.startswith("Failed while starting:")
            await harness.assert_gone()
            page = harness.target(environment.host)
            assert isinstance(page, Page)
            assert page.state == "failed"

    async def test_an_application_that_left_the_configuration(self, harness: Harness) -> None:
        environment = await harness.launch()
        await harness.rest()
        await harness.kill()
        harness.applications = [replace(SHOP, name="other")]
        await harness.start()
        await harness.assert_live()
        await harness.running.commands.kill_by_id(environment.id, ANN)
        await harness.rest()

        await harness.assert_gone()


class TestCrashes:
    async def test_is_started_again(self, harness: Harness) -> None:
        environment = await harness.launch()
        await harness.rest()
        before = await harness.assert_live()
        harness.engine.end(before.id, 1)
        await harness.rest(0.5)
        assert isinstance(harness.target(environment.host), Page)
        assert (await harness.status()).reason == "crashed"
        await harness.rest()

        after = await harness.assert_live()
        assert after.id == before.id
        assert after.run != before.run

    async def test_pauses_grow_and_the_sixth_crash_in_a_row_is_the_last(self, harness: Harness) -> None:
        environment = await harness.launch()
        await harness.rest()
        pauses = []
        while harness.engine.there():
            pauses.append(await self.crash_and_come_back(harness))

        assert [round(pause) for pause in pauses[:-1]] == [1, 2, 4, 8, 16]
        status = await harness.status()
        assert (status.state, status.reason) == (State.FAILED, "crashed")
        assert isinstance(harness.target(environment.host), Page)
        assert (await harness.deployment()).log == "the last words"

    async def crash_and_come_back(self, harness: Harness) -> float:
        """Crash; the seconds until it ran again, or was given up."""
        loop = asyncio.get_running_loop()
        [instance] = harness.engine.there()
        harness.engine.change(instance.id, Program(output="the last words"))
        harness.engine.end(instance.id, 1)
        since = loop.time()
        while (there := harness.engine.there()) and not there[0].endpoint:
            await harness.rest(0.05)
        passed = loop.time() - since
        await harness.rest(1.5)
        return passed

    async def test_counting_starts_again_after_a_long_run(self, harness: Harness) -> None:
        await harness.launch()
        for _ in range(10):
            await harness.rest(120)
            harness.engine.end((await harness.assert_live()).id)
            await harness.rest(30)

        await harness.assert_live()

    async def test_a_new_launch_forgives_everything(self, harness: Harness) -> None:
        harness.engine.add_image(IMAGE, BROKEN)
        await harness.launch()
        await harness.rest()
        harness.engine.add_image(IMAGE)
        await harness.launch()
        await harness.rest()

        await harness.assert_live()


class TestAway:
    async def test_the_engine_while_it_launches(self, harness: Harness) -> None:
        harness.engine.leave()
        environment = await harness.launch()
        await harness.rest(120)
        assert harness.running.problems == {"engine": "The engine doesn't answer."}
        harness.engine.come_back()
        await harness.rest()

        await harness.assert_live(environment)
        assert harness.running.problems == {}

    @pytest.mark.parametrize("after", [0.0, 0.01, 0.03])
    async def test_the_engine_in_the_middle_of_it(self, harness: Harness, after: float) -> None:
        harness.engine.delays = {"create": 0.01, "start": 0.01, "answers": 0.01}
        await harness.launch()
        await harness.rest(after)
        harness.engine.leave()
        await harness.rest(60)
        harness.engine.come_back()
        await harness.rest()

        await harness.assert_live()

    async def test_the_engine_costs_no_running_preview(self, harness: Harness) -> None:
        environment = await harness.launch()
        await harness.rest()
        harness.engine.leave()
        await harness.rest(600)
        assert harness.served(environment.host)
        harness.engine.come_back()
        await harness.rest()

        await harness.assert_live()

    async def test_the_router_while_it_launches(self, harness: Harness) -> None:
        harness.router.leave()
        environment = await harness.launch()
        await harness.rest(120)
        assert (await harness.the()).serving is None
        harness.router.come_back()
        await harness.rest()

        await harness.assert_live(environment)
        assert (await harness.deployment()).attempt.failures == 0

    async def test_the_router_that_comes_back_without_its_table(self, harness: Harness) -> None:
        await harness.launch()
        await harness.rest()
        harness.router.leave()
        harness.router.table = replace(harness.router.table, routes={})
        harness.router.come_back()
        await harness.rest(1)

        await harness.assert_live()

    async def test_the_router_while_it_removes(self, harness: Harness) -> None:
        await harness.launch()
        await harness.rest()
        harness.router.leave()
        await harness.stop()
        await harness.rest(60)
        assert harness.engine.there(), "stopped although visitors are still led to it"
        harness.router.come_back()
        await harness.rest()

        await harness.assert_gone()


class TestBehindOurBack:
    async def test_removed(self, harness: Harness) -> None:
        await harness.launch()
        await harness.rest()
        before = await harness.assert_live()
        harness.engine.lose(before.id)
        await harness.rest()

        after = await harness.assert_live()
        assert after.id != before.id

    async def test_stopped(self, harness: Harness) -> None:
        await harness.launch()
        await harness.rest()
        harness.engine.end((await harness.assert_live()).id, 0)
        await harness.rest()

        await harness.assert_live()

    @pytest.mark.parametrize("how", ["removed", "stopped"])
    async def test_while_stager_wasnt_running(self, harness: Harness, how: str) -> None:
        await harness.launch()
        await harness.rest()
        instance = await harness.assert_live()
        await harness.kill()
        (harness.engine.lose if how == "removed" else harness.engine.end)(instance.id)
        await harness.start()

        await harness.assert_live()

    @pytest.mark.parametrize("how", ["removed", "stopped"])
    async def test_without_an_event_of_the_engine(self, harness: Harness, how: str) -> None:
        await harness.launch()
        await harness.rest()
        instance = await harness.assert_live()
        harness.engine.leave()
        (harness.engine.lose if how == "removed" else harness.engine.end)(instance.id)
        harness.engine.come_back()
        await harness.rest()

        await harness.assert_live()

    async def test_a_visitors_request_is_refused(self, harness: Harness) -> None:
        """The router reports that an endpoint refuses: the worker observes, and finds nothing wrong."""
        environment = await harness.launch()
        await harness.rest()
        instance = await harness.assert_live()
        assert instance.endpoint
        harness.router.refusing.add(instance.endpoint)
        async with harness.router.visit(environment.host):
            await harness.rest()

        await harness.assert_live()


class TestSuperseded:
    @pytest.mark.parametrize("slow", ["resolve", "create", "start", "answers", "find"])
    async def test_the_newest_wins_at_once(self, harness: Harness, slow: str) -> None:
        harness.engine.delays[slow] = 5
        await harness.launch()
        await harness.rest(7)
        del harness.engine.delays[slow]
        started = asyncio.get_running_loop().time()
        for _ in range(3):
            environment = await harness.launch()
        while not harness.served(environment.host) and asyncio.get_running_loop().time() < started + 60:
            await harness.rest(0.05)

        assert asyncio.get_running_loop().time() - started < 6
        await harness.rest()
        assert (await harness.assert_live()).generation == 4

    async def test_one_that_would_never_have_answered(self, harness: Harness) -> None:
        harness.engine.add_image(IMAGE, SILENT)
        environment = await harness.launch()
        await harness.rest(5)
        harness.engine.add_image(IMAGE)
        await harness.launch()
        await harness.rest(1)

        assert (await harness.assert_live()).generation == 2
        first, second = reversed(await harness.store.read(lambda tx: tx.deployments(environment.id)))
        there = await harness.the()
        assert phase_of(first, there) is Phase.SUPERSEDED
        assert phase_of(second, there) is Phase.LIVE

    async def test_removed_while_it_starts(self, harness: Harness) -> None:
        harness.engine.delays["start"] = 10
        await harness.launch()
        await harness.rest(5)
        await harness.stop()
        await harness.rest(1)

        await harness.assert_gone()
        assert (await harness.status()).state is State.GONE


class TestRemoval:
    async def test_nothing_of_a_preview_is_kept_after_the_retention(self) -> None:
        keep = timedelta(days=8)
        async with Harness([replace(SHOP, owner="acme")], keep_gone=keep).open() as harness:
            repository = harness.forge.add_repository("acme", "shop")
            harness.forge.allow(repository, "ann", Access.WRITE)
            event = harness.forge.open(repository, "feature-x", "a1")
            await harness.deliver(event)
            await harness.rest()
            environment = await harness.the()
            await harness.deliver(harness.forge.say(event, "/stager pin", "ann"))
            await harness.deliver(harness.forge.say(event, "/stager logs", "ann"))
            await harness.rest()

            def kinds() -> set[StateKind]:
                return {kind for (of, kind) in harness.store._tables.state if of == environment.id}

            of_others = {
                StateKind.SNAPSHOT,
                StateKind.EXTERNAL,
                StateKind.ACTIVITY,
                StateKind.CHANGED_DATA,
                StateKind.ROLLBACK,
                StateKind.EXPIRY,
                StateKind.SLEEP_REASON,
                StateKind.QUEUE,
            }  # seeding, server hooks, visits, clones and so on, which this has not
            assert kinds() == set(StateKind) - of_others
            assert not [name for name in harness.store._tables.facts if environment.id in name]
            await harness.deliver(harness.forge.close(event))
            await harness.rest()
            assert kinds()

            await harness.skip((keep - timedelta(hours=2)).total_seconds())
            assert kinds()
            await harness.rest(timedelta(hours=4).total_seconds())
            assert await harness.environments() == []
            assert kinds() == set()

    async def test_no_network_stays_until_the_next_pass(self, harness: Harness) -> None:
        for name in ("stays", "goes", "is-killed-while-starting"):
            await harness.launch(name)
        await harness.rest()
        assert len(harness.engine.networks) == 3
        killed = await harness.stop("goes")
        assert killed is not None
        await harness.running.waiters.until_removed(killed, 60)
        assert len(harness.engine.networks) == 2

        harness.engine.delays["start"] = 100
        await harness.launch("is-killed-while-starting")
        await harness.rest(1)
        await harness.stop("is-killed-while-starting")
        await harness.rest(20)
        assert len(harness.engine.networks) == 1

    async def test_a_network_that_cant_be_removed_costs_no_removal(
        self, harness: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await harness.launch()
        await harness.rest()

        async def refuse() -> int:
            raise Retry("Docker is busy.", reason="engine-away")

        monkeypatch.setattr(harness.engine, "sweep", refuse)
        await harness.stop()
        await harness.rest(20)
        await harness.assert_gone()
        monkeypatch.undo()
        await harness.rest()
        assert harness.engine.networks == frozenset()

    async def test_a_page_says_so(self, harness: Harness) -> None:
        environment = await harness.launch()
        await harness.rest()
        await harness.stop()
        await harness.rest()

        await harness.assert_gone()
        page = harness.target(environment.host)
        assert isinstance(page, Page)
        assert page.state == "gone"
        assert await harness.engine.sweep() == 0, "a network was left behind"

    async def test_comes_back_at_the_same_host(self, harness: Harness) -> None:
        first = await harness.launch("feature/x")
        await harness.rest()
        await harness.stop("feature/x")
        await harness.rest()
        again = await harness.launch("feature/x")
        await harness.rest()

        await harness.assert_live()
        assert (again.id, again.host) == (first.id, first.host)

    async def test_its_host_may_be_anothers_by_then(self, harness: Harness) -> None:
        first = await harness.launch("feature/x")
        await harness.rest()
        await harness.stop("feature/x")
        second = await harness.launch("feature-x")
        await harness.rest()
        await harness.launch("feature/x")
        await harness.rest()

        assert second.host == first.host
        assert (await harness.the(first)).host != second.host
        await harness.assert_live(first)
        await harness.assert_live(second)

    async def test_it_is_deleted_with_its_page_after_the_retention(self) -> None:
        async with Harness(keep_gone=timedelta(days=7)).open() as harness:
            environment = await harness.launch()
            await harness.rest()
            await harness.stop()
            await harness.skip(7 * 86_400 - 7_200)
            assert await harness.environments() != []
            await harness.rest(4 * 3_600)

            assert await harness.environments() == []
            assert harness.target(environment.host) is None


class TestSupervisor:
    async def test_a_bug_of_ours_costs_one_environment_a_pause(
        self, harness: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original, failures = harness.running.actions.observe, Counter[str]()

        async def look(environment_id: str) -> object:
            if environment_id == broken.id and failures["look"] < 3:
                failures["look"] += 1
                raise ZeroDivisionError
            return await original(environment_id)

        broken = await harness.launch("broken")
        monkeypatch.setattr(harness.running.actions, "observe", look)
        good = await harness.launch("good")
        await harness.rest(4)
        await harness.assert_live(good)
        await harness.rest()

        assert failures["look"] == 3
        await harness.assert_live(broken)

    async def test_there_are_no_workers_when_everything_is_at_rest(self, harness: Harness) -> None:
        await harness.launch()
        await harness.rest()
        wire = Tripwire()
        await harness.kill()
        await harness.start(wire)
        wire.arm()
        await harness.rest(60)

        assert not harness.running.control_plane.reconciler.workers
        calls = Counter(name for name in wire.passed if name.startswith("before"))
        assert calls["before find"] <= 2, calls
        assert not {"before update", "before create", "before start"} & calls.keys(), calls
        assert calls["before write"] <= 1, "the time that counts for expiry"

    async def test_a_wake_that_is_lost_is_made_up_for(
        self, harness: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The full reconciliation finds desired state that no worker acts on."""
        await harness.launch()
        await harness.rest()
        with monkeypatch.context() as patched:
            patched.setattr(Workers, "wake", lambda *_: None)
            await harness.launch()
        await harness.rest(65)

        await harness.assert_live(generation=2)

    async def test_a_full_disk_costs_no_delivery(
        self, harness: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        repository = harness.forge.add_repository("acme", "shop")
        await harness.deliver(harness.forge.open(repository, "feature-x", "a"))
        original, refusals = harness.store.write, iter(range(5))

        async def write(work: Callable[[Transaction], object]) -> object:
            if next(refusals, None) is not None:
                raise Retry("There is no room.", reason="database-disk-full")
            return await original(work)

        monkeypatch.setattr(harness.store, "write", write)
        await harness.rest()

        await harness.assert_live()

    async def test_a_bug_in_a_loop_ends_no_loop(
        self, harness: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        environment = await harness.launch()
        await harness.rest()
        original, failures = harness.store.read, iter(range(5))

        async def read(work: Callable[[Transaction], object]) -> object:
            if next(failures, None) is not None:
                raise ZeroDivisionError
            return await original(work)

        monkeypatch.setattr(harness.store, "read", read)
        repository = harness.forge.add_repository("acme", "shop")
        await harness.deliver(harness.forge.open(repository, "feature-x", "a"))
        harness.engine.lose(harness.engine.there(environment.id)[0].id)
        await harness.rest()

        assert len(harness.engine.there()) == 2

    async def test_a_wake_at_the_last_moment_isnt_lost(
        self, harness: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A worker has just found nothing to do, and ends; a wake-up at that moment must have an effect."""
        environment = await harness.launch()
        await harness.rest()
        workers, woken = harness.running.control_plane.reconciler.workers, asyncio.Event()
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
        await harness.rest(1)

        assert runs["run"] == 2

    async def test_ends_on_request_and_leaves_everything_running(self, harness: Harness) -> None:
        environment = await harness.launch()
        await harness.rest()
        await harness.kill()
        await harness.rest()

        assert harness.served(environment.host)
        assert [i.state for i in harness.engine.there()] == [InstanceState.RUNNING]

    async def test_ends_in_the_middle_of_work(self, harness: Harness) -> None:
        harness.engine.delays["create"] = 100
        await harness.launch()
        await harness.rest(1)
        workers = harness.running.control_plane.reconciler.workers
        await harness.kill()

        assert not workers
