"""Instances on several nodes: where they run, and what remains of them when a node is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from stager.domain.environment import Instance, InstanceState
from stager.domain.errors import Retry
from stager.domain.service import Mount
from stager.engines.swarm.published_ports import FIRST, LAST
from tests.contracts.engines import instance_labels
from tests.contracts.services import made, started
from tests.contracts.swarm_engine import SwarmUnderTest, swarm_under_test
from tests.swarm.cluster import Cluster
from tests.swarm.node import Node

pytestmark = pytest.mark.docker
DATA = Mount("/data", volume="data")


@pytest.fixture
async def swarm(cluster: Cluster) -> AsyncIterator[SwarmUnderTest]:
    async with swarm_under_test(cluster) as swarm:
        yield swarm


def node_of(swarm: SwarmUnderTest, instance: Instance) -> Node:
    """The node on which an instance runs."""
    assert instance.endpoint
    return next(node for node in swarm.cluster.nodes if node.address == instance.endpoint.address)


async def simple(swarm: SwarmUnderTest, environment: str) -> Instance:
    spec = await swarm.spec("serves", instance_labels(environment))
    return await swarm.instances.start((await swarm.instances.create(spec)).id)


def containers(node: Node) -> list[str]:
    return node.docker("ps", "--all", "--quiet", "--filter", "label=stager.environment").split()


async def test_previews_spread_and_the_services_of_one_run_together(swarm: SwarmUnderTest) -> None:
    single = [await simple(swarm, f"e{number}") for number in range(3)]
    database = await started(swarm, "db", environment="e9", kept=True, mounts=(DATA,))
    web = await started(swarm, "web", environment="e9")

    assert len({node_of(swarm, each).name for each in single}) == 3
    assert node_of(swarm, web) is node_of(swarm, database)
    ports = [each.endpoint.port for each in (*single, web, database) if each.endpoint]
    assert len(set(ports)) == 5
    assert all(FIRST <= port <= LAST for port in ports)


async def test_a_volume_is_found_again_on_its_node(swarm: SwarmUnderTest) -> None:
    first = await started(swarm, "db", kept=True, mounts=(DATA,))
    home = node_of(swarm, first)
    await swarm.instances.remove(first.id)
    await swarm.instances.sweep({"e1": [0]})
    again = await made(swarm, "db", 2, kept=True, mounts=(DATA,))
    await swarm.admit(home, ready="no")
    with pytest.raises(Retry) as caught:
        await swarm.instances.start(again.id)
    assert caught.value.reason == "node-drained"

    await swarm.admit(home)
    assert node_of(swarm, await swarm.instances.start(again.id)) is home


async def test_no_node_takes_it(swarm: SwarmUnderTest) -> None:
    await swarm.admit(*swarm.cluster.nodes, ready="no")
    spec = await swarm.spec("serves", instance_labels())
    instance = await swarm.instances.create(spec)
    with pytest.raises(Retry) as caught:
        await swarm.instances.start(instance.id)

    assert caught.value.reason == "no-node"
    await swarm.admit(*swarm.cluster.nodes)
    assert (await swarm.instances.start(instance.id)).state is InstanceState.RUNNING


async def test_a_lost_nodes_instances_run_elsewhere_once_and_it_returns_clean(swarm: SwarmUnderTest) -> None:
    lost, rest = swarm.cluster.workers[0], [swarm.cluster.manager, swarm.cluster.workers[1]]
    await swarm.admit(*rest, ready="no")
    spec = await swarm.spec("serves", instance_labels())
    first = await swarm.instances.start((await swarm.instances.create(spec)).id)
    assert node_of(swarm, first) is lost
    await swarm.admit(*rest)

    lost.cut()
    swarm.cluster.wait(lost, state="Down")
    assert await swarm.instances.find("e1") == []
    assert await swarm.instances.find_with_labels() == []
    with pytest.raises(Retry):
        await swarm.instances.start(first.id)
    second = await swarm.instances.create(replace(spec))
    second = await swarm.instances.start(second.id)
    assert node_of(swarm, second) in rest
    assert [each.id for each in await swarm.instances.find()] == [second.id]

    lost.mend()
    swarm.cluster.wait(lost)
    await swarm.instances.sweep()
    assert containers(lost) == []
    assert [each.state for each in await swarm.instances.find("e1")] == [InstanceState.RUNNING]
