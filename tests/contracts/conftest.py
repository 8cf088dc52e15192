"""What the contract suites run against."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.contracts.data import (
    POOL_SIZE,
    DataUnderTest,
    FakeDataUnderTest,
    copies_under_test,
    helper_beside_docker,
    in_pool,
)
from tests.contracts.engines import Engine, FakeEngineUnderTest, docker_under_test
from tests.contracts.forges import FakeForgeUnderTest, Forge, github
from tests.contracts.local_forge import local
from tests.integration.own_pool import OwnPool


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


@pytest.fixture(scope="module")
def shared_pool() -> Iterator[OwnPool]:
    """A data pool. Each test is another installation, which has its own volumes and snapshots there."""
    with helper_beside_docker() as pool, ThreadPoolExecutor(1) as thread:  # this one runs an event loop
        thread.submit(asyncio.run, pool.call("init", bytes=POOL_SIZE, reserve=False)).result()
        yield pool


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
    elif request.param == "copies":
        async with copies_under_test(tmp_path) as copies:
            yield copies
    else:
        async with in_pool(request.getfixturevalue("shared_pool"), tmp_path) as pool:
            yield pool
