"""What the integration tests share: real Docker, an application under test, and Stagers that clean up."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stager.engines.docker.network.pool import tag_of
from tests.integration.github import Github, running_github
from tests.integration.images import application_image
from tests.integration.installed import installed
from tests.integration.namespaces import Helper
from tests.integration.own_engine import NoEngineError, OwnEngine, own_engine
from tests.integration.stager import StagerUnderTest
from tests.unit.front.harness import App

MakeStager = Callable[..., StagerUnderTest]
Guarded = Callable[..., tuple[StagerUnderTest, Helper]]


@pytest.fixture(scope="session")
def app_image() -> str:
    """The image of the application under test."""
    inspect = ["docker", "image", "inspect", "stager-base/python:1"]
    if subprocess.run(inspect, capture_output=True, check=False).returncode:
        pytest.skip("no Docker engine with the base image: scripts/test starts one and makes it")
    return application_image()


@pytest.fixture
def make_stager(tmp_path: Path, app_image: str, request: pytest.FixtureRequest) -> Iterator[MakeStager]:
    """Makes Stagers with the configuration keys that are given; they leave nothing behind.

    With `AS_INSTALLED=1` in the environment, each is run by a user without root, beside a root helper.
    """
    made: list[StagerUnderTest] = []

    def beside_each_other(configuration: dict[str, Any]) -> StagerUnderTest:
        folder = tmp_path / f"stager{len(made)}"
        folder.mkdir()
        stager = StagerUnderTest(folder, app_image, configuration)
        made.append(stager)
        return stager

    def make(*, start: bool = True, **configuration: Any) -> StagerUnderTest:
        if os.environ.get("AS_INSTALLED"):
            stager: StagerUnderTest = stack.enter_context(installed(app_image, configuration))
        else:
            stager = beside_each_other(configuration)
        if start:
            stager.start()
        return stager

    with contextlib.ExitStack() as stack:
        yield make
    for stager in made:
        stager.show_log()
        stager.clean_up()


@pytest.fixture
def stager(make_stager: MakeStager) -> StagerUnderTest:
    """A Stager with one app, `shop`."""
    return make_stager()


@pytest.fixture(scope="module")
def one_stager(tmp_path_factory: pytest.TempPathFactory, app_image: str) -> Iterator[StagerUnderTest]:
    """The Stager of `shared_stager`; started by the first test of a module that wants it."""
    with contextlib.ExitStack() as stack:
        if os.environ.get("AS_INSTALLED"):
            stager: StagerUnderTest = stack.enter_context(installed(app_image, {}))
        else:
            stager = StagerUnderTest(tmp_path_factory.mktemp("shared"), app_image, {})
            stack.callback(stager.clean_up)
        stager.start()
        yield stager


@pytest.fixture
def shared_stager(one_stager: StagerUnderTest) -> Iterator[StagerUnderTest]:
    """One Stager for all tests of a module, without previews at the beginning of each; for tests that neither
    stop nor configure it, nor look at previews that are gone."""
    yield one_stager
    one_stager.show_log()
    one_stager.empty()


@pytest.fixture
async def app() -> AsyncIterator[App]:
    """An upstream of the front, in this process."""
    app = App()
    await app.start()
    yield app
    await app.stop()


@pytest.fixture
def github() -> Iterator[Github]:
    """A GitHub with one repository, acme/shop."""
    with running_github() as github:
        yield github


@pytest.fixture(scope="session")
def second_engine(app_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnEngine]:
    """A Docker engine of the tests' own, with the application under test."""
    with contextlib.ExitStack() as stack:
        try:
            engine = stack.enter_context(own_engine(tmp_path_factory.mktemp("engine") / "dockerd.log"))
        except NoEngineError as why:
            pytest.skip(f"no Docker engine of the tests' own: {why}")
        engine.load(app_image)
        yield engine


@pytest.fixture
def engine(second_engine: OwnEngine, monkeypatch: pytest.MonkeyPatch) -> OwnEngine:
    """That engine, running, for whatever the test makes after it."""
    second_engine.resume()
    monkeypatch.setenv("DOCKER_HOST", second_engine.url)
    return second_engine


@pytest.fixture
def guarded(make_stager: MakeStager, tmp_path: Path) -> Iterator[Guarded]:
    """Makes a Stager, not started, and a helper for it alone."""
    with contextlib.ExitStack() as stack:

        def make(**configuration: Any) -> tuple[StagerUnderTest, Helper]:
            folder = tmp_path / f"helper{secrets.token_hex(2)}"
            folder.mkdir()
            given = {"helper": "auto", "helper_socket": f"{folder}/helper.sock", **configuration}
            stager = make_stager(start=False, **given)
            chains = f"STAGER-{secrets.token_hex(3).upper()}"
            helper = Helper(
                folder, (), f"--chains={chains}", f"--tag={tag_of(stager.installation)}",
                f"--log-group={secrets.randbelow(60_000) + 1000}", "--check-every=0.2",
                "--builder-link=pvfnone",
            )  # fmt: skip
            stack.callback(without_rules, chains)
            stack.callback(helper.stop)
            helper.start()
            return stager, helper

        yield make


def without_rules(chains: str, *enter: str) -> None:
    """Remove a helper's rules from this machine, and nothing else."""
    for command in ("iptables", "ip6tables"):
        run = [*enter, command, "-w"]
        saved = subprocess.run([*enter, f"{command}-save"], capture_output=True, text=True, check=True).stdout
        lines = saved.splitlines()
        for line in lines:
            if line.startswith("-A ") and f" -j {chains}-" in line and not line.startswith(f"-A {chains}-"):
                subprocess.run([*run, "-D", *line.split()[1:]], check=True)
        ours = [line[1:].split()[0] for line in lines if line.startswith(f":{chains}-")]
        for flag in ("-F", "-X"):
            for chain in ours:
                subprocess.run([*run, flag, chain], check=True)
