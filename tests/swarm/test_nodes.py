"""Which nodes take previews, on real engines with real root helpers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from stager.domain.errors import Refused
from stager.engines.docker.client import connect
from stager.engines.swarm.nodes import swarm_nodes
from stager.engines.swarm.nodes.connections import NodeConnections
from stager.engines.swarm.nodes.swarm_nodes import SwarmNodes
from stager.engines.swarm.nodes.tunnel import SshAccess
from stager.helper_client import HelperClient
from stager.ports.nodes import Node, NodeState
from tests.swarm.cluster import Cluster

PATIENCE = 60.0
INSTALLATION = "test-nodes"
READY, UNVERIFIED, DOWN = NodeState.READY, NodeState.UNVERIFIED, NodeState.DOWN
SERVICE = [
    "--detach", "--quiet", "--restart-condition=none", "--endpoint-mode=dnsrr", "--no-resolve-image",
    f"--constraint=node.labels.stager.ready.{INSTALLATION}==yes",
    f"--container-label=stager.installation={INSTALLATION}",
]  # fmt: skip
LONG = ["stager-base/static:1", "sleep", "600"]


@pytest.fixture
async def nodes(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SwarmNodes]:
    """The manager's own helper doesn't run: Stager's machine isn't one of the cluster's."""
    monkeypatch.setattr(swarm_nodes, "GRACE", 2.0)
    manager = connect(cluster.manager.docker_url)
    access = SshAccess(cluster.key, tmp_path / "known_hosts", user="root")
    connections = NodeConnections(manager, HelperClient(tmp_path / "helper.sock"), tmp_path / "n", access)
    yield SwarmNodes(manager, connections, INSTALLATION)
    await connections.close()
    await manager.close()


async def until(nodes: SwarmNodes, cluster: Cluster, *states: NodeState) -> list[Node]:
    """Refresh until the workers are in these states."""
    names = [node.name for node in cluster.workers]
    async with asyncio.timeout(PATIENCE):
        while True:
            await nodes.refresh()
            found = [node for node in await nodes.nodes() if node.name in names]
            if [node.state for node in found] == list(states):
                return found
            await asyncio.sleep(0.1)


async def look(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not what():
            await asyncio.sleep(0.1)


async def test_a_node_takes_previews_once_its_firewall_is_verified(
    cluster: Cluster, nodes: SwarmNodes
) -> None:
    first, second = await until(nodes, cluster, UNVERIFIED, UNVERIFIED)
    assert "root helper" in first.problem
    assert second.problem

    cluster.workers[0].start_helper()

    first, _ = await until(nodes, cluster, READY, UNVERIFIED)
    assert first.problem == ""
    assert first.address == cluster.workers[0].address
    assert first.memory > 0
    rules = cluster.workers[0].run("iptables -t raw -S")
    assert f"-s {cluster.gateway}/32" in rules


async def test_services_that_need_the_label_run_on_verified_nodes_only(
    cluster: Cluster, nodes: SwarmNodes
) -> None:
    cluster.workers[1].start_helper()
    await until(nodes, cluster, UNVERIFIED, READY)
    options = ["--container-label=stager.environment=e1", "--replicas=3", "--reserve-memory=16m"]

    cluster.docker("service", "create", *SERVICE, *options, *LONG)
    await look(lambda: len(cluster.workers[1].docker("ps", "--quiet").split()) == 3)

    _, second = await until(nodes, cluster, UNVERIFIED, READY)
    assert second.environments == ("e1",)
    assert second.reserved == 3 * 16 << 20
    assert second.staying == ()
    assert not cluster.workers[0].docker("ps", "--quiet")


async def test_volumes_stay_on_their_node(cluster: Cluster, nodes: SwarmNodes) -> None:
    cluster.workers[0].start_helper()
    await until(nodes, cluster, READY, UNVERIFIED)
    options = ["--container-label=stager.environment=e2", "--mount=type=volume,source=data,target=/data"]

    cluster.docker("service", "create", *SERVICE, *options, *LONG)
    await look(lambda: bool(cluster.workers[0].docker("ps", "--quiet")))

    first, _ = await until(nodes, cluster, READY, UNVERIFIED)
    assert first.staying == ("e2",)


async def test_a_node_whose_helper_is_away_loses_its_previews_after_a_while(
    cluster: Cluster, nodes: SwarmNodes
) -> None:
    node = cluster.workers[0]
    node.start_helper()
    await until(nodes, cluster, READY, UNVERIFIED)
    cluster.docker("service", "create", *SERVICE, *LONG)
    await look(lambda: bool(node.docker("ps", "--quiet")))

    node.stop_helper()

    await nodes.refresh()
    assert [each.state for each in await nodes.nodes() if each.name == node.name] == [READY]
    await until(nodes, cluster, UNVERIFIED, UNVERIFIED)
    await look(lambda: not node.docker("ps", "--quiet"))


async def test_a_node_that_comes_back_is_verified_again_first(cluster: Cluster, nodes: SwarmNodes) -> None:
    node = cluster.workers[0]
    node.start_helper()
    await until(nodes, cluster, READY, UNVERIFIED)

    node.power_off()
    await until(nodes, cluster, DOWN, UNVERIFIED)
    cluster.boot(node)
    await until(nodes, cluster, UNVERIFIED, UNVERIFIED)
    node.start_helper()

    await until(nodes, cluster, READY, UNVERIFIED)


async def test_a_drained_node_takes_no_more_previews_and_keeps_those_it_has(
    cluster: Cluster, nodes: SwarmNodes
) -> None:
    node = cluster.workers[0]
    node.start_helper()
    first, _ = await until(nodes, cluster, READY, UNVERIFIED)
    cluster.docker("service", "create", *SERVICE, *LONG)
    await look(lambda: bool(node.docker("ps", "--quiet")))

    await nodes.drain(first.id)
    await until(nodes, cluster, NodeState.DRAINING, UNVERIFIED)
    waiting = cluster.docker("service", "create", *SERVICE, *LONG)
    await look(lambda: "Pending" in cluster.docker("service", "ps", "--format={{.CurrentState}}", waiting))
    assert len(node.docker("ps", "--quiet").split()) == 1

    await nodes.activate(first.id)
    await until(nodes, cluster, READY, UNVERIFIED)
    await look(lambda: len(node.docker("ps", "--quiet").split()) == 2)


async def test_an_unknown_node_cant_be_drained(nodes: SwarmNodes) -> None:
    with pytest.raises(Refused) as caught:
        await nodes.drain("nonesuch")

    assert caught.value.reason == "node-unknown"
