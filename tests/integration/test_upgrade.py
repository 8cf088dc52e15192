"""An upgrade with running previews: the code of a base commit starts them, the present code takes them over.

A change of the database's schema or of the containers' labels must keep this test green. To upgrade from
another commit, such as the one before the change: `UPGRADE_FROM=HEAD~1 scripts/test THIS_FILE`.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stager.stores.sqlite.version import VERSION
from tests.integration.load import Load
from tests.integration.pulls import Pull
from tests.integration.stager import ChildProcess, Process, StagerUnderTest, until

BASE = "0416ae79156cc051ee2acba113ec913d88ab5165"
"""The commit from which upgrades are supported. It only moves where the changelog says that previews are
relaunched."""

ROOT = Path(__file__).parents[2]
QUIET_SECONDS = 7.0
"""Longer than a full reconciliation's interval in these tests."""


class Subprocess(ChildProcess):
    """`stager serve` with the code below a folder."""

    def __init__(self, source: Path, config: Path, log: Path) -> None:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "stager", "serve", "--config", str(config)],
                env=environment_of(source), cwd=config.parent, stdout=output, stderr=output,
            )  # fmt: skip
        super().__init__(process)


class UpgradedStager(StagerUnderTest):
    """A Stager that runs the code in `source`, until `upgrade` starts the present one."""

    def __init__(self, folder: Path, image: str, source: Path) -> None:
        super().__init__(folder, image, {})
        self._source: Path | None = source

    def _begin(self) -> Process:
        return Subprocess(self._source, self.config, self.log) if self._source else super()._begin()

    def upgrade(self) -> None:
        """Stop the control plane of the base commit, and start the present one on the same state folder."""
        assert self.terminate() == 0
        self._source = None
        self.start()

    def schema_version(self) -> str:
        """The version of the database's schema."""
        with closing(sqlite3.connect(self.state / "stager.db")) as database:
            [(version,)] = database.execute("SELECT version_num FROM alembic_version").fetchall()
        return str(version)

    def running(self) -> dict[str, str]:
        """When each container was started, by its id."""
        return {c: str(self.inspect(c)["State"]["StartedAt"]) for c in self.containers()}

    def history(self) -> dict[str, Any]:
        """The deployments of each environment, by its id."""
        return {
            e["id"]: self.api(f"/environments/{e['id']}/deployments")
            for e in self.api("/environments?gone=true")
        }


def known_before(history: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """A history with those fields of its deployments only that one of an earlier release has."""
    return {
        environment: [
            {name: deployment[name] for name in old if name in deployment}
            for deployment, old in zip(history[environment], deployments, strict=True)
        ]
        for environment, deployments in before.items()
    }


def environment_of(source: Path) -> dict[str, str]:
    """Environment variables with which Python imports `stager` from below this folder."""
    return {**os.environ, "PYTHONPATH": str(source / "src")}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with the base commit's code."""
    base = os.environ.get("UPGRADE_FROM", BASE)
    known = subprocess.run(
        ["git", "cat-file", "-e", f"{base}^{{commit}}"], cwd=ROOT, capture_output=True, check=False
    )
    if known.returncode:
        pytest.skip(f"commit {base} isn't in this clone: fetch the whole history")
    folder = tmp_path / "base"
    folder.mkdir()
    archive = subprocess.run(["git", "archive", base, "src"], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    imported = subprocess.run(
        [sys.executable, "-c", "import stager; print(stager.__file__)"],
        env=environment_of(folder), cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(imported.stdout.strip()).is_relative_to(folder)
    return folder


@pytest.fixture
def base_stager(tmp_path: Path, app_image: str, source: Path) -> Iterator[UpgradedStager]:
    """A Stager that runs the base commit's code."""
    folder = tmp_path / "stager"
    folder.mkdir()
    stager = UpgradedStager(folder, app_image, source)
    try:
        stager.start()
        yield stager
    finally:
        stager.show_log()
        stager.clean_up()


async def test_previews_stay_as_they_are(base_stager: UpgradedStager) -> None:
    stager, pull = base_stager, Pull(ref="by-pull-request")
    stager.launched("by-hand", VERSION="1")
    assert stager.deliver(pull.opened()).status_code == 202
    stager.wait_for("by-pull-request", "live")
    running, history = stager.running(), stager.history()
    assert len(running) == len(history) == 2

    hosts = [stager.host(name) for name in ("by-hand", "by-pull-request")]
    async with Load(stager.url, hosts[0]) as by_hand, Load(stager.url, hosts[1]) as by_pull_request:
        await asyncio.to_thread(stager.upgrade)
        await asyncio.sleep(QUIET_SECONDS)

    assert by_hand.failures == by_pull_request.failures == []
    assert set(by_hand.answers) == {"by-hand 1", "by-hand got 10000 bytes"}
    texts = (pull.sha, "got 10000 bytes")
    assert set(by_pull_request.answers) == {f"by-pull-request {text}" for text in texts}
    assert stager.schema_version() == VERSION
    assert stager.running() == running
    assert known_before(stager.history(), history) == history


def test_previews_go_on_afterwards(base_stager: UpgradedStager) -> None:
    stager, pull = base_stager, Pull(ref="by-pull-request")
    url = stager.launched("by-hand", VERSION="1")
    stager.deliver(pull.opened())
    stager.wait_for("by-pull-request", "live")
    environment = stager.environment("by-pull-request")["id"]

    stager.upgrade()
    stager.connect_again()

    assert stager.launched("by-hand", VERSION="2") == url
    until(lambda: stager.get("by-hand").text == "by-hand 2", "the launch is shown")
    stager.deliver(pull.push())
    until(lambda: stager.get("by-pull-request").text == f"by-pull-request {pull.sha}", "the push is shown")
    assert stager.environment("by-pull-request")["id"] == environment
    stager.launched("new", VERSION="1")
    stager.deliver(pull.closed())
    stager.kill("by-hand")
    until(lambda: len(stager.containers()) == len(stager.networks()) == 1, "only the new one is left", 90)
