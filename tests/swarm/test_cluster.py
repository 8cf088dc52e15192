"""The cluster that the tests of the engine `swarm` stand on does what they rely on."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from tests.integration.stager import until
from tests.swarm.cluster import Cluster, remove_leftovers, running_cluster, why_no_cluster
from tests.swarm.node import Node

SERVE = "mkdir -p /w && hostname > /w/index.html && exec httpd -f -p 8080 -h /w"

needs_cluster = pytest.mark.skipif(bool(why_no_cluster()), reason=f"no cluster: {why_no_cluster()}")


def answers(node: Node, port: int) -> bool:
    try:
        with socket.create_connection((node.address, port), 2) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.makefile("rb").readline()
    except OSError:
        return False


def serve_on_all(cluster: Cluster, port: int) -> None:
    """One task on each node, with its port published on the node."""
    publish = f"mode=host,published={port},target=8080"
    options = ["--mode", "global", "--endpoint-mode", "dnsrr", "--publish", publish, "--no-resolve-image"]
    cluster.docker("service", "create", "--detach", "--quiet", "--name", "web", *options,
                   "stager-base/static:1", "sh", "-c", SERVE)  # fmt: skip


def test_the_host_reaches_the_published_ports_of_all_nodes(cluster: Cluster) -> None:
    serve_on_all(cluster, 20080)

    until(lambda: all(answers(node, 20080) for node in cluster.nodes), "all answer")


def test_a_node_without_power_is_down_and_comes_back_without_containers(cluster: Cluster) -> None:
    serve_on_all(cluster, 20080)
    lost = cluster.workers[0]
    until(lambda: answers(lost, 20080), "it answers")

    lost.power_off()
    cluster.wait(lost, state="Down")
    assert not answers(lost, 20080)
    cluster.docker("service", "rm", "web")
    cluster.boot(lost)
    cluster.wait(lost)

    assert not lost.docker("ps", "--quiet")


def test_a_node_without_its_link_goes_on_alone(cluster: Cluster) -> None:
    serve_on_all(cluster, 20080)
    cut = cluster.workers[1]
    until(lambda: answers(cut, 20080), "it answers")

    cut.cut()
    cluster.wait(cut, state="Down")
    assert cut.docker("ps", "--quiet")  # fencing is for those who use it
    assert not answers(cut, 20080)

    cut.mend()
    cluster.wait(cut)
    until(lambda: answers(cut, 20080), "it answers again")


def test_the_registry_serves_all_nodes(cluster: Cluster) -> None:
    name = cluster.push("stager-base/static:1")

    for node in cluster.nodes:
        node.docker("pull", "--quiet", name)


@needs_cluster
def test_nothing_is_left_of_a_cluster() -> None:
    with running_cluster() as cluster:
        folder, bridge, pids = cluster.folder, cluster.name, [node.pid for node in cluster.nodes]

    assert not folder.exists()
    assert not has_link(bridge)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert bridge not in subprocess.run(["iptables", "-S"], capture_output=True, text=True, check=True).stdout
    assert not list(Path("/sys/fs/cgroup").glob(f"*/{bridge}"))


@needs_cluster
def test_what_a_killed_run_left_is_removed() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    bridge = f"stgs{ended.pid}n0"
    subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], check=True)

    remove_leftovers()

    assert not has_link(bridge)


def has_link(name: str) -> bool:
    return subprocess.run(["ip", "link", "show", name], capture_output=True, check=False).returncode == 0
