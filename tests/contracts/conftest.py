"""What the contract suites run against."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contracts.data import DataUnderTest, FakeDataUnderTest, storage_under_test
from tests.contracts.engines import Engine, FakeEngineUnderTest, docker_under_test
from tests.contracts.forges import FakeForgeUnderTest, Forge, github
from tests.contracts.local_forge import local


@pytest.fixture(params=["memory", "github", "github-app", "local"])
async def forge(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Forge]:
    match request.param:
        case "memory":
            yield FakeForgeUnderTest()
        case "local":
            async with local(tmp_path) as forge:
                yield forge
        case name:
            async with github(as_app=name == "github-app") as forge:
                yield forge


@pytest.fixture(params=["memory", pytest.param("docker", marks=pytest.mark.docker)])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    if request.param == "memory":
        yield FakeEngineUnderTest()
        return
    async with docker_under_test() as docker:
        yield docker


@pytest.fixture(
    params=[
        "memory",
        pytest.param("copies", marks=pytest.mark.docker),
        pytest.param("pool", marks=pytest.mark.docker),
    ]
)
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DataUnderTest]:
    if request.param == "memory":
        yield FakeDataUnderTest()
        return
    async with storage_under_test(request.param, tmp_path) as storage:
        yield storage
