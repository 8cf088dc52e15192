"""Stager as the documentation installs it: a user without root runs it, beside the root helper.

`AS_INSTALLED=1` runs any other test of this folder so.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import MakeStager
from tests.integration.github import Github
from tests.integration.installed import USER
from tests.integration.namespaces import CONNECT
from tests.integration.stager import StagerUnderTest, docker, until
from tests.integration.test_forks import NAME, Rig, make_rig

__all__ = ["make_rig"]  # a fixture

pytestmark = pytest.mark.docker


@pytest.fixture(autouse=True)
def as_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AS_INSTALLED", "1")


@pytest.fixture
def service() -> Iterator[int]:
    """The port of a service of this machine, on all its addresses."""
    with socket.create_server(("0.0.0.0", 0)) as listening:
        yield listening.getsockname()[1]


def owner_of(pid: int) -> str:
    return Path(f"/proc/{pid}").owner()


def reaches(container: str, address: str, port: int) -> bool:
    command = ["docker", "exec", container, "python3", "-c", CONNECT, address, str(port)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def gateway_of(stager: StagerUnderTest, container: str) -> str:
    [facts] = stager.inspect(container)["NetworkSettings"]["Networks"].values()
    return str(facts["Gateway"])


@pytest.mark.attack(
    "A service of the machine on 0.0.0.0, with Stager installed as documented",
    profile="preview",
    result="connection refused by the root helper's firewall",
)
def test_launched_guarded_and_removed(make_stager: MakeStager, service: int) -> None:
    stager = make_stager()
    assert {owner_of(pid) for pid in (stager.control_pid, stager.front_pid)} == {USER}
    stager.launched("a")
    assert stager.get("a").status_code == 200
    [container] = stager.containers()
    assert not reaches(container, gateway_of(stager, container), service)
    assert reaches(container, "127.0.0.1", 3000)
    assert not list(stager.state.rglob("*.db")) or os.stat(stager.state).st_mode & 0o077 == 0
    assert stager.kill("a").is_success
    until(lambda: not stager.containers() and not stager.networks(), "nothing is left")


def test_a_pull_request_from_its_opening_to_its_end(make_stager: MakeStager, github: Github) -> None:
    stager = make_stager(github=github.settings, images={"shop": {"repo_owner": "acme"}})
    number = github.open(NAME, "a" * 40)
    assert stager.deliver(github.event("opened", number)).status_code == 202
    stager.wait_for(NAME, "live")
    github.close(number)
    assert stager.deliver(github.event("closed", number)).status_code == 202
    stager.wait_for(NAME, "gone")
    until(lambda: not stager.containers(), "nothing runs")


def test_a_forks_commit_is_built_apart_and_runs(make_rig: Any) -> None:
    namespace: Rig = make_rig()
    sha = namespace.open()
    namespace.commented(f"/stager approve {sha}")
    namespace.say(f"/stager approve {sha}", "olga")
    namespace.stager.wait_for(NAME, "live")
    assert namespace.get() == "first"
    assert namespace.environment["warnings"] == []
    [container] = namespace.stager.containers()
    name = '{{index .Options "com.docker.network.bridge.name"}}'
    assert docker("network", "inspect", "--format", name, *namespace.stager.networks()).startswith("pvf")
    assert namespace.stager.inspect(container)["State"]["Running"]
