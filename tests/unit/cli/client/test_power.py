"""`stager sleep` and `wake`, against a server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from stager.auth.basic import BasicAuthentication
from stager.control.identity.authorizer import Roles
from stager.domain.identity.roles import Role
from tests.unit.cli.client.conftest import Run
from tests.unit.cli.client.served import Served, served
from tests.unit.control.harness import Harness


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    harness = Harness(
        authentication=[BasicAuthentication({"ann": "secret"})], roles=Roles({"basic:ann": Role.DEVELOPER})
    )
    with served(harness) as stager:
        yield stager
    structlog.reset_defaults()


@pytest.fixture
def stager(server: Served, run: Run, monkeypatch: pytest.MonkeyPatch) -> Served:
    """The server, with a preview that is live, for somebody who is signed in."""
    monkeypatch.setenv("STAGER_USERNAME", "ann")
    monkeypatch.setenv("STAGER_PASSWORD", "secret")
    assert run("configure", f"endpoint={server.url}", "auth_strategy=Basic").exit_code == 0
    assert run("launch", "shop", "x", "--no-open").exit_code == 0
    return server


def test_sleep_and_wake(stager: Served, run: Run) -> None:
    slept = run("sleep", "x")
    assert (slept.exit_code, slept.stderr) == (0, "x is asleep. The next visit wakes it.\n")
    assert "asleep" in run("show", "x").stdout
    woken = run("wake", "x")
    assert (woken.exit_code, woken.stdout) == (0, "http://x.preview.test\n")
    assert "live" in run("show", "x").stdout


def test_an_open_request_keeps_it_awake(stager: Served, run: Run) -> None:
    visit = stager.harness.router.visit("x.preview.test")
    stager.call(visit.__aenter__)
    slept = run("sleep", "x")
    stager.call(lambda: visit.__aexit__(None, None, None))
    assert slept.exit_code == 1
    assert "x stays awake, because a request to it is open." in slept.stderr
