"""Server hooks: when they run, what their output becomes, and that nothing that they create is left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from stager.control.external.check import ExternalCheck
from stager.control.external.resources import LAUNCH_TRIES
from stager.domain.environment import Environment
from stager.domain.external import ServerHooks
from stager.domain.status import State
from stager.ports.diagnostics import Finding, Verdict
from stager.ports.server_commands import CommandResult
from stager.ports.store import StateKind
from stager.testing.fakes.server_commands import FakeRun
from tests.unit.control.harness import ANN, SHOP, Harness
from tests.unit.control.reconciler.test_services import DB, add_images, with_services
from tests.unit.control.tripwire import Tripwire

HOOKS = ServerHooks(("create", "--fast"), ("drop",), timeout=60.0, folder="/etc/stager")
PASSWORD = "pwd-5f2a"


@dataclass
class Databases:
    """A database server: `create` and `drop` are its hooks.

    Args:
        fails: what is printed by hooks that fail, by the program's name.
        existing: the resources that have a database.
        created: all that ever had one, in order.
    """

    fails: dict[str, str] = field(default_factory=dict)
    existing: set[str] = field(default_factory=set)
    created: list[str] = field(default_factory=list)

    def create(self, run: FakeRun) -> CommandResult:
        resource = run.variables["STAGER_RESOURCE"]
        if resource not in self.existing:
            self.created.append(resource)
        self.existing.add(resource)
        if "create" in self.fails:
            return CommandResult(1, errors=self.fails["create"])
        output = {"variables": {"PGDATABASE": resource}, "secrets": {"PGPASSWORD": PASSWORD}}
        return CommandResult(0, json.dumps(output).encode())

    def drop(self, run: FakeRun) -> CommandResult:
        if "drop" in self.fails:
            return CommandResult(2, errors=self.fails["drop"])
        self.existing.discard(run.variables["STAGER_RESOURCE"])
        return CommandResult(0)


def made(databases: Databases, hooks: ServerHooks = HOOKS) -> Harness:
    harness = Harness([replace(SHOP, owner="acme", server_hooks=hooks)])
    harness.server_commands.programs |= {"create": databases.create, "drop": databases.drop}
    return harness


@pytest.fixture
def databases() -> Databases:
    return Databases()


@pytest.fixture
async def harness(databases: Databases) -> AsyncIterator[Harness]:
    async with made(databases).open() as opened:
        yield opened


async def launched(harness: Harness, name: str = "x") -> Environment:
    environment = await harness.launch(name)
    await harness.rest()
    return environment


def variables(harness: Harness, environment: Environment) -> dict[str, str]:
    [instance] = [i for i in harness.engine.there(environment.id) if i.service == "web"]
    return harness.engine.variables(instance.id)


def hooks_ran(harness: Harness) -> list[str]:
    return [run.command[0] for run in harness.server_commands.ran]


async def findings(harness: Harness) -> list[Finding]:
    return list(await ExternalCheck(harness.store).run())


class TestLaunch:
    async def test_the_output_becomes_variables(self, harness: Harness, databases: Databases) -> None:
        environment = await launched(harness)

        found = variables(harness, environment)
        assert [found["PGDATABASE"]] == databases.created
        assert found["PGPASSWORD"] == PASSWORD

    async def test_it_gets_facts_about_the_preview_and_nothing_else(self, harness: Harness) -> None:
        repository = harness.forge.add_repository("acme", "shop")
        await harness.deliver(harness.forge.open(repository, "feature-x", "a1"))
        await harness.rest()

        [run] = harness.server_commands.ran
        environment = await harness.the()
        assert run.command == ("create", "--fast")
        assert run.folder == "/etc/stager"
        assert dict(run.variables) == {
            "STAGER_HOOK": "before_launch",
            "STAGER_RESOURCE": run.variables["STAGER_RESOURCE"],
            "STAGER_APP": "shop",
            "STAGER_ENVIRONMENT": environment.id,
            "STAGER_NAME": "feature-x",
            "STAGER_HOST": "feature-x.preview.test",
            "STAGER_URL": "http://feature-x.preview.test",
            "STAGER_TRUST": "trusted",
            "STAGER_SHA": "a1",
            "STAGER_REF": "feature-x",
            "STAGER_REPOSITORY": "acme/shop",
            "STAGER_CHANGE": "1",
        }

    async def test_it_runs_once_for_each_preview(self, harness: Harness, databases: Databases) -> None:
        environment = await launched(harness)
        await launched(harness)
        await harness.kill()
        await harness.start()
        await launched(harness)
        assert databases.created == [variables(harness, environment)["PGDATABASE"]]
        assert hooks_ran(harness) == ["create"]

        other = await launched(harness, "y")
        assert variables(harness, other)["PGDATABASE"] != variables(harness, environment)["PGDATABASE"]

    async def test_it_runs_before_anything_starts(self, harness: Harness) -> None:
        harness.server_commands.seconds = 30.0
        environment = await harness.launch("x")
        await harness.rest(20)
        assert harness.engine.there(environment.id) == []
        await harness.rest(20)
        await harness.assert_live(environment)

    async def test_services_of_other_images_get_nothing_of_it(self, databases: Databases) -> None:
        harness = made(databases)
        harness.applications = [with_services(DB, app=harness.applications[0])]
        add_images(harness)
        async with harness.open():
            environment = await launched(harness)
            of = {i.service: harness.engine.variables(i.id) for i in harness.engine.there(environment.id)}
            assert of["web"]["PGPASSWORD"] == PASSWORD
            assert "PGPASSWORD" not in of["db"]

    async def test_it_is_tried_again_and_then_given_up(self, harness: Harness, databases: Databases) -> None:
        databases.fails["create"] = "connection refused"
        environment = await harness.launch("x")
        await harness.rest(5)
        assert (await harness.status(environment)).state is State.STARTING
        await harness.rest()

        status = await harness.status(environment)
        assert (status.state, status.reason) == (State.FAILED, "server-hook-failed")
        assert hooks_ran(harness) == ["create"] * LAUNCH_TRIES
        assert len(databases.created) == 1
        assert harness.engine.there(environment.id) == []

        databases.fails.clear()
        await launched(harness)
        await harness.assert_live(environment)
        assert len(databases.created) == 1

    @pytest.mark.attack(
        "Read what a failed server hook printed in the pull request or on the visitor's page",
        profile="visitor",
        result="it is shown to people who may read logs, and to administrators",
    )
    async def test_what_it_prints_is_for_people_who_may_read_logs(
        self, harness: Harness, databases: Databases
    ) -> None:
        databases.fails["create"] = "could not connect to db.internal"
        environment = await launched(harness)
        status = await harness.status(environment)

        assert "db.internal" not in f"{status} {[c.body for c in harness.forge.comments]}"
        [finding] = await findings(harness)
        assert finding.verdict is Verdict.ERROR
        assert "shop, x" in finding.message
        assert "could not connect to db.internal" in finding.message

    async def test_output_that_is_invalid_fails_the_launch(
        self, harness: Harness, databases: Databases
    ) -> None:
        harness.server_commands.programs["create"] = lambda _: CommandResult(0, b"created db_1")
        environment = await launched(harness)

        status = await harness.status(environment)
        assert (status.state, status.reason) == (State.FAILED, "hook-output-invalid")

    async def test_one_that_takes_too_long_is_named(self, harness: Harness) -> None:
        harness.server_commands.seconds = 61.0
        environment = await harness.launch("x")
        await harness.rest(62)

        assert "took over 60 s" in (await harness.status(environment)).message

    async def test_its_output_is_stored_encrypted(self, harness: Harness) -> None:
        await launched(harness)

        assert PASSWORD not in repr(harness.store._tables)

    async def test_it_runs_again_if_its_output_cannot_be_decrypted(
        self, harness: Harness, databases: Databases
    ) -> None:
        environment = await launched(harness)
        text = await harness.store.read(lambda tx: tx.environment_state(environment.id, StateKind.EXTERNAL))
        rows = json.loads(text)
        rows[0]["sealed"] = "of another key"
        await harness.store.write(
            lambda tx: tx.save_environment_state(environment.id, StateKind.EXTERNAL, json.dumps(rows))
        )
        await launched(harness)
        assert hooks_ran(harness) == ["create", "create"]
        assert len(databases.created) == 1
        await harness.stop("x")
        await harness.rest()
        assert databases.existing == set()


class TestUntrusted:
    @pytest.fixture
    async def of_fork(self, databases: Databases, request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
        harness = made(databases, replace(HOOKS, forks_allowed=request.param))
        harness.applications = [replace(harness.applications[0], forks="open")]
        async with harness.open() as opened:
            repository = opened.forge.add_repository("acme", "shop")
            fork = opened.forge.add_repository("eve", "shop")
            await opened.deliver(opened.forge.open(repository, "feature-x", "a1", fork=fork))
            await opened.rest()
            yield opened

    @pytest.mark.attack(
        "Get the variables of a server hook, such as the URL of a database",
        profile="code from a fork",
        result="the hook doesn't run, unless it has `forks: allow`",
    )
    @pytest.mark.parametrize("of_fork", [False], indirect=True)
    async def test_code_gets_nothing(self, of_fork: Harness) -> None:
        environment = await of_fork.the()
        await of_fork.assert_live()

        assert not variables(of_fork, environment).keys() & {"PGDATABASE", "PGPASSWORD"}
        assert hooks_ran(of_fork) == []
        comments = " ".join(comment.body for comment in of_fork.forge.comments)
        assert "doesn't run for code from forks" in comments

    @pytest.mark.parametrize("of_fork", [True], indirect=True)
    async def test_code_gets_it_if_that_is_allowed(self, of_fork: Harness) -> None:
        assert variables(of_fork, await of_fork.the())["PGPASSWORD"] == PASSWORD


class TestRemoval:
    async def test_it_runs_once_nothing_of_the_preview_is_left(
        self, harness: Harness, databases: Databases
    ) -> None:
        left: list[int] = []

        def drop(run: FakeRun) -> CommandResult:
            left.append(len(harness.engine.there()))
            return databases.drop(run)

        harness.server_commands.programs["drop"] = drop
        await launched(harness)
        await harness.stop("x")
        await harness.rest()

        assert left == [0]
        assert databases.existing == set()
        assert harness.server_commands.ran[-1].variables["STAGER_HOOK"] == "before_kill"
        assert await harness.store.read(lambda tx: tx.environment_states(StateKind.EXTERNAL)) == {}

    async def test_a_closed_and_a_killed_pull_request_end_it_a_suspension_does_not(
        self, harness: Harness, databases: Databases
    ) -> None:
        repository = harness.forge.add_repository("acme", "shop")
        event = harness.forge.open(repository, "feature-x", "a1")
        await harness.deliver(event)
        await harness.rest()
        await harness.stop("feature-x")
        await harness.rest()
        assert databases.existing == set()

        await harness.deliver(harness.forge.push(event, "b2"))
        await harness.rest()
        assert databases.existing == set(databases.created[1:])
        await harness.deliver(harness.forge.close(event))
        await harness.rest()
        assert databases.existing == set()

    async def test_it_is_repeated_until_it_succeeds(self, harness: Harness, databases: Databases) -> None:
        databases.fails["drop"] = f"still in use\npassword {PASSWORD} is in use"
        environment = await launched(harness)
        await harness.stop("x")
        await harness.rest(1_800)

        tries = hooks_ran(harness).count("drop")
        assert 10 <= tries <= 15, "2 s, 4 s and so on, then every five minutes"
        [finding] = await findings(harness)
        assert "password *** is in use" in finding.message
        assert f"It failed {tries} times; Stager tries it again at" in finding.message

        await harness.kill()
        await harness.start()
        databases.fails.clear()
        await harness.rest(400)
        assert databases.existing == set()
        assert [finding.verdict for finding in await findings(harness)] == [Verdict.OK]
        assert (await harness.status(environment)).state is State.GONE

    async def test_the_record_stays_until_it_succeeds(self, databases: Databases) -> None:
        harness = made(databases)
        harness.keep_gone = timedelta(hours=1)
        databases.fails["drop"] = "no"
        async with harness.open():
            await launched(harness)
            await harness.stop("x")
            await harness.rest(3 * 3_600)
            assert len(await harness.environments()) == 1
            databases.fails.clear()
            await harness.rest(2 * 3_600)
            assert await harness.environments() == []
        assert databases.existing == set()

    async def test_a_preview_that_comes_back_meanwhile_gets_another(
        self, harness: Harness, databases: Databases
    ) -> None:
        databases.fails["drop"] = "no"
        environment = await launched(harness)
        await harness.stop("x")
        await harness.rest(30)
        await launched(harness)

        assert variables(harness, environment)["PGDATABASE"] == databases.created[1]
        databases.fails.clear()
        await harness.rest(600)
        assert databases.existing == {databases.created[1]}

    async def test_a_launch_that_is_killed_meanwhile_leaves_nothing(
        self, harness: Harness, databases: Databases
    ) -> None:
        harness.server_commands.seconds = 20.0
        await harness.launch("x")
        await harness.rest(10)
        await harness.stop("x")
        await harness.rest()

        assert hooks_ran(harness) == ["create", "drop"]
        assert databases.existing == set()

    async def test_the_command_stays_that_of_the_creation(self, databases: Databases) -> None:
        harness = made(databases)
        async with harness.open():
            await launched(harness)
        harness.applications = []
        async with harness.open():
            await harness.stop("x")
            await harness.rest()

        assert hooks_ran(harness) == ["create", "drop"]
        assert databases.existing == set()

    async def test_without_a_command_nothing_runs(self, databases: Databases) -> None:
        harness = made(databases, replace(HOOKS, before_kill=()))
        async with harness.open():
            await launched(harness)
            await harness.stop("x")
            await harness.rest()
            assert hooks_ran(harness) == ["create"]
            assert await harness.store.read(lambda tx: tx.environment_states(StateKind.EXTERNAL)) == {}


class TestReset:
    @pytest.fixture
    async def with_volume(self, databases: Databases) -> AsyncIterator[Harness]:
        harness = made(databases)
        harness.applications = [with_services(DB, app=harness.applications[0])]
        add_images(harness)
        async with harness.open() as opened:
            yield opened

    async def reset(self, harness: Harness, environment: Environment) -> None:
        await harness.running.commands.reset(environment.id, ANN)
        await harness.rest()

    async def test_replaces_what_the_hook_created(self, with_volume: Harness, databases: Databases) -> None:
        environment = await launched(with_volume)
        await self.reset(with_volume, environment)

        first, second = databases.created
        assert variables(with_volume, environment)["PGDATABASE"] == second
        assert databases.existing == {second}
        assert hooks_ran(with_volume) == ["create", "create", "drop"]
        await with_volume.stop("x")
        await with_volume.rest()
        assert databases.existing == set()
        assert first != second

    async def test_keeps_the_old_one_while_the_new_deployment_fails(
        self, with_volume: Harness, databases: Databases
    ) -> None:
        environment = await launched(with_volume)
        databases.fails["create"] = "full"
        await self.reset(with_volume, environment)

        first, second = databases.created
        assert (await with_volume.status()).state is State.FAILED_UPDATE
        assert databases.existing == {first, second}
        assert "drop" not in hooks_ran(with_volume)
        assert variables(with_volume, environment)["PGDATABASE"] == first

        databases.fails.clear()
        await launched(with_volume)
        assert databases.existing == {second}
        assert variables(with_volume, environment)["PGDATABASE"] == second


class TestKilled:
    """`kill -9` of Stager at each call of a port, while a preview is launched and while it is removed."""

    async def play(self, databases: Databases, wire: Tripwire, *, removal: bool) -> None:
        """Kill Stager where the wire is, start it again, and remove the preview."""
        harness = made(databases)
        await harness.start()
        if removal:
            await launched(harness)
        await harness.kill()
        await harness.start(wire)
        wire.arm()
        acting = asyncio.ensure_future(harness.stop("x") if removal else harness.launch("x"))
        with suppress(TimeoutError):
            async with asyncio.timeout(90):
                await wire.tripped.wait()
        acting.cancel()
        await harness.kill()
        async with harness.open():
            await harness.stop("x")
            await harness.rest()
            assert harness.engine.there() == []
            assert await harness.store.read(lambda tx: tx.environment_states(StateKind.EXTERNAL)) == {}

    @pytest.mark.parametrize("removal", [False, True])
    async def test_nothing_is_left(self, removal: bool) -> None:
        wire = Tripwire()
        await self.play(Databases(), wire, removal=removal)
        points = [i for i, name in enumerate(wire.passed) if "run" in name or "write" in name]
        assert len(points) > 8
        for point in points:
            databases = Databases()
            await self.play(databases, Tripwire(point), removal=removal)
            assert databases.existing == set(), f"killed {wire.passed[point]} ({point})"
