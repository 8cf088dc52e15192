"""From a commit to a preview: what it is built by, how it is run, and what people see meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from stager.control.builds.code import ASK_SECONDS
from stager.control.builds.queue import LINGER
from stager.control.reconciler.preparation import PAGE_INTERVAL
from stager.control.reconciler.status_page import live_status
from stager.domain.deployment import Phase, phase_of
from stager.domain.errors import Fault, Refused
from stager.domain.identity.access_policy import Privacy
from stager.domain.pictures import PictureSpec
from stager.domain.pull_requests.events import ChangeEvent
from stager.domain.recipe import Hook, Hooks, Manifest, Recipe
from stager.domain.route import Page
from stager.domain.source import Repository, Revision
from stager.domain.status import State
from stager.ports.builder import ImageFacts
from stager.ports.engine import InstanceSpec
from stager.testing import FaultMode, Program
from stager.testing.fakes.builder import Result
from stager.testing.fakes.program import Inner
from stager.testing.fakes.sources import Link, SourceFaultMode
from tests.unit.control.harness import ANN, SHOP, Harness

BUILT = replace(
    SHOP, image="", port=None, owner="acme", build=Recipe(), repository_file=".stager.yml", forks="open"
)
MAY = frozenset({"port", "command", "health_path", "env", "build", "hooks", "pictures"})
READER = replace(BUILT, repository_file_keys=MAY)
URL = "https://forge.test/acme/shop.git"
FORK_URL = "https://forge.test/mallory/shop.git"
EXPOSED = ImageFacts((80, 3000), first=3000)
BROKEN = Fault("The step RUN make failed.", reason="build-failed", detail="#2 RUN make\nno such target")


class Works(Harness):
    """A harness whose application is built, and whose repository is there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.repository: Repository = self.forge.add_repository("acme", "shop")
        self.builder.default = Result(facts=EXPOSED)
        self.sources.add(URL, "m1", {"Dockerfile": ""}, "refs/heads/main")

    @property
    def builds(self) -> list[str]:
        """The commits whose build began."""
        return [order.sha for order in self.builder.orders]

    async def opened(self, sha: str = "a1", **given: Any) -> ChangeEvent:
        """A pull request was opened, and all of it came to rest."""
        event = self.forge.open(self.repository, "feature-x", sha, **given)
        await self.deliver(event)
        await self.rest()
        return event

    async def opened_by_fork(self, sha: str = "f1") -> ChangeEvent:
        return await self.opened(sha, fork=self.forge.add_repository("mallory", "shop"))

    async def spec(self) -> InstanceSpec:
        """What the instance that serves was made by."""
        return self.engine.spec((await self.assert_live()).id)

    async def page(self) -> Page:
        """What visitors of the only environment see."""
        target = self.target((await self.the()).host)
        assert isinstance(target, Page)
        return target

    async def say(self, line: str) -> None:
        """The build that is under way prints a line."""
        key, builds = (await self.deployment()).build, self.running.control_plane.builds.queue
        assert builds is not None
        builds._log_line(builds._builds[key], line)

    def file(self, text: str, sha: str = "a1", *refs: str, url: str = URL) -> None:
        """A commit has this as the repository's own file."""
        self.sources.add(url, sha, {"Dockerfile": "FROM scratch", ".stager.yml": text}, *refs)


@pytest.fixture
async def works() -> AsyncIterator[Works]:
    async with Works([READER]).open() as opened:
        yield opened


class TestChange:
    async def test_comes_live_from_its_commit(self, works: Works) -> None:
        await works.opened()

        spec = await works.spec()
        deployment = await works.deployment()
        [order] = works.builder.orders
        assert (order.sha, order.app, order.recipe, order.timeout) == ("a1", "shop", Recipe(), 1_800.0)
        assert spec.labels.revision.sha == "a1"
        assert spec.per_commit["STAGER_SHA"] == "a1"
        assert spec.image == deployment.image
        assert deployment.build == order.key
        assert deployment.building_at
        assert deployment.starting_at
        assert deployment.building_at <= deployment.starting_at
        assert phase_of(deployment, await works.the()) is Phase.LIVE
        assert "FROM stager-base" in works.running.control_plane.builds.queue.log_of(deployment.build)  # type: ignore[union-attr]

    async def test_is_fetched_by_its_own_ref(self, works: Works) -> None:
        asked = []
        checkout = works.sources.checkout

        def noting(key: str, origin: Any, sha: str) -> Any:
            asked.append((key, origin.url, origin.refs, sha))
            return checkout(key, origin, sha)

        works.sources.checkout = noting  # type: ignore[method-assign]
        await works.opened_by_fork("f1")

        assert asked == [(works.repository.id, URL, ("refs/pull/1/head",), "f1")]

    async def test_a_push_is_built_and_takes_over(self, works: Works) -> None:
        event = await works.opened()
        old = (await works.spec()).image
        await works.deliver(works.forge.push(event, "b2"))
        await works.rest()

        assert works.builds == ["a1", "b2"]
        assert (await works.spec()).labels.generation == 2
        assert (await works.spec()).image != old

    async def test_the_old_one_serves_while_the_new_one_is_built(self, works: Works) -> None:
        event = await works.opened()
        works.builder.results["b2"] = Result(facts=EXPOSED, seconds=100)
        await works.deliver(works.forge.push(event, "b2"))
        await works.rest(50)

        environment = await works.the()
        assert works.served(environment.host) is not None
        assert (await works.status()).state is State.UPDATING
        assert (await works.status()).message == "The preview is being built."

    async def test_its_network_is_made_meanwhile(self, works: Works) -> None:
        works.builder.default = Result(facts=EXPOSED, seconds=100)
        await works.deliver(works.forge.open(works.repository, "feature-x", "a1"))
        await works.rest(50)
        assert (works.engine.there(), len(works.engine.networks)) == ([], 1)
        assert await works.engine.sweep() == 0

        await works.rest()
        await works.assert_live()
        assert len(works.engine.networks) == 1

    async def test_a_push_ends_the_pointless_build(self, works: Works) -> None:
        works.builder.default = Result(facts=EXPOSED, seconds=100)
        event = works.forge.open(works.repository, "feature-x", "a1")
        await works.deliver(event)
        await works.rest(50)
        await works.deliver(works.forge.push(event, "b2"))
        await works.rest()

        assert (await works.spec()).labels.revision.sha == "b2"
        assert works.builds == ["a1", "b2"]
        assert sum(works.builder.cancelled.values()) == 1

    async def test_a_close_ends_it_as_well(self, works: Works) -> None:
        works.builder.default = Result(facts=EXPOSED, seconds=100)
        event = works.forge.open(works.repository, "feature-x", "a1")
        await works.deliver(event)
        await works.rest(50)
        await works.deliver(works.forge.close(event))
        await works.rest(LINGER + 5)

        assert works.builder.running.total() == 0
        await works.assert_gone()

    async def test_two_changes_with_one_commit_share_its_build(self, works: Works) -> None:
        works.builder.default = Result(facts=EXPOSED, seconds=100)
        for ref in ("feature-x", "feature-y"):
            await works.deliver(works.forge.open(works.repository, ref, "a1"))
        await works.rest()

        assert works.builds == ["a1"]
        for environment in await works.environments():
            await works.assert_live(environment)

    async def test_the_same_commit_isnt_built_again(self, works: Works) -> None:
        event = await works.opened()
        await works.running.commands.redeploy((await works.the()).id, ANN)
        await works.rest(30)
        await works.deliver(works.forge.close(event))
        await works.rest(30)
        await works.deliver(works.forge.reopen(event))
        await works.rest(30)

        assert (await works.assert_live()).generation == 3
        assert works.builds == ["a1"]


class TestManualLaunch:
    async def test_a_name_is_a_branch_whose_commit_is_looked_up(self, works: Works) -> None:
        works.sources.add(URL, "c3", {"Dockerfile": ""}, "refs/heads/main")
        await works.launch("main")
        await works.rest()

        spec, deployment = await works.spec(), await works.deployment()
        assert works.builds == ["c3"]
        assert (deployment.revision.sha, deployment.revision.ref) == ("c3", "main")
        assert (spec.per_commit["STAGER_SHA"], spec.per_commit["STAGER_REF"]) == ("c3", "main")

    async def test_each_launch_looks_again(self, works: Works) -> None:
        for sha in ("c3", "d4"):
            works.sources.add(URL, sha, {"Dockerfile": ""}, "refs/heads/main")
            await works.launch("main")
            await works.rest()

        assert (await works.spec()).labels.revision.sha == "d4"
        assert works.builds == ["c3", "d4"]

    async def test_a_branch_that_isnt_there_leaves_nothing(self, works: Works) -> None:
        with pytest.raises(Refused) as caught:
            await works.launch("nobody")
        await works.rest()

        assert (caught.value.reason, caught.value.status) == ("branch-missing", 404)
        assert await works.environments() == []

    async def test_a_branch_that_went_leaves_its_preview_as_it_is(self, works: Works) -> None:
        await works.launch("main")
        await works.rest()
        works.sources.remove(URL, "refs/heads/main")
        with pytest.raises(Refused):
            await works.launch("main")
        await works.rest()

        assert (await works.the()).desired.generation == 1
        await works.assert_live()

    @pytest.mark.parametrize("mode", [SourceFaultMode.AWAY, SourceFaultMode.NEVER, SourceFaultMode.REFUSING])
    async def test_a_repository_that_doesnt_answer_delays_only_the_launch(
        self, works: Works, mode: SourceFaultMode
    ) -> None:
        works.sources.fault_mode = mode
        began = asyncio.get_running_loop().time()
        environment = await works.launch("main")
        assert asyncio.get_running_loop().time() - began <= ASK_SECONDS
        works.sources.fault_mode = SourceFaultMode.WELL
        await works.kill()
        await works.start()

        await works.assert_live(environment)

    async def test_a_pull_requests_branch_isnt_looked_up(self, works: Works) -> None:
        await works.opened()
        await works.launch("feature-x")
        await works.rest()
        assert (await works.the()).desired.generation == 2
        await works.assert_live()

    async def test_a_commit_of_a_pull_request_isnt_launched_by_its_id(self, works: Works) -> None:
        """A fork's commit is in the repository, too, and a manual launch would run it with secrets."""
        sha = "f1e2" * 10
        works.sources.add(URL, sha, {"Dockerfile": ""}, "refs/pull/34/head")
        await works.launch(sha)
        await works.rest()

        status = await works.status()
        assert (status.state, status.reason) == (State.FAILED, "commit-not-a-tip")
        assert works.builds == []

        works.sources.add(URL, sha, {"Dockerfile": ""}, "refs/heads/merged")
        await works.launch(sha)
        await works.rest()
        assert works.builds == [sha]

    async def test_after_the_database_was_lost_the_branch_counts(self, works: Works) -> None:
        works.sources.add(URL, "c3", {"Dockerfile": ""}, "refs/heads/main")
        await works.launch("main")
        await works.rest()
        environment = await works.the()
        adopted = replace(environment, desired=replace(environment.desired, revision=Revision("c3", "main")))
        await works.store.write(lambda tx: tx.save_environment(adopted))
        works.sources.add(URL, "d4", {"Dockerfile": ""}, "refs/heads/main")
        await works.running.commands.redeploy(environment.id, ANN)
        await works.rest()

        assert works.builds == ["c3", "d4"]

    async def test_of_a_repository_that_a_delivery_came_from(self) -> None:
        async with Works([replace(READER, owner="")]).open() as works:
            await works.opened()
            works.sources.add(URL, "c3", {"Dockerfile": ""}, "refs/heads/main")
            environment = await works.launch("main")
            await works.rest()

            await works.assert_live(environment)

    async def test_of_an_unknown_repository(self) -> None:
        async with Works([replace(READER, owner="")]).open() as works:
            await works.launch("main")
            await works.rest()

            status = await works.status()
            assert (status.state, status.reason) == (State.FAILED, "source-unknown")
            assert "images.shop.repo_owner" in status.hint

    async def test_without_a_forge(self) -> None:
        async with Works([READER], credentials=False).open() as works:
            await works.opened()

            status = await works.status()
            assert (status.state, status.reason) == (State.FAILED, "forge-missing")


class TestRepositoryFile:
    EVERYTHING = """
        port: 4000
        command: [run, now]
        health_path: /up
        env: {A: file, B: file}
        build: {context: web, target: runtime, args: {X: file}}
        hooks: {after_launch: [bin/seed]}
    """

    async def test_says_how_to_build_and_run(self) -> None:
        app = replace(
            READER,
            variables={"A": "configured"},
            build=Recipe("app", arguments={"X": "configured", "Y": "configured"}, secrets={"npm": "t"}),
            hooks=Hooks(after_launch=(Hook(("bin/other",)),)),
        )
        async with Works([app]).open() as works:
            works.file(self.EVERYTHING)
            await works.opened()

            spec, [order] = await works.spec(), works.builder.orders
            assert order.recipe == Recipe(
                "web", "Dockerfile", "runtime", {"X": "file", "Y": "configured"}, {"npm": "t"}
            )
            assert (spec.container.port, spec.container.command) == (4000, ("run", "now"))
            assert (spec.variables["A"], spec.variables["B"]) == ("configured", "file")
            assert {path for _, path in works.engine.asked} == {"/up"}
            assert [command for _, command in works.engine.ran] == [("bin/seed",)]
            assert (await works.deployment()).manifest == Manifest(
                4000, ("run", "now"), "/up", {"A": "file", "B": "file"}, Hooks((Hook(("bin/seed",)),))
            )

    async def test_an_automatic_build_gets_the_variables_for_pages(self) -> None:
        app = replace(
            READER,
            variables={"VITE_A": "configured", "DEBUG": "1"},
            secrets={"VITE_TOKEN": "secret"},
        )
        async with Works([app]).open() as works:
            works.file("build: auto\nenv: {VITE_A: file, VITE_B: file}\n")
            event = await works.opened()
            works.file("env: {VITE_B: file}\n", "a2")
            await works.deliver(works.forge.push(event, "a2"))
            await works.rest()

            automatic, plain = (order.recipe for order in works.builder.orders)
            assert automatic.variables == {"VITE_A": "configured", "VITE_B": "file"}
            assert plain.variables == {}

    async def test_is_that_of_the_commit(self, works: Works) -> None:
        works.file("port: 4000")
        works.file("port: 5000", "b2")
        event = await works.opened()
        assert (await works.spec()).container.port == 4000
        await works.deliver(works.forge.push(event, "b2"))
        await works.rest()

        assert (await works.spec()).container.port == 5000

    async def test_of_a_fork_is_the_base_branchs(self, works: Works) -> None:
        works.file("port: 4000\nenv: {WHOSE: ours}", "m1", "refs/heads/main")
        works.file("port: 6666\nenv: {WHOSE: theirs}\ncommand: evil", "f1")
        await works.opened_by_fork("f1")

        spec = await works.spec()
        assert works.builds == ["f1"]
        assert (spec.container.port, spec.container.command, spec.variables["WHOSE"]) == (
            4000,
            None,
            "ours",
        )

    async def test_of_a_fork_doesnt_say_what_is_photographed(self, works: Works) -> None:
        works.file("port: 4000\npictures: {routes: [/ours]}", "m1", "refs/heads/main")
        works.file("port: 4000\npictures: {routes: [/theirs]}", "f1")
        await works.opened_by_fork("f1")

        assert (await works.deployment()).manifest.pictures == PictureSpec(("/ours",))

    async def test_of_a_fork_whose_base_branch_is_gone(self, works: Works) -> None:
        """A tag of that name isn't the base."""
        works.file("port: 4000", "t1", "refs/tags/main")
        works.sources.remove(URL, "refs/heads/main")
        await works.opened_by_fork("f1")

        assert (await works.status()).reason == "ref-missing"
        assert works.builds == []

    async def test_of_a_fork_whose_base_has_none(self, works: Works) -> None:
        works.file("command: evil", "f1")
        await works.opened_by_fork("f1")

        assert (await works.spec()).container.command is None

    async def test_that_cant_be_used_fails_with_its_lines(self, works: Works) -> None:
        works.file("prot: 80\nport: many")
        await works.opened()

        status = await works.status()
        assert (status.state, status.reason) == (State.FAILED, "repository-file-invalid")
        assert status.message.startswith("Failed while")
        assert len(status.lines) == 2
        assert any(
            line.startswith('line 1: prot: unknown key; did you mean "port"?') for line in status.lines
        )
        assert works.builds == []

    async def test_that_says_what_it_may_not(self) -> None:
        async with Works([replace(READER, repository_file_keys=frozenset({"port"}))]).open() as works:
            works.file("port: 80\ncommand: run")
            await works.opened()

            status = await works.status()
            assert status.reason == "repository-file-invalid"
            assert "line 2: command: isn't allowed in this file" in status.lines[0]

    async def test_isnt_read_where_none_is_named(self) -> None:
        async with Works([replace(READER, repository_file="")]).open() as works:
            works.file("nonsense")
            await works.opened()

            await works.assert_live()

    async def test_an_empty_one_says_nothing(self, works: Works) -> None:
        works.file("")
        await works.opened()

        await works.assert_live()

    @pytest.mark.attack(
        "A symbolic link to a file of the machine instead of `.stager.yml`",
        profile="repository's own code",
        result="refused; links in commits aren't followed",
    )
    @pytest.mark.parametrize("name", [".stager.yml", ".stager.yaml"])
    async def test_a_link_is_refused(self, works: Works, name: str) -> None:
        works.sources.add(URL, "a1", {"Dockerfile": "", name: Link("/etc/passwd")})
        await works.opened()

        status = await works.status()
        assert (status.state, status.reason) == (State.FAILED, "not-a-plain-file")
        assert name in status.message

    @pytest.mark.parametrize(
        ("configured", "there", "port"),
        [
            (".stager.yml", ".stager.yaml", 4000),
            ("ci/preview.yaml", "ci/preview.yml", 4000),
            ("preview.conf", "preview.yml", 3000),
        ],
    )
    async def test_either_ending_will_do(self, configured: str, there: str, port: int) -> None:
        async with Works([replace(READER, repository_file=configured)]).open() as works:
            works.sources.add(URL, "a1", {"Dockerfile": "", there: "port: 4000"})
            await works.opened()

            assert (await works.spec()).container.port == port

    async def test_both_endings_are_refused(self, works: Works) -> None:
        files = {"Dockerfile": "", ".stager.yml": "port: 1", ".stager.yaml": "port: 1"}
        works.sources.add(URL, "a1", files)
        await works.opened()

        status = await works.status()
        assert (status.state, status.reason) == (State.FAILED, "repository-file-ambiguous")
        assert ".stager.yml and .stager.yaml" in status.message

    async def test_its_settings_count_until_the_next_deployment(self, works: Works) -> None:
        """A lost instance comes back as it was, though the forge can't be read by then."""
        works.file("port: 4000\nenv: {A: b}")
        await works.opened()
        before = await works.spec()
        works.forge.fault_mode, works.sources.fault_mode = FaultMode.FAILING, SourceFaultMode.AWAY
        works.engine.lose((await works.assert_live()).id)
        await works.rest()

        after = await works.spec()
        assert (after.container, after.variables, after.image) == (
            before.container,
            before.variables,
            before.image,
        )
        assert works.builds == ["a1"]

    async def test_an_image_that_is_lost_as_well_is_built_again(self, works: Works) -> None:
        await works.opened()
        instance, deployment = await works.assert_live(), await works.deployment()
        works.engine.lose(instance.id)
        works.builder.lose(deployment.build)
        await works.rest()

        await works.assert_live()
        assert works.builds == ["a1", "a1"]


class TestForks:
    SECRETIVE = replace(
        READER,
        variables={"MODE": "stage"},
        secrets={"TOKEN": "hunter2"},
        build=Recipe(arguments={"A": "1"}, secrets={"npm": "hunter3"}),
    )

    async def test_get_no_secrets(self) -> None:
        async with Works([self.SECRETIVE]).open() as works:
            await works.opened_by_fork()

            spec, [order] = await works.spec(), works.builder.orders
            assert spec.variables["MODE"] == "stage"
            assert spec.variables["STAGER_TRUST"] == "fork"
            assert "TOKEN" not in spec.variables
            assert order.recipe == Recipe(arguments={"A": "1"})
            assert "gets no secrets. Withheld: TOKEN, npm." in works.forge.comments[-1].body

    async def test_the_repositorys_own_do(self) -> None:
        async with Works([self.SECRETIVE]).open() as works:
            await works.opened()

            spec, [order] = await works.spec(), works.builder.orders
            assert spec.variables["TOKEN"] == "hunter2"
            assert order.recipe.secrets == {"npm": "hunter3"}
            assert "secrets" not in works.forge.comments[-1].body

    async def test_an_image_that_was_built_with_secrets_is_no_forks(self) -> None:
        """The same commit, from the repository and from a fork, is two images."""
        async with Works([self.SECRETIVE]).open() as works:
            await works.opened("a1")
            await works.opened_by_fork("a1")

            assert [order.recipe.secrets for order in works.builder.orders] == [{"npm": "hunter3"}, {}]
            assert [order.untrusted for order in works.builder.orders] == [False, True]


class TestPort:
    @pytest.mark.parametrize(
        ("configured", "file", "exposed", "port"),
        [
            (None, "", ImageFacts((80, 3000), first=3000), 3000),
            (None, "", ImageFacts((3000,)), 3000),
            (None, "port: 4000", ImageFacts((80, 3000)), 4000),
            (None, "port: 4000", ImageFacts(), 4000),
            (5000, "", ImageFacts((3000,), 3000), 5000),
            (5000, "", ImageFacts((80, 3000)), 5000),
            (5000, "", ImageFacts(), 5000),
            (5000, "port: 4000", ImageFacts((3000,)), 4000),
        ],
    )
    async def test_who_says_it(
        self, configured: int | None, file: str, exposed: ImageFacts, port: int
    ) -> None:
        async with Works([replace(READER, port=configured)]).open() as works:
            works.file(file)
            works.builder.default = Result(facts=exposed)
            await works.opened()

            instance = await works.assert_live()
            assert works.engine.spec(instance.id).container.port == port
            assert instance.endpoint
            assert instance.endpoint.port == port

    async def test_the_application_learns_it(self) -> None:
        async with Works([replace(READER, variables={"DEBUG": "1"})]).open() as works:
            await works.opened()

            instance = await works.assert_live()
            variables = works.engine.variables(instance.id)
            assert (variables["PORT"], variables["STAGER_PORT"]) == ("3000", "3000")

    @pytest.mark.parametrize("where", ["configuration", "file", "image"])
    async def test_its_variable_gives_way(self, where: str) -> None:
        app = replace(READER, variables={"PORT": "1"} if where == "configuration" else {})
        async with Works([app]).open() as works:
            works.file("env: {PORT: 1}" if where == "file" else "")
            program = Program(variables={"PORT": "1"} if where == "image" else {})
            works.builder.default = Result(facts=EXPOSED, program=program)
            await works.opened()

            variables = works.engine.variables((await works.assert_live()).id)
            assert (variables["PORT"], variables["STAGER_PORT"]) == ("1", "3000")

    async def test_unknown(self, works: Works) -> None:
        works.builder.default = Result()
        await works.opened()

        status = await works.status()
        assert (status.state, status.reason) == (State.FAILED, "port-unknown")
        assert "EXPOSE" in status.hint
        assert works.engine.there() == []

    async def test_several_of_the_base_image(self, works: Works) -> None:
        works.builder.default = Result(facts=ImageFacts((80, 443)))
        await works.opened()

        status = await works.status()
        assert (status.state, status.reason) == (State.FAILED, "port-ambiguous")
        assert "(80, 443)" in status.message
        assert "`port`" in status.hint

    async def test_udp_alone(self, works: Works) -> None:
        works.builder.default = Result(facts=ImageFacts(others=("53/udp",)))
        await works.opened()

        status = await works.status()
        assert (status.state, status.reason) == (State.FAILED, "port-unknown")
        assert "(only 53/udp)" in status.message

    async def test_of_no_answer_names_it(self, works: Works) -> None:
        works.builder.default = Result(facts=EXPOSED, program=Program(status=None))
        await works.opened()

        status = await works.status()
        assert status.reason == "no-answer"
        assert "on port 3000" in status.message


class TestHealthcheck:
    CHECKED = ImageFacts((3000,), has_healthcheck=True)

    @pytest.mark.parametrize("healthy", [True, False])
    async def test_of_the_image_is_used(self, works: Works, healthy: bool) -> None:
        works.builder.default = Result(facts=self.CHECKED, program=Program(healthy=healthy))
        await works.opened()

        status = await works.status()
        assert status.state is (State.LIVE if healthy else State.FAILED)
        if not healthy:
            assert status.reason == "unhealthy"
            assert "`health_path`" in status.hint

    async def test_that_fails_is_shown_with_its_last_output(self, works: Works) -> None:
        program = Program(healthy=False, output="booting", check_output="no table")
        works.builder.default = Result(facts=self.CHECKED, program=program)
        await works.opened()

        assert (await works.status()).lines == ("booting", "The HEALTHCHECK printed:", "no table")

    async def test_that_cant_be_run_doesnt_count_and_is_noted(self, works: Works) -> None:
        program = Program(healthy=False, checkable=False, check_output="sh: curl: not found")
        works.builder.default = Result(facts=self.CHECKED, program=program)
        await works.opened()

        await works.assert_live()
        status = await works.status()
        assert (status.state, status.reason) == (State.LIVE, "")
        assert "curl: not found" in status.hint
        assert "HEALTHCHECK can't be run" in works.forge.comments[-1].body

    async def test_that_never_ends_isnt_a_wrong_status(self, works: Works) -> None:
        program = Program(healthy=True, check_seconds=3600)
        works.builder.default = Result(facts=self.CHECKED, program=program)
        await works.opened()

        assert (await works.status()).reason == "unhealthy"

    async def test_is_run_at_once_and_then_each_second(self, works: Works) -> None:
        works.builder.default = Result(facts=self.CHECKED, program=Program(healthy=True))
        await works.deliver(works.forge.open(works.repository, "feature-x", "a1"))
        await works.rest(0.5)
        await works.assert_live()

        works.builder.default = Result(facts=self.CHECKED, program=Program(healthy=False))
        await works.deliver(works.forge.open(works.repository, "feature-y", "a2"))
        await works.rest(10)
        assert 9 <= len(works.engine.asked) - 1 <= 12

    async def test_is_left_to_stager_alone(self, works: Works) -> None:
        works.builder.default = Result(facts=self.CHECKED, program=Program(healthy=True))
        await works.opened()

        assert (await works.spec()).container.has_healthcheck

    async def test_isnt_where_there_is_none(self, works: Works) -> None:
        works.builder.default = Result(facts=EXPOSED, program=Program(healthy=False))
        await works.opened()

        await works.assert_live()
        assert not (await works.spec()).container.has_healthcheck

    @pytest.mark.parametrize(
        ("file", "configured", "asked"),
        [("", None, "/up"), ("health_path: /file", None, "/file"), ("", "/configured", "/configured")],
    )
    async def test_of_a_detected_framework_counts_where_none_is_set(
        self, file: str, configured: str | None, asked: str
    ) -> None:
        async with Works([replace(READER, health_path=configured)]).open() as works:
            works.file(file)
            works.builder.default = Result(facts=replace(EXPOSED, health_path="/up"))
            await works.opened()

            await works.assert_live()
            assert {path for _, path in works.engine.asked} == {asked}

    @pytest.mark.parametrize("where", ["file", "configuration"])
    async def test_counts_less_than_a_health_path(self, where: str) -> None:
        app = replace(READER, health_path="/up" if where == "configuration" else None)
        async with Works([app]).open() as works:
            works.file("health_path: /up" if where == "file" else "")
            works.builder.default = Result(facts=self.CHECKED, program=Program(healthy=False))
            await works.opened()

            await works.assert_live()
            assert {path for _, path in works.engine.asked} == {"/up"}

    async def test_is_waited_for(self, works: Works) -> None:
        works.builder.default = Result(facts=self.CHECKED, program=Program(healthy=False))
        await works.deliver(works.forge.open(works.repository, "feature-x", "a1"))
        await works.rest(30)
        [instance] = works.engine.there()
        works.engine.change(instance.id, Program(healthy=True))
        await works.rest(5)

        await works.assert_live()


class TestHooks:
    HOOKED = replace(
        BUILT,
        hooks=Hooks(
            after_launch=(Hook(("bin/migrate",)), Hook(("bin/seed", "--small data"))),
            before_kill=(Hook(("bin/bye",)),),
        ),
    )

    @pytest.fixture
    async def works(self) -> AsyncIterator[Works]:
        async with Works([self.HOOKED]).open() as opened:
            yield opened

    def ran(self, works: Works) -> list[str]:
        return [" ".join(command) for _, command in works.engine.ran]

    async def test_run_once_it_answers_and_before_anybody_is_sent_there(self, works: Works) -> None:
        works.engine.delays["run"] = 10
        await works.deliver(works.forge.open(works.repository, "feature-x", "a1"))
        await works.rest(15)
        assert self.ran(works) == ["bin/migrate"]
        assert works.engine.asked
        assert works.served((await works.the()).host) is None
        await works.rest(10)

        await works.assert_live()
        assert self.ran(works) == ["bin/migrate", "bin/seed --small data"]

    async def test_once_for_each_deployment(self, works: Works) -> None:
        event = await works.opened()
        await works.deliver(works.forge.push(event, "b2"))
        await works.rest()

        assert len(self.ran(works)) == 4
        assert len({instance for instance, _ in works.engine.ran}) == 2

    async def test_not_again_when_it_crashed_and_was_started_again(self, works: Works) -> None:
        await works.opened()
        works.engine.end((await works.assert_live()).id, 1)
        await works.rest()

        await works.assert_live()
        assert len(self.ran(works)) == 2

    async def test_again_in_an_instance_that_takes_the_place_of_a_lost_one(self, works: Works) -> None:
        """What they did was done in the other one."""
        await works.opened()
        works.engine.lose((await works.assert_live()).id)
        await works.rest()

        new = await works.assert_live()
        assert [command[0] for instance, command in works.engine.ran if instance == new.id] == [
            "bin/migrate",
            "bin/seed",
        ]

    async def test_one_that_fails_is_shown(self, works: Works) -> None:
        works.builder.default = Result(
            facts=EXPOSED, program=Program(inner={"bin/seed": Inner(3, "seeding\nno such table")})
        )
        await works.opened()

        status = await works.status()
        assert (status.state, status.reason) == (State.FAILED, "hook-failed")
        assert "after_launch hook `bin/seed '--small data'` ended with exit code 3" in status.message
        assert status.lines == ("seeding", "no such table")
        assert works.engine.there() == []
        assert (await works.page()).state == "failed"

    async def test_one_that_is_killed_names_the_memory_limit(self, works: Works) -> None:
        program = Program(inner={"bin/migrate": Inner(137)})
        works.builder.default = Result(facts=EXPOSED, program=program)
        await works.opened()

        assert "`memory`" in (await works.status()).hint

    async def test_the_rest_isnt_run_then(self, works: Works) -> None:
        works.builder.default = Result(facts=EXPOSED, program=Program(inner={"bin/migrate": Inner(1)}))
        await works.opened()

        assert self.ran(works) == ["bin/migrate"]

    async def test_one_that_fails_leaves_the_old_one_serving(self, works: Works) -> None:
        event = await works.opened()
        works.builder.results["b2"] = Result(facts=EXPOSED, program=Program(inner={"bin/migrate": Inner(1)}))
        await works.deliver(works.forge.push(event, "b2"))
        await works.rest()

        await works.assert_live(generation=1)
        assert (await works.status()).state is State.FAILED_UPDATE

    async def test_before_the_end(self, works: Works) -> None:
        event = await works.opened()
        works.engine.ran.clear()
        works.engine.delays["run"] = 10
        await works.deliver(works.forge.close(event))
        await works.rest(5)
        assert works.served((await works.the()).host) is not None
        await works.rest()

        assert self.ran(works) == ["bin/bye"]
        await works.assert_gone()

    async def test_not_before_a_refresh(self, works: Works) -> None:
        event = await works.opened()
        await works.deliver(works.forge.push(event, "b2"))
        await works.rest()

        assert "bin/bye" not in self.ran(works)

    async def test_one_that_fails_before_the_end_prevents_nothing(self, works: Works) -> None:
        works.builder.default = Result(facts=EXPOSED, program=Program(inner={"bin/bye": Inner(1)}))
        event = await works.opened()
        await works.deliver(works.forge.close(event))
        await works.rest()

        await works.assert_gone()

    async def test_a_push_while_one_runs_cancels_it(self, works: Works) -> None:
        works.engine.delays["run"] = 100
        event = works.forge.open(works.repository, "feature-x", "a1")
        await works.deliver(event)
        await works.rest(50)
        works.engine.delays.clear()
        await works.deliver(works.forge.push(event, "b2"))
        await works.rest(20)

        assert (await works.spec()).labels.revision.sha == "b2"


class TestImageOfTheCommit:
    """It is built elsewhere: its name has the commit's id."""

    APP = replace(SHOP, image="acme/shop:{sha}", owner="acme", image_timeout=600.0)

    @pytest.fixture
    async def works(self) -> AsyncIterator[Works]:
        async with Works([self.APP]).open() as opened:
            yield opened

    async def test_that_is_there(self, works: Works) -> None:
        image = works.engine.add_image("acme/shop:a1")
        await works.opened()

        assert (await works.spec()).image == image
        assert works.builds == []

    async def test_is_waited_for(self, works: Works) -> None:
        await works.opened()
        status = await works.status()
        assert (status.state, status.reason) == (State.STARTING, "image-awaited")
        assert status.message == "The image acme/shop:a1 doesn't exist yet. Trying again."
        assert (await works.page()).message == status.message
        works.engine.add_image("acme/shop:a1")
        await works.rest(61)

        await works.assert_live()

    async def test_then_given_up(self, works: Works) -> None:
        await works.opened()
        await works.rest(400)

        status = await works.status()
        assert (status.state, status.reason) == (State.FAILED, "image-missing")

    async def test_the_old_one_serves_meanwhile(self, works: Works) -> None:
        works.engine.add_image("acme/shop:a1")
        event = await works.opened()
        await works.deliver(works.forge.push(event, "b2"))
        await works.rest(1_000)

        await works.assert_live(generation=1)
        assert (await works.status()).state is State.FAILED_UPDATE

    async def test_of_a_branch_launched_manually(self, works: Works) -> None:
        works.sources.add(URL, "c3", {}, "refs/heads/main")
        works.engine.add_image("acme/shop:c3")
        await works.launch("main")
        await works.rest()

        assert (await works.spec()).labels.revision.sha == "c3"


class TestFailing:
    async def test_is_shown_with_its_lines(self, works: Works) -> None:
        works.builder.default = Result(failure=BROKEN)
        await works.opened()

        status, page = await works.status(), await works.page()
        assert (status.state, status.reason) == (State.FAILED, "build-failed")
        assert status.message == "The step RUN make failed."
        assert status.lines == ("#2 RUN make", "no such target")
        assert (page.state, page.message, page.lines) == ("failed", status.message, status.lines)
        assert works.engine.there() == []

    async def test_isnt_tried_again_by_itself(self, works: Works) -> None:
        works.builder.default = Result(failure=BROKEN)
        await works.opened()
        await works.rest(3_600)

        assert works.builds == ["a1"]

    async def test_leaves_the_old_one_serving(self, works: Works) -> None:
        event = await works.opened()
        works.builder.results["b2"] = Result(failure=BROKEN)
        await works.deliver(works.forge.push(event, "b2"))
        await works.rest()

        await works.assert_live(generation=1)
        assert (await works.status()).state is State.FAILED_UPDATE
        [comment] = works.forge.comments
        assert "no such target" in comment.body

    async def test_a_redeploy_tries_again(self, works: Works) -> None:
        works.builder.default = Result(failure=BROKEN)
        await works.opened()
        works.builder.default = Result(facts=EXPOSED)
        await works.running.commands.redeploy((await works.the()).id, ANN)
        await works.rest()

        await works.assert_live()
        assert works.builds == ["a1", "a1"]

    @pytest.mark.parametrize(
        ("mode", "reason"),
        [(SourceFaultMode.REFUSING, "source-refused"), (SourceFaultMode.LARGE, "source-too-large")],
    )
    async def test_to_fetch_the_commit(self, works: Works, mode: SourceFaultMode, reason: str) -> None:
        works.sources.fault_mode = mode
        await works.opened()

        status = await works.status()
        assert (status.state, status.reason) == (State.FAILED, reason)

    async def test_a_commit_that_is_gone(self) -> None:
        async with Works([READER]).open() as works:
            works.sources._everywhere = None
            await works.opened()

            assert (await works.status()).reason == "commit-missing"


class TestAway:
    """What Stager needs doesn't answer: that is shown, and gets better by itself."""

    async def test_the_repositorys_host(self, works: Works) -> None:
        works.sources.fault_mode = SourceFaultMode.AWAY
        await works.opened()
        status, page = await works.status(), await works.page()
        assert (status.settled, status.reason) == (False, "source-away")
        assert page.state == "starting"
        assert page.message == "The repository's host doesn't answer. Trying again."
        works.sources.fault_mode = SourceFaultMode.WELL
        await works.rest(61)

        await works.assert_live()

    async def test_the_forge_that_gives_the_credentials(self, works: Works) -> None:
        event = works.forge.open(works.repository, "feature-x", "a1")
        works.forge.fault_mode = FaultMode.FAILING
        await works.deliver(event)
        await works.rest()
        assert (await works.page()).message == "The forge can't be reached. Trying again."
        works.forge.fault_mode = FaultMode.WELL
        await works.rest(61)

        await works.assert_live()

    async def test_the_engine_while_it_builds(self, works: Works) -> None:
        works.builder.default = Result(facts=EXPOSED, seconds=100)
        await works.deliver(works.forge.open(works.repository, "feature-x", "a1"))
        await works.rest(50)
        works.engine.leave()
        await works.rest(100)
        works.engine.come_back()
        await works.rest()

        await works.assert_live()

    async def test_the_front_costs_no_build(self, works: Works) -> None:
        """Only the page can't be shown meanwhile."""
        works.builder.default = Result(facts=EXPOSED, seconds=100)
        await works.deliver(works.forge.open(works.repository, "feature-x", "a1"))
        await works.rest(10)
        works.router.leave()
        for number in range(40):
            await works.say(f"line {number}")
            await works.rest(2)
        works.router.come_back()
        await works.rest()

        await works.assert_live()
        assert works.builds == ["a1"]


class TestPages:
    async def test_show_the_place_in_the_queue(self) -> None:
        async with Works([READER], at_once=1).open() as works:
            works.builder.default = Result(facts=EXPOSED, seconds=100)
            for number in range(4):
                await works.deliver(works.forge.open(works.repository, f"branch-{number}", f"a{number}"))
                await works.rest(2)
            told = [works.target(e.host) for e in await works.environments()]

            assert [page.message for page in told if isinstance(page, Page)] == [
                "",
                "The build is the next in the queue.",
                "The build is queued; 1 build is before it.",
                "The build is queued; 2 builds are before it.",
            ]
            await works.rest(101)
            assert [(page.state, page.place) for page in told if isinstance(page, Page)] == [
                ("building", 0),
                ("queued", 1),
                ("queued", 2),
                ("queued", 3),
            ]
            page = works.target("branch-3.preview.test")
            assert isinstance(page, Page)
            assert page.message == "The build is queued; 1 build is before it."

    async def test_show_the_last_lines_as_they_come(self, works: Works) -> None:
        works.builder.default = Result(facts=EXPOSED, seconds=100, lines=("#1 FROM base", "#2 RUN make"))
        await works.deliver(works.forge.open(works.repository, "feature-x", "a1"))
        await works.rest(PAGE_INTERVAL + 1)
        page = await works.page()
        assert (page.state, page.stage, page.lines_title) == ("building", "building", "Build log")
        assert page.lines == ("Fetching commit a1", "#1 FROM base", "#2 RUN make")
        await works.say("#2 DONE")
        await works.rest(PAGE_INTERVAL)

        assert (await works.page()).lines[-1] == "#2 DONE"

    @pytest.mark.attack(
        "Read the log of a build on the page of a public preview with `public_logs: false`",
        profile="visitor",
        result="the page has no line of a log; people who may read logs find it on Stager's own page",
    )
    @pytest.mark.parametrize("privacy", [None, Privacy(frozenset({"sign-in"}))])
    async def test_have_no_lines_where_the_log_isnt_public(self, privacy: Privacy | None) -> None:
        async with Works([replace(READER, public_logs=False, privacy=privacy)]).open() as works:
            works.builder.default = Result(
                facts=EXPOSED, seconds=100, lines=("#1 FROM base",), failure=BROKEN
            )
            await works.deliver(works.forge.open(works.repository, "feature-x", "a1"))
            await works.rest(PAGE_INTERVAL + 1)
            building = await works.page()
            await works.rest(101)
            failed = await works.page()

            assert (building.state, failed.state) == ("building", "failed")
            shown = bool(building.lines), bool(failed.lines)
            assert shown == ((True, True) if privacy else (False, False))
            assert (await works.status()).lines, "people who may read logs see it"

    async def test_arent_changed_for_each_line(self, works: Works) -> None:
        shown: list[str] = []
        works.builder.default = Result(facts=EXPOSED, seconds=10, lines=("line",) * 500)
        update = works.router.update

        async def counting(*arguments: Any) -> Any:
            shown.append(str(arguments))
            return await update(*arguments)

        works.router.update = counting  # type: ignore[method-assign, assignment]
        await works.opened()

        assert len(shown) < 20

    async def test_say_what_the_status_says(self, works: Works) -> None:
        works.builder.default = Result(facts=EXPOSED, seconds=100)
        await works.deliver(works.forge.open(works.repository, "feature-x", "a1"))
        await works.rest(10)
        environment, deployment = await works.the(), await works.deployment()
        status = live_status(environment, deployment, works.running.control_plane.builds.queue)

        page = await works.page()
        assert (page.state, page.lines) == (status.state, status.lines)
        assert status.state is State.BUILDING
        assert live_status(environment, deployment, None).lines == ()


class TestRestart:
    async def test_a_build_under_way_begins_again(self, works: Works) -> None:
        works.builder.default = Result(facts=EXPOSED, seconds=100)
        await works.deliver(works.forge.open(works.repository, "feature-x", "a1"))
        await works.rest(50)
        await works.kill()
        await works.start()

        await works.assert_live()
        assert works.builds == ["a1", "a1"]

    async def test_what_is_live_is_left_alone(self, works: Works) -> None:
        await works.opened()
        before = await works.assert_live()
        await works.kill()
        await works.start()

        assert (await works.assert_live()).id == before.id
        assert works.builds == ["a1"]


class TestSweep:
    async def test_only_what_isnt_needed_is_removed(self, works: Works) -> None:
        event = await works.opened()
        old = (await works.spec()).image
        await works.deliver(works.forge.push(event, "b2"))
        await works.rest(1_300)
        assert works.engine.has_image(old), "it may be rolled back to"
        event = works.forge.push(event, "c3")
        await works.deliver(event)
        await works.rest(1_300)
        new = (await works.spec()).image
        assert not works.engine.has_image(old)
        assert works.engine.has_image(new)
        log = works.running.control_plane.builds.queue.log_of((await works.deployment()).build)  # type: ignore[union-attr]
        assert log
        await works.deliver(works.forge.close(event))
        await works.rest(1_300)

        assert not works.engine.has_image(new)
