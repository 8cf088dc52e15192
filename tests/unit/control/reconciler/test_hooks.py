"""Hooks in the services of a preview, what handlers learn of its services, and their metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from stager.checks.services import ServiceCheck
from stager.control.environments.plugin_api import RunningPreviews
from stager.domain.application import Application
from stager.domain.recipe import Hook, Hooks
from stager.domain.service import ServiceSpec
from stager.domain.service_status import ServiceState
from stager.domain.status import State
from stager.ports.diagnostics import Verdict
from stager.testing import Program
from stager.testing.fakes.program import Inner
from tests.unit.control.harness import Harness
from tests.unit.control.reconciler.test_services import ADMIN, DB, add_images, by_service, with_services

SEED = Hook(("psql", "-f", "seed.sql"), "db")
WARM = Hook(("bin/warm",))
BYE = Hook(("pg_dump",), "db")
STRANGE = ServiceSpec("strange", image="adminer:5")


def hooked(*hooks: Hook, before_kill: tuple[Hook, ...] = (), app: Application | None = None) -> Application:
    return replace(app or with_services(DB, ADMIN), hooks=Hooks(hooks, before_kill))


def ran(harness: Harness) -> list[tuple[str, tuple[str, ...]]]:
    """The hooks that ran, each with its instance; without health checks."""
    return [(instance, command) for instance, command in harness.engine.ran if command != ("pg_isready",)]


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    made = Harness([hooked(WARM, SEED, before_kill=(BYE, Hook(("bin/bye",))))])
    add_images(made)
    async with made.open() as opened:
        yield opened


async def test_each_runs_in_its_service_and_one_of_a_kept_service_at_each_push(harness: Harness) -> None:
    environment = await harness.launch("x")
    await harness.rest()
    first = by_service(harness, environment)
    # The database is healthy before the application starts, so its hook runs first.
    assert ran(harness) == [(first["db"].id, SEED.command), (first["web"].id, WARM.command)]

    await harness.launch("x")
    await harness.rest()
    second = by_service(harness, environment)
    assert second["db"].id == first["db"].id
    assert ran(harness)[2:] == [(first["db"].id, SEED.command), (second["web"].id, WARM.command)]


async def test_one_that_fails_names_its_service_and_keeps_visitors_away(harness: Harness) -> None:
    failing = Program(inner={"psql": Inner(exit_code=3, output="no such table")})
    harness.engine.add_image("postgres:16", failing)
    environment = await harness.launch("x")
    await harness.rest()

    status = await harness.status()
    assert (status.state, status.reason) == (State.FAILED, "hook-failed")
    assert (
        'The after_launch hook `psql -f seed.sql` in the service "db" ended with exit code 3.'
        in status.message
    )
    assert status.lines == ("no such table",)
    assert "web" not in by_service(harness, environment)


async def test_those_before_a_kill_run_in_their_services_also_after_a_failure(harness: Harness) -> None:
    harness.engine.add_image("postgres:16", Program(inner={"pg_dump": Inner(exit_code=1)}))
    environment = await harness.launch("x")
    await harness.rest()
    there = by_service(harness, environment)
    await harness.stop("x")
    await harness.rest()

    assert ran(harness)[-2:] == [(there["db"].id, BYE.command), (there["web"].id, ("bin/bye",))]
    await harness.assert_gone(environment)


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ("dp", 'A hook names the service "dp", which doesn\'t run.'),
        ("migrate", 'A hook names the service "migrate", which is a job: no command can run in it.'),
    ],
)
async def test_one_in_a_service_that_cant_run_it_is_refused(service: str, said: str) -> None:
    job = ServiceSpec("migrate", image="adminer:5", is_job=True)
    app = hooked(Hook(("x",), service), app=with_services(DB, job))
    async with Harness([app]).open() as harness:
        add_images(harness)
        await harness.launch("x")
        await harness.rest()

        status = await harness.status()
        assert (status.state, status.reason) == (State.FAILED, "services-invalid")
        assert said in status.message
        assert status.hint
        assert harness.engine.there() == []


async def test_handlers_get_the_services_with_their_hosts_and_states(harness: Harness) -> None:
    environment = await harness.launch("x")
    await harness.rest()
    [preview] = await RunningPreviews(harness.store, harness.running.urls).running()

    assert [(each.name, each.state, each.host, each.is_main) for each in preview.services] == [
        ("web", ServiceState.HEALTHY, environment.host, True),
        ("db", ServiceState.HEALTHY, "", False),
        ("admin", ServiceState.HEALTHY, f"admin--{environment.host}", False),
    ]
    assert preview.services[0].url == preview.url
    assert preview.services[2].url == f"http://admin--{environment.host}"


async def test_restarts_and_degraded_previews_are_counted_with_names_of_the_configuration_only(
    harness: Harness,
) -> None:
    environment = await harness.launch("x")
    await harness.rest()
    metrics = harness.running.metrics.registry
    queries = harness.running.control_plane.environments.queries
    assert await queries.count_degraded(None) == {}

    harness.engine.end(by_service(harness, environment)["db"].id, 1)
    await harness.rest()
    labels = {"app": "shop", "service": "db"}
    assert metrics.get_sample_value("stager_service_restarts_total", labels) == 1

    db = by_service(harness, environment)["db"]
    harness.engine.change(db.id, Program(exit_code=1))
    harness.engine.end(db.id, 1)
    await harness.rest()
    assert await queries.count_degraded(None) == {"shop": 1}
    assert await queries.count_degraded({"other"}) == {}
    [finding] = await ServiceCheck(harness.store).run()
    assert finding.verdict is Verdict.WARNING
    assert finding.message == 'shop, x: The service "db" exited with exit code 1.'


async def test_the_doctor_finds_nothing_without_failed_services(harness: Harness) -> None:
    await harness.launch("x")
    await harness.rest()
    [finding] = await ServiceCheck(harness.store).run()
    assert finding.verdict is Verdict.OK
