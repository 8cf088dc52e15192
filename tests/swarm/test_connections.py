"""The engines of nodes over SSH, on real engines and real SSH servers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiodocker
import pytest

from stager.domain.errors import Retry, StagerError
from stager.engines.docker.client import connect, engine_errors
from stager.engines.swarm.nodes.connections import NodeConnections
from stager.engines.swarm.nodes.tunnel import SshAccess
from stager.helper_client import HelperClient
from tests.swarm.cluster import Cluster
from tests.swarm.node import Node

PATIENCE = 45.0


@pytest.fixture
async def connections(cluster: Cluster, tmp_path: Path) -> AsyncIterator[NodeConnections]:
    manager = connect(cluster.manager.docker_url)
    access = SshAccess(cluster.key, tmp_path / "known_hosts", user="root")
    connections = NodeConnections(manager, HelperClient(tmp_path / "helper.sock"), tmp_path / "n", access)
    yield connections
    await connections.close()
    await manager.close()


async def name_of(connections: NodeConnections, node_id: str) -> str:
    """The host name that the node's engine tells; empty while it is away."""
    try:
        docker = await connections.docker(node_id)
        with engine_errors():
            return str((await docker.system.info())["Name"])
    except StagerError:
        return ""


async def until_answers(connections: NodeConnections, node: Node, node_id: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while await name_of(connections, node_id) != node.name:
            await asyncio.sleep(0.05)


async def until_away(connections: NodeConnections, node_id: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while connections.is_connected(node_id):
            await asyncio.sleep(0.05)


async def test_each_node_answers_for_itself(cluster: Cluster, connections: NodeConnections) -> None:
    for node in cluster.nodes:
        assert await name_of(connections, cluster.node_id(node)) == node.name


async def test_the_managers_own_node_takes_no_ssh(cluster: Cluster, connections: NodeConnections) -> None:
    cluster.manager.stop_ssh()

    docker = await connections.docker(cluster.node_id(cluster.manager))

    assert isinstance(docker, aiodocker.Docker)
    assert await name_of(connections, cluster.node_id(cluster.manager)) == cluster.manager.name


async def test_a_killed_ssh_is_started_again(
    cluster: Cluster, connections: NodeConnections, tmp_path: Path
) -> None:
    node = cluster.workers[0]
    node_id = cluster.node_id(node)
    assert await name_of(connections, node_id) == node.name

    os.kill(ssh_of(tmp_path, node_id), signal.SIGKILL)

    await until_away(connections, node_id)
    await until_answers(connections, node, node_id)


async def test_a_node_without_power_is_away_and_is_found_again(
    cluster: Cluster, connections: NodeConnections
) -> None:
    node = cluster.workers[0]
    node_id = cluster.node_id(node)
    assert await name_of(connections, node_id) == node.name

    node.power_off()
    await until_away(connections, node_id)
    with pytest.raises(Retry) as caught:
        await connections.docker(node_id)
    assert caught.value.reason == "node-away"

    cluster.boot(node)
    await until_answers(connections, node, node_id)


async def test_a_node_without_its_link_is_away_and_is_found_again(
    cluster: Cluster, connections: NodeConnections
) -> None:
    node = cluster.workers[1]
    node_id = cluster.node_id(node)
    assert await name_of(connections, node_id) == node.name

    node.cut()
    await until_away(connections, node_id)
    node.mend()

    await until_answers(connections, node, node_id)


async def test_the_ssh_of_a_killed_stager_is_ended(
    cluster: Cluster, connections: NodeConnections, tmp_path: Path
) -> None:
    node_id = cluster.node_id(cluster.workers[0])
    folder = tmp_path / "n" / node_id[:12]
    folder.mkdir(parents=True)
    with subprocess.Popen(["python3", "-c", "import time; time.sleep(600)", str(folder)]) as orphan:
        (folder / "ssh.pid").write_text(str(orphan.pid))

        assert await name_of(connections, node_id)

        assert orphan.wait(PATIENCE) == -signal.SIGKILL


async def test_connections_end_with_the_node_and_with_stager(
    cluster: Cluster, connections: NodeConnections, tmp_path: Path
) -> None:
    first, second = (cluster.node_id(node) for node in cluster.workers)
    for node_id in (first, second):
        assert await name_of(connections, node_id)
    pids = [ssh_of(tmp_path, node_id) for node_id in (first, second)]

    await connections.keep([second])
    assert not Path(f"/proc/{pids[0]}").exists()
    assert Path(f"/proc/{pids[1]}").exists()
    await connections.close()

    assert not Path(f"/proc/{pids[1]}").exists()
    assert not list((tmp_path / "n").glob("*/*.sock"))


async def test_the_key_may_only_forward(cluster: Cluster) -> None:
    node = cluster.workers[0]
    options = ["-F", "none", "-i", str(cluster.key), "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes",
               "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]  # fmt: skip
    asked = subprocess.run(["ssh", *options, f"root@{node.address}", "id"], capture_output=True, check=False)

    assert asked.returncode != 0
    assert not asked.stdout


def ssh_of(tmp_path: Path, node_id: str) -> int:
    return int((tmp_path / "n" / node_id[:12] / "ssh.pid").read_text())
