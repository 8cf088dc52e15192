"""Waiting for a commit, as CI does after a push."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
import structlog

from stager.auth.basic import BasicAuthentication
from stager.domain.pull_requests.events import ChangeEvent
from stager.testing import Program
from tests.unit.cli.client.conftest import Run
from tests.unit.cli.client.served import USERS, Served, served
from tests.unit.control.harness import IMAGE, SHOP, Harness

FIRST, SECOND = "a1b2c3d4" * 5, "e5f6a7b8" * 5


@dataclass
class Pull:
    """An open pull request that was delivered to the server."""

    server: Served
    seen: ChangeEvent

    def push(self, sha: str) -> None:
        harness = self.server.harness
        self.server.call(lambda: harness.deliver(harness.forge.push(self.seen, sha)))

    def close(self) -> None:
        harness = self.server.harness
        self.server.call(lambda: harness.deliver(harness.forge.close(self.seen)))


@pytest.fixture
def pull(run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pull]:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    monkeypatch.setenv("STAGER_USERNAME", "ann")
    monkeypatch.setenv("STAGER_PASSWORD", USERS["ann"])
    harness = Harness([replace(SHOP, owner="acme")], authentication=[BasicAuthentication(USERS)])
    with served(harness) as server:
        monkeypatch.setenv("STAGER_ENDPOINT", server.url)
        repository = harness.forge.add_repository("acme", "shop")
        seen = harness.forge.open(repository, "feature", FIRST)
        server.call(lambda: harness.deliver(seen))
        yield Pull(server, seen)
    structlog.reset_defaults()


def test_until_it_is_live(pull: Pull, run: Run) -> None:
    done = run("wait", "shop", "feature", "--sha", FIRST[:7])
    assert (done.exit_code, done.stdout) == (0, "http://feature.preview.test\n")
    assert json.loads(run("wait", "feature", "--json").stdout)["sha"] == FIRST


def test_a_newer_commit_that_replaced_it_is_reported(pull: Pull, run: Run) -> None:
    assert run("wait", "shop", "feature", "--sha", FIRST).exit_code == 0
    pull.push(SECOND)
    assert run("wait", "shop", "feature", "--sha", SECOND).exit_code == 0
    overtaken = run("wait", "shop", "feature", "--sha", FIRST, "--timeout", "5")
    assert overtaken.exit_code == 1
    assert f"{SECOND[:7]} has superseded it" in overtaken.stderr


def test_one_that_isnt_pushed_yet_is_waited_for(pull: Pull, run: Run) -> None:
    done = run("wait", "shop", "feature", "--sha", SECOND, "--timeout", "0.5")
    assert done.exit_code == 6
    assert f"isn't live with {SECOND[:7]} after 0.5 s" in done.stderr


def test_one_that_fails_isnt_shown_with_the_lines_of_the_older_one(pull: Pull, run: Run) -> None:
    assert run("wait", "shop", "feature").exit_code == 0
    [serving] = pull.server.harness.engine.there()
    pull.server.do(lambda: pull.server.harness.engine.print(serving.id, "all is well"))
    program = Program(exit_code=3, output="the database is missing")

    def spoil() -> None:
        pull.server.harness.engine.add_image(IMAGE, program)

    pull.server.do(spoil)
    pull.push(SECOND)
    failed = run("wait", "shop", "feature", "--sha", SECOND, "--timeout", "60")
    assert failed.exit_code == 1
    assert "exited with exit code 3" in failed.stderr
    assert "all is well" not in failed.stderr  # that is the older one's, which goes on serving


def test_one_that_is_removed(pull: Pull, run: Run) -> None:
    assert run("wait", "shop", "feature").exit_code == 0
    id_ = json.loads(run("show", "feature", "--json").stdout)["id"]
    pull.close()
    done = run("wait", id_, "--timeout", "30")
    assert done.exit_code == 5
    assert "is closed" in done.stderr
    assert run("wait", "shop", "feature", "--timeout", "0").exit_code == 6


@pytest.mark.parametrize("sha", ["abc", "not-a-commit", "a" * 65])
def test_what_is_no_commit(pull: Pull, run: Run, sha: str) -> None:
    assert run("wait", "shop", "feature", "--sha", sha).exit_code == 2
