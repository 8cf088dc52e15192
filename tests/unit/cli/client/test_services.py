"""Commands on previews of several services."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import structlog

from stager.auth.basic import BasicAuthentication
from stager.testing import Program
from stager.testing.fakes.program import Inner
from tests.unit.cli.client.conftest import Run
from tests.unit.cli.client.served import ROLES, USERS, Served, served
from tests.unit.control.harness import Harness
from tests.unit.control.reconciler.test_services import ADMIN, DB, add_images, with_services


@pytest.fixture
def server() -> Iterator[Served]:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    strategy = BasicAuthentication(USERS)
    harness = Harness([with_services(DB, ADMIN)], authentication=[strategy], roles=ROLES)
    add_images(harness)
    inner = {"psql": Inner(4, "no such table")}
    harness.engine.add_image("postgres:16", Program(output="ready for connections", inner=inner))
    with served(harness) as stager:
        yield stager
    structlog.reset_defaults()


@pytest.fixture(name="shop")
def launched(signed_in: Served, run: Run) -> Served:
    assert run("launch", "shop", "x").exit_code == 0
    return signed_in


def test_logs_of_a_service(shop: Served, run: Run) -> None:
    assert run("logs", "shop", "x", "--service", "db").stdout == "ready for connections\n"
    assert json.loads(run("logs", "x", "-s", "db", "--json").stdout) == ["ready for connections"]
    assert run("logs", "x").stdout == ""
    assert run("logs", "x", "--build", "-s", "db").stderr == "The log is empty.\n"


@pytest.mark.parametrize("command", [("logs", "x"), ("logs", "x", "--follow"), ("logs", "x", "--build")])
def test_a_service_that_does_not_exist_is_named(shop: Served, run: Run, command: tuple[str, ...]) -> None:
    done = run(*command, "--service", "dbb")
    assert done.exit_code == 5
    assert 'This preview has no service "dbb".' in done.stderr


def test_exec_in_a_service(shop: Served, run: Run) -> None:
    done = run("exec", "x", "--service", "db", "--", "psql", "-l")
    assert (done.exit_code, done.stdout) == (4, "no such table\n")
    assert run("exec", "x", "--service", "dbb", "--", "psql").exit_code == 5


def test_exec_in_a_service_needs_the_permission(
    shop: Served, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGER_USERNAME", "bob")
    monkeypatch.setenv("STAGER_PASSWORD", "secret")
    assert run("configure", f"endpoint={shop.url}", "auth_strategy=Basic", "username=bob").exit_code == 0
    assert run("login", "--stdin", stdin="secret\n").exit_code == 0
    for command in (("exec", "x", "-s", "db", "--", "psql"), ("logs", "x", "-s", "db")):
        done = run(*command)
        assert "bob lacks the permission" in done.stderr


def test_show_has_the_volumes_and_their_sizes_on_demand(shop: Served, run: Run) -> None:
    [row] = [line for line in run("show", "x").stdout.splitlines() if line.startswith("db ")]
    assert row.split() == ["db", "healthy", "postgres:16", "data"]
    assert "SIZE" not in run("show", "x").stdout
    lines = run("show", "x", "--volumes").stdout.splitlines()
    assert [line.split() for line in lines if line.startswith("data")] == [
        ["data", "0", "B", "db", "for", "the", "preview's", "life"]
    ]
    found = json.loads(run("show", "x", "--volumes", "--json").stdout)
    assert found["sizes"] == [{"name": "data", "generation": 0, "size": 0, "services": ["db"]}]
    assert "sizes" not in json.loads(run("show", "x", "--json").stdout)


def test_show_and_list(shop: Served, run: Run) -> None:
    shown = run("show", "x").stdout
    assert "SERVICE" in shown
    assert "postgres:16" in shown
    assert "http://admin--x." in shown
    assert [line.split()[:2] for line in shown.splitlines() if "healthy" in line] == [
        ["web", "healthy"],
        ["db", "healthy"],
        ["admin", "healthy"],
    ]
    listed = run("list").stdout
    assert "SERVICES" in listed
    assert "3/3" in listed


def test_exec_is_audited_with_the_service(shop: Served, run: Run) -> None:
    run("exec", "x", "--service", "db", "--", "psql", "secret-argument")
    records = shop.call(lambda: shop.harness.store.read(lambda tx: tx.audit_records(limit=10)))
    assert "x db psql" in [record.subject for record in records]
