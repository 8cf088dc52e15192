"""Previews of several services: brought up in their order, refreshed, degraded, removed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from stager.checks.services import VolumeCheck
from stager.domain.application import Application
from stager.domain.attempt import ServiceFailure
from stager.domain.environment import Environment, Instance, InstanceState
from stager.domain.errors import Fault, Outcome
from stager.domain.recipe import Recipe
from stager.domain.route import Endpoint, Health, Page
from stager.domain.service import (
    UNBOUNDED_VOLUMES,
    Condition,
    Mount,
    ServiceCheck,
    ServiceSpec,
    generated,
)
from stager.domain.stack import USUAL_NAMES, StackDeclaration
from stager.domain.status import State
from stager.ports.builder import ImageFacts
from stager.ports.diagnostics import Verdict
from stager.ports.store import Transaction
from stager.testing import MemoryStore, Program
from stager.testing.fakes.builder import Result
from stager.testing.fakes.program import Inner
from tests.unit.control.builds.test_images import BUILT, URL, Works
from tests.unit.control.harness import ANN, SHOP, Harness

DB = ServiceSpec(
    "db",
    image="postgres:16",
    variables={"POSTGRES_PASSWORD": generated("DB")},
    provides={"DATABASE_URL": f"postgres://app:{generated('DB')}@db/app"},
    check=ServiceCheck(command=("pg_isready",)),
    mounts=(Mount("/var/lib/postgresql/data", volume="data"),),
)
ADMIN = ServiceSpec("admin", image="adminer:5", port=8080)


def with_services(*services: ServiceSpec, app: Application = SHOP, **settings: object) -> Application:
    declared = StackDeclaration(services, **settings)  # type: ignore[arg-type]
    return replace(app, declared=declared)


def add_images(harness: Harness) -> None:
    for image in ("postgres:16", "postgres:17", "adminer:5", "adminer:6"):
        harness.engine.add_image(image)


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    made = Harness([with_services(DB, ADMIN)])
    add_images(made)
    async with made.open() as opened:
        yield opened


def by_service(harness: Harness, environment: Environment) -> dict[str, Instance]:
    return {instance.service: instance for instance in harness.engine.there(environment.id)}


def assert_served(harness: Harness, environment: Environment) -> dict[str, Instance]:
    """Each of the three services runs once, and the two routed ones serve at their hosts."""
    instances = by_service(harness, environment)
    assert len(harness.engine.there(environment.id)) == len(instances) == 3
    assert harness.served(environment.host) == instances["web"]
    assert harness.served(f"admin--{environment.host}") == instances["admin"]
    return instances


class TestLaunch:
    async def test_all_services_run_and_the_routed_ones_have_a_host(self, harness: Harness) -> None:
        environment = await harness.launch("x")
        await harness.rest()

        instances = assert_served(harness, environment)
        assert (await harness.status()).state is State.LIVE
        for one in instances.values():
            assert instances["db"].id in harness.engine.reached(one.id, "db")

    async def test_a_service_starts_once_what_it_depends_on_is_healthy(self, harness: Harness) -> None:
        harness.engine.add_image("postgres:16", Program(inner={"pg_isready": Inner(exit_code=2)}))
        environment = await harness.launch("x")
        await harness.rest(10)
        assert by_service(harness, environment).keys() == {"db", "admin"}

        db = by_service(harness, environment)["db"]
        harness.engine.change(db.id, Program())
        await harness.rest(10)
        assert_served(harness, environment)

    async def test_code_gets_what_services_provide_and_images_only_their_own(self, harness: Harness) -> None:
        environment = await harness.launch("x", GREETING="hallo")
        await harness.rest()

        instances = by_service(harness, environment)
        web, db = (harness.engine.variables(instances[name].id) for name in ("web", "db"))
        password = db["POSTGRES_PASSWORD"]
        assert len(password) == 32
        assert web["DATABASE_URL"] == f"postgres://app:{password}@db/app"
        assert web["STAGER_URL"] == db["STAGER_URL"] == "http://x.preview.test"
        assert web["STAGER_URL_ADMIN"] == db["STAGER_URL_ADMIN"] == "http://admin--x.preview.test"
        assert web["GREETING"] == "hallo"
        assert "GREETING" not in db
        assert "DATABASE_URL" not in db

    async def test_no_generated_secret_is_stored(self, harness: Harness) -> None:
        environment = await harness.launch("x")
        await harness.rest()

        db = by_service(harness, environment)["db"]
        assert harness.engine.variables(db.id)["POSTGRES_PASSWORD"] not in repr(harness.store._tables)

    async def test_a_service_that_is_never_healthy_fails_the_launch_and_is_named(
        self, harness: Harness
    ) -> None:
        harness.engine.add_image("postgres:16", Program(inner={"pg_isready": Inner(exit_code=2)}))
        environment = await harness.launch("x")
        await harness.rest()

        status = await harness.status()
        assert status.state is State.FAILED
        assert 'The service "db" isn\'t healthy' in status.message
        page = harness.target(environment.host)
        assert isinstance(page, Page)
        assert page.message == status.message
        assert isinstance(harness.target(f"admin--{environment.host}"), Page)


class TestRefresh:
    async def test_a_launch_replaces_only_what_changed(self, harness: Harness) -> None:
        environment = await harness.launch("x")
        await harness.rest()
        before = by_service(harness, environment)
        await harness.launch("x")
        await harness.rest()

        after = assert_served(harness, environment)
        assert (after["db"].id, after["admin"].id) == (before["db"].id, before["admin"].id)
        assert after["web"].id != before["web"].id
        assert after["db"].id in harness.engine.reached(after["web"].id, "db")

    async def test_a_broken_one_leaves_the_old_services_serving(self, harness: Harness) -> None:
        environment = await harness.launch("x")
        await harness.rest()
        before = {i.id for i in by_service(harness, environment).values()}
        harness.engine.add_image("acme/shop:1", Program(exit_code=1))
        await harness.launch("x")
        await harness.rest()

        assert {i.id for i in assert_served(harness, environment).values()} == before
        assert (await harness.status()).state is State.FAILED_UPDATE

    async def test_the_old_revision_is_removed_although_the_database_was_lost(self, harness: Harness) -> None:
        """Its deployment isn't prepared any more, and the front still leads to a service that both use."""
        environment = await harness.launch("x")
        await harness.rest()
        harness.engine.delays["answers"] = 5.0
        await harness.launch("x")
        await harness.rest(2)
        assert [i.generation for i in harness.engine.there() if i.service == "web"] == [1, 2]
        await harness.kill()
        harness.store = MemoryStore()
        await harness.start()
        await harness.rest()

        assert assert_served(harness, environment)["web"].generation == 2

    async def test_a_removed_service_loses_its_host(self, harness: Harness) -> None:
        environment = await harness.launch("x")
        await harness.rest()
        await harness.kill()
        harness.applications = [with_services(DB)]
        await harness.start()
        await harness.launch("x")
        await harness.rest()

        assert by_service(harness, environment).keys() == {"web", "db"}
        assert harness.target(f"admin--{environment.host}") is None
        assert await harness.store.read(lambda tx: tx.all_service_hosts()) == {}

    async def test_a_stateful_service_keeps_its_volume_when_it_is_replaced(self, harness: Harness) -> None:
        environment = await harness.launch("x")
        await harness.rest()
        before = by_service(harness, environment)
        await harness.kill()
        harness.applications = [with_services(replace(DB, image="postgres:17"), ADMIN)]
        await harness.start()
        await harness.launch("x")
        await harness.rest()

        after = assert_served(harness, environment)
        assert after["db"].id != before["db"].id
        assert harness.engine.volume_names == {(environment.id, "data", 0)}


class TestEnd:
    async def test_a_kill_leaves_nothing(self, harness: Harness) -> None:
        environment = await harness.launch("x")
        await harness.rest()
        await harness.stop("x")
        await harness.rest()

        await harness.assert_gone(environment)
        assert harness.engine.networks == frozenset()
        for host in (environment.host, f"admin--{environment.host}"):
            page = harness.target(host)
            assert isinstance(page, Page)
            assert page.state in {"gone", "stopped"}

    async def test_a_service_that_exits_is_started_again_and_the_preview_stays_live(
        self, harness: Harness
    ) -> None:
        environment = await harness.launch("x")
        await harness.rest()
        db = by_service(harness, environment)["db"]
        harness.engine.end(db.id, 1)
        await harness.rest(0.5)
        assert isinstance(harness.target(environment.host), Endpoint)
        await harness.rest()

        after = assert_served(harness, environment)["db"]
        assert (after.id, after.state) == (db.id, InstanceState.RUNNING)
        assert (await harness.status()).state is State.LIVE


class TestReports:
    async def test_a_deployment_keeps_the_log_of_its_main_service(self, harness: Harness) -> None:
        harness.engine.add_image("acme/shop:1", Program(output="from the application"))
        harness.engine.add_image("postgres:16", Program(output="from the database"))
        environment = await harness.launch("x")
        await harness.rest()
        harness.engine.end(by_service(harness, environment)["db"].id, 1)
        await harness.rest()
        await harness.stop("x")
        await harness.rest()

        assert (await harness.deployment(environment)).log == "from the application"

    async def test_a_silent_service_doesnt_make_the_application_silent(self, harness: Harness) -> None:
        environment = await harness.launch("x")
        await harness.rest()
        harness.router.change(Health(frozenset({f"admin--{environment.host}"})))
        await harness.rest()

        assert (await harness.status()).state is State.LIVE

    async def test_images_of_all_services_are_kept(self) -> None:
        api = ServiceSpec("api", build=Recipe("api"), port=9000)
        async with Works([with_services(api, app=BUILT)]).open() as works:
            await works.opened()
            await works.rest(3_600)

            images = {works.engine.spec(i.id).image for i in works.engine.there()}
            assert len(images) == 2
            assert works.builder.images == images


MIGRATE = ServiceSpec("migrate", image="migrator:1", is_job=True, depends_on={"db": Condition.HEALTHY})


class TestBuilt:
    @pytest.fixture
    async def works(self) -> AsyncIterator[Works]:
        made = Works([with_services(DB, MIGRATE, ServiceSpec("worker", command=("./work",)), app=BUILT)])
        add_images(made)
        made.engine.add_image("migrator:1", Program(exit_code=0))
        made.builder.default = Result(facts=ImageFacts((3000,), first=3000))
        async with made.open() as opened:
            yield opened

    async def test_services_of_one_build_context_are_built_once(self, works: Works) -> None:
        await works.opened()

        assert len(works.builder.orders) == 1
        [environment] = await works.environments()
        instances = by_service(works, environment)
        assert instances.keys() >= {"web", "db", "worker"}
        specs = {name: works.engine.spec(one.id) for name, one in instances.items()}
        assert specs["worker"].image == specs["web"].image
        assert specs["worker"].container.command == ("./work",)
        assert "DATABASE_URL" in works.engine.variables(instances["worker"].id)

    async def test_a_failed_migration_leaves_the_old_revision_serving(self, works: Works) -> None:
        event = await works.opened()
        before = {name: one.run for name, one in by_service(works, await works.the()).items()}
        works.engine.add_image("migrator:1", Program(exit_code=1))
        await works.deliver(works.forge.push(event, "b2"))
        await works.rest()

        environment = await works.the()
        after = {name: one.run for name, one in by_service(works, environment).items()}
        assert after == {name: run for name, run in before.items() if name in after}
        assert works.served(environment.host) == by_service(works, environment)["web"]
        status = await works.status()
        assert status.state is State.FAILED_UPDATE
        assert 'The job "migrate" exited with exit code 1' in status.message
        assert "stays changed" in status.hint

    async def test_a_service_of_a_fork_gets_no_secret_and_no_image_of_its_choice(self) -> None:
        app = replace(
            with_services(DB, ServiceSpec("worker", command=("./work",)), app=BUILT),
            secrets={"TOKEN": "hunter2"},
            service_secrets={"db": {"LICENCE": "hunter3"}, "worker": {"KEY": "hunter4"}},
        )
        async with Works([app]).open() as works:
            add_images(works)
            await works.opened("a1")
            ours = by_service(works, await works.the())
            assert "hunter2" in works.engine.variables(ours["worker"].id).values()
            assert works.engine.variables(ours["db"].id)["LICENCE"] == "hunter3"
            await works.opened_by_fork("f1")
            [_, fork] = await works.environments()
            theirs = by_service(works, fork)
            assert theirs.keys() == {"web", "db", "worker"}
            for instance in theirs.values():
                assert not {"hunter2", "hunter3", "hunter4"} & {*works.engine.variables(instance.id).values()}

    async def test_a_fork_may_not_name_another_image(self) -> None:
        app = with_services(ServiceSpec("miner", image="evil/miner:1"), app=BUILT)
        async with Works([app]).open() as works:
            works.engine.add_image("evil/miner:1")
            await works.opened_by_fork("f1")

            assert (await works.status()).reason == "image-not-allowed"
            assert works.engine.there() == []


COMPOSE = """\
services:
  app:
    build: .
    ports: ["3000"]
    environment: {OWN: "${STAGER_URL}", ADMIN: "${STAGER_URL_ADMIN}"}
    depends_on: [db]
  admin:
    image: adminer:5
    ports: ["8080:8080"]
  db:
    image: postgres:16
    environment: {POSTGRES_PASSWORD: x}
    volumes: ["data:/var/lib/postgresql/data", "./init.sql:/docker-entrypoint-initdb.d/init.sql"]
volumes: {data: }
"""


class TestCompose:
    @pytest.fixture
    async def works(self) -> AsyncIterator[Works]:
        declared = StackDeclaration(compose=USUAL_NAMES)
        app = replace(BUILT, declared=declared, fork_images=("adminer:5", "postgres:16"))
        made = Works([app])
        add_images(made)
        async with made.open() as opened:
            yield opened

    def commit(self, works: Works, sha: str, text: str = COMPOSE, **files: str) -> None:
        tree = {"Dockerfile": "FROM scratch", "compose.yaml": text, "init.sql": "create table t();", **files}
        works.sources.add(URL, sha, tree, *(["refs/heads/main"] if sha == "m1" else []))

    async def test_its_services_run(self, works: Works) -> None:
        self.commit(works, "a1")
        await works.opened("a1")

        environment = await works.the()
        instances = by_service(works, environment)
        assert instances.keys() == {"app", "admin", "db"}
        assert works.served(environment.host) == instances["app"]
        assert works.served(f"admin--{environment.host}") == instances["admin"]
        variables = works.engine.variables(instances["app"].id)
        assert variables["OWN"] == f"http://{environment.host}"
        assert variables["ADMIN"] == f"http://admin--{environment.host}"
        [content] = works.engine.spec(instances["db"].id).content
        assert content.target == "/docker-entrypoint-initdb.d/init.sql"
        assert b"create table t();" in content.archive

    async def test_build_arguments_apply_to_all_services_that_are_built(self) -> None:
        """And what the Compose file builds stays the same."""
        recipe = replace(BUILT.build or Recipe(), arguments={"BASE": "given"})
        app = replace(BUILT, build=recipe, declared=StackDeclaration(compose=USUAL_NAMES))
        text = (
            "services:\n"
            "  app: {build: {context: web, args: {BASE: own, A: b}}, ports: ['8080:8080']}\n"
            "  worker: {build: {context: jobs, args: {BASE: own}}}\n"
        )
        async with Works([app]).open() as works:
            self.commit(works, "a1", text, **{"web/Dockerfile": "FROM x", "jobs/Dockerfile": "FROM x"})
            await works.opened("a1")

            recipes = {order.recipe.context: order.recipe.arguments for order in works.builder.orders}
            assert recipes == {"web": {"BASE": "given", "A": "b"}, "jobs": {"BASE": "given"}}

    async def test_a_push_that_changes_a_mounted_file_replaces_its_service(self, works: Works) -> None:
        self.commit(works, "a1")
        event = await works.opened("a1")
        before = by_service(works, await works.the())
        self.commit(works, "b2", **{"init.sql": "create table u();"})
        await works.deliver(works.forge.push(event, "b2"))
        await works.rest()

        after = by_service(works, await works.the())
        assert after["db"].id != before["db"].id
        assert after["admin"].id == before["admin"].id

    async def test_a_refused_one_says_where_and_why(self, works: Works) -> None:
        self.commit(
            works,
            "a1",
            COMPOSE.replace("    image: adminer:5\n", "    image: adminer:5\n    privileged: true\n"),
        )
        await works.opened("a1")

        status = await works.status()
        assert (status.state, status.reason) == (State.FAILED, "compose-refused")
        assert "compose.yaml:" in status.message
        assert works.engine.there() == []

    GUESSED = COMPOSE.replace("    image: adminer:5\n", "    image: adminer:5\n    tty: true\n")

    async def test_a_refused_one_is_explained_on_its_page_with_guesses_and_ignored_keys(
        self, works: Works
    ) -> None:
        self.commit(works, "a1", self.GUESSED.replace("tty: true", "tty: true\n    privileged: true"))
        await works.opened("a1")

        page = works.target((await works.the()).host)
        assert isinstance(page, Page)
        assert page.lines_title == "What Stager found in the Compose file"
        assert page.lines[0] == "Refused:"
        assert page.lines[1].startswith("  compose.yaml:10: ")
        assert "Guessed:" in page.lines
        assert any(line.startswith("  compose.yaml:9: `tty` of ") for line in page.lines)

    async def test_one_that_doesnt_start_is_explained_beside_its_log(self, works: Works) -> None:
        works.engine.add_image("adminer:5", Program(exit_code=3, output="no memory"))
        self.commit(works, "a1", self.GUESSED)
        await works.opened("a1")

        status = await works.status()
        page = works.target((await works.the()).host)
        assert isinstance(page, Page)
        assert status.findings
        assert any("compose.yaml:9: `tty` of " in line for line in status.findings)
        assert (page.findings, page.lines) == (status.findings, ("no memory",))

    async def test_one_whose_build_fails_is_explained_too(self, works: Works) -> None:
        failure = Fault("RUN make failed.", reason="build-failed")
        works.builder.default = Result(failure=failure)
        self.commit(works, "a1", self.GUESSED)
        await works.opened("a1")

        status = await works.status()
        assert status.reason == "build-failed"
        assert any("compose.yaml:9: `tty` of " in line for line in status.findings)

    async def test_volumes_of_a_fork_are_reported_as_unlimited(self, works: Works) -> None:
        self.commit(works, "m1")
        self.commit(works, "a1")
        await works.opened("a1")
        [finding] = await VolumeCheck(works.store).run()
        assert finding.verdict is Verdict.OK

        self.commit(works, "f1")
        await works.opened_by_fork("f1")
        [ours, fork] = await works.environments()
        [finding] = await VolumeCheck(works.store).run()
        assert finding.verdict is Verdict.WARNING
        assert finding.message == f"{UNBOUNDED_VOLUMES} Previews: {fork.app}, {fork.name}."
        for environment, warnings in ((ours, ()), (fork, (UNBOUNDED_VOLUMES,))):
            deployment = await works.deployment(environment)
            found = works.applications[0].warnings(environment.desired.trust, deployment.specs)
            assert found == warnings

    async def test_that_of_a_fork_is_the_base_branchs(self, works: Works) -> None:
        self.commit(works, "m1")
        evil = "services: {app: {build: ., ports: ['3000'], environment: {EVIL: '1'}}}"
        self.commit(works, "f1", evil)
        await works.opened_by_fork("f1")

        instances = by_service(works, await works.the())
        assert instances.keys() == {"app", "admin", "db"}
        assert "EVIL" not in works.engine.variables(instances["app"].id)

    async def test_that_of_a_fork_takes_effect_once_its_commit_is_approved(self, works: Works) -> None:
        sha = "f1" * 20
        await works.kill()
        works.applications = [replace(works.applications[0], forks="approve")]
        await works.start()
        self.commit(works, "m1")
        self.commit(works, sha, "services: {app: {build: ., ports: ['3000'], environment: {OWN: '1'}}}")
        await works.opened_by_fork(sha)
        assert works.engine.there() == []
        await works.running.commands.approve((await works.the()).id, sha, ANN)
        await works.rest()

        instances = by_service(works, await works.the())
        assert instances.keys() == {"app"}
        assert works.engine.variables(instances["app"].id)["OWN"] == "1"

    async def test_a_commit_without_one_says_so(self, works: Works) -> None:
        await works.opened("a1")

        assert (await works.status()).reason == "compose-missing"


class TestGivenUp:
    async def test_a_service_that_is_given_up_has_a_page_and_the_others_serve(self, harness: Harness) -> None:
        environment = await harness.launch("x")
        await harness.rest()
        failure = ServiceFailure(6, None, Outcome("fault", "crashed", "It exited."), final=True)

        def give_up(tx: Transaction) -> None:
            deployment = tx.deployment_of(environment.id, 1)
            assert deployment
            attempt = replace(deployment.attempt, failed_services={"admin": failure})
            tx.save_deployment(replace(deployment, attempt=attempt))

        await harness.store.write(give_up)
        await harness.kill()
        await harness.start()

        assert harness.served(environment.host) == by_service(harness, environment)["web"]
        assert isinstance(harness.target(f"admin--{environment.host}"), Page)
