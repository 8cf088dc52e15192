"""`stager capacity`: what previews use, and who waits for what."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import structlog

from stager.auth.basic import BasicAuthentication
from stager.domain.allocation import Limit, Limits
from tests.unit.cli.client.conftest import Run
from tests.unit.cli.client.served import USERS, Served, served
from tests.unit.control.harness import Harness


@pytest.fixture
def full() -> Iterator[Served]:
    """A server where one preview may run."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    limits = Limits(host=Limit(running=1, memory=1 << 30), free_disk=1 << 30)
    harness = Harness(authentication=[BasicAuthentication(USERS)], limits=limits, max_previews=5)
    with served(harness) as stager:
        yield stager
    structlog.reset_defaults()


def test_shows_the_queue(full: Served, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    name, password = next(iter(USERS.items()))
    monkeypatch.setenv("STAGER_USERNAME", name)
    monkeypatch.setenv("STAGER_PASSWORD", password)
    assert run("configure", f"endpoint={full.url}", "auth_strategy=Basic").exit_code == 0
    assert "There are no previews." in run("capacity").stderr
    assert run("launch", "shop", "one", "--no-open").exit_code == 0
    assert run("launch", "shop", "two", "--no-wait").exit_code == 0

    lines = run("capacity").stdout.splitlines()
    assert "running:     1 of 1" in lines
    assert "waiting:     1" in lines
    assert "previews:    1 of 5" in lines
    assert "place 1: The limit of 1 running preview is reached." in lines[-1]
    assert json.loads(run("capacity", "--json").stdout)["counts"]["waiting"] == 1
    waited = run("launch", "shop", "two", "--timeout", "1")
    assert waited.exit_code == 6
    assert "number 1 in the queue" in waited.stderr
    assert "queued (place 1)" in run("list").stdout
