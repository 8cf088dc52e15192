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
from tests.contracts.swarm_engine import applies, swarm_under_test
from tests.integration.own_pool import OwnPool
from tests.swarm.cluster import Cluster


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what doesn't run against Swarm."""
    left_out = [each for each in items if "[swarm" in each.name and not applies(each.nodeid)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [each for each in items if each not in left_out]


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


@pytest.fixture(
    params=[
        "memory",
        pytest.param("docker", marks=pytest.mark.docker),
        pytest.param("swarm", marks=pytest.mark.docker),
    ]
)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    match request.param:
        case "memory":
            yield FakeEngineUnderTest()
        case "docker":
            async with docker_under_test() as docker:
                yield docker
        case _:
            async with swarm_under_test(request.getfixturevalue("shared_cluster")) as swarm:
                yield swarm


@pytest.fixture(scope="module")
def shared_cluster(started_cluster: Cluster) -> Iterator[Cluster]:
    """A swarm. Each test is another installation."""
    yield started_cluster
    started_cluster.heal()


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
