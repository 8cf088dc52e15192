"""`stager swarm init` and `stager node join` on real engines and a real SSH server."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from stager.cli.swarm.engine import Engine
from stager.cli.swarm.manager import invite
from stager.engines.docker.client import connect
from stager.engines.swarm.nodes.connections import NodeConnections
from stager.engines.swarm.nodes.swarm_nodes import SwarmNodes
from stager.engines.swarm.nodes.tunnel import SshAccess
from stager.helper_client import HelperClient
from stager.ports.nodes import NodeState
from stager.state import StateDirectory
from stager.systemd.node import KEYS, USER
from tests.integration.stager import until
from tests.swarm.cluster import Cluster
from tests.swarm.node import ClusterError, Node
from tests.unit.docs.written import page_sample, typed


def leave(cluster: Cluster, node: Node) -> None:
    node_id = cluster.node_id(node)
    node.docker("swarm", "leave", "--force")
    until(lambda: removed(cluster, node_id), "the manager knows that it has left")


def removed(cluster: Cluster, node_id: str) -> bool:
    try:
        cluster.docker("node", "rm", node_id)
    except ClusterError:
        return False
    return True


HOST = "10.0.0.1"
"""The manager's address in the how-to."""


def as_written(sample: str, arguments: str) -> str:
    """A script with a command of the how-to.

    Args:
        arguments: of `stager`, besides those on the page.
    """
    [(command, _)] = typed(sample)
    source = Path(__file__).parents[2] / "src"
    return f"""
set -e
sudo() {{ "$@"; }}
stager() {{ env PYTHONPATH={source} {sys.executable} -m stager "$@" {arguments}; }}
{command}
"""


def join(node: Node, line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "invitation").write_text(line)
    script = as_written(page_sample("two-machines.md", "$ sudo stager node join"), "--without-systemd")
    command = [*node.enter, "bash", "-c", f"cd {folder}\n{script}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def invitation(cluster: Cluster, folder: Path) -> str:
    socket = cluster.manager.docker_url.removeprefix("unix://")
    (folder / "config.yml").write_text(f"state_dir: {folder}/state\n")
    init = page_sample("two-machines.md", "$ stager swarm init")
    script = as_written(init, f"--docker-socket {socket} --config config.yml")
    done = subprocess.run(
        ["bash", "-c", script.replace(HOST, cluster.manager.address)],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "secret" in done.stderr
    return (folder / "invitation").read_text()


async def test_a_machine_joins_and_takes_previews(cluster: Cluster, tmp_path: Path) -> None:
    node = cluster.workers[1]
    leave(cluster, node)
    line = invitation(cluster, tmp_path)

    done = join(node, line, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    again = join(node, line, tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    node.run("pkill -HUP -o -x sshd")
    node.start_helper(USER)
    cluster.wait(node)

    manager = connect(cluster.manager.docker_url)
    ssh = tmp_path / "state" / "ssh"
    access = SshAccess(ssh / "id_ed25519", ssh / "known_hosts")
    connections = NodeConnections(manager, HelperClient(tmp_path / "none"), tmp_path / "n", access)
    nodes = SwarmNodes(manager, connections, "test-join")
    async with asyncio.timeout(60):
        while not any(each.state is NodeState.READY for each in await nodes.nodes()):
            await nodes.refresh()
            await asyncio.sleep(0.2)
    assert [each.name for each in await nodes.nodes() if each.state is NodeState.READY] == [node.name]
    await connections.close()
    await manager.close()
    refuses_all_else(node, ssh / "id_ed25519")


def refuses_all_else(node: Node, key: Path) -> None:
    options = ["-F", "none", "-i", str(key), "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes",
               "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]  # fmt: skip
    command = subprocess.run(
        ["ssh", *options, f"{USER}@{node.address}", "id"], capture_output=True, text=True, check=False
    )
    assert command.returncode != 0
    assert "uid=" not in command.stdout


def test_what_a_joined_machine_has(cluster: Cluster, tmp_path: Path) -> None:
    node = cluster.workers[0]

    done = join(node, invitation(cluster, tmp_path), tmp_path)  # it is in the swarm already

    assert done.returncode == 0, done.stdout + done.stderr
    assert "SWMTKN" not in done.stdout + done.stderr
    assert "docker" in node.run(f"id -nG {USER}")
    assert node.run(f"stat -c '%U %a' {KEYS}") == "root 644"
    assert node.run(f"cat {KEYS}").startswith('restrict,port-forwarding,command="/bin/false" ssh-ed25519 ')


def test_nonsense_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    done = join(cluster.workers[0], "stager-node-nonsense\n", tmp_path)

    assert done.returncode == 1
    assert "isn't an invitation" in done.stderr


def test_the_key_is_made_once_and_for_stager_alone(cluster: Cluster, tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    state.prepare()
    engine = Engine(cluster.manager.docker_url.removeprefix("unix://"))

    first, second = invite(engine, state, ""), invite(engine, state, "")

    assert first == second
    assert first.manager == f"{cluster.manager.address}:2377"
    key = state.path / "ssh" / "id_ed25519"
    assert os.stat(key).st_mode & 0o777 == 0o600
    assert os.stat(key.parent).st_mode & 0o777 == 0o700
