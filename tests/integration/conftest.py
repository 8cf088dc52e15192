"""What the integration tests share: real Docker, an application under test, and Stagers that clean up."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.github import Github, running_github
from tests.integration.images import application_image
from tests.integration.installed import installed
from tests.integration.own_engine import NoEngineError, OwnEngine, own_engine
from tests.integration.stager import StagerUnderTest
from tests.unit.front.harness import App

MakeStager = Callable[..., StagerUnderTest]


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
