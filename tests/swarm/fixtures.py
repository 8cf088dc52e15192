"""The cluster that tests of the engine `swarm` share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.swarm.cluster import Cluster, running_cluster, why_no_cluster


@pytest.fixture(scope="session")
def started_cluster() -> Iterator[Cluster]:
    """The cluster of a test run; started by the first test that wants it."""
    if reason := why_no_cluster():
        pytest.skip(f"no cluster: {reason}")
    with running_cluster() as cluster:
        cluster.load("stager-base/static:1", *cluster.nodes)
        yield cluster


@pytest.fixture
def cluster(started_cluster: Cluster) -> Iterator[Cluster]:
    """Three engines in one swarm, all ready. Whatever a test leaves or breaks is put right."""
    yield started_cluster
    started_cluster.heal()
