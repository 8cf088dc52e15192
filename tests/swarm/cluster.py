"""A swarm of three engines for tests: a manager and two workers, each a machine of `node`, and a registry.

The machines are joined by a bridge of the host, which reaches all their ports. Nothing leaves the host. Names
carry the process id of the test run: what a killed run left is removed by the next one.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface
from pathlib import Path

from tests.integration.stager import until
from tests.swarm.node import ClusterError, Node, Place, run_command

SUBNETS = [IPv4Network(f"10.216.{third}.0/24") for third in range(256)]
"""Of the bridge between the machines; the first that is free."""
NODE_POOL, OVERLAY_POOL = "10.217.0.0/16", "10.218.0.0/16"
"""Of networks inside the machines, which the host doesn't see. Those of overlay networks are /26 each."""
REGISTRY_PORT = 5000
REGISTRY = """
version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {folder}}}
  delete: {{enabled: true}}
http: {{addr: "{address}"}}
"""
TOOLS = ("dockerd", "ip", "iptables", "setpriv", "unshare", "nsenter", "sshd", "ssh", "docker-registry")
BRIDGE = re.compile(r"stgs(\d+)n\d+")

_counter = itertools.count()


class Cluster:
    """Three machines in one swarm.

    Attributes:
        nodes: the machines; the first is the manager.
        registry: "address:port" of a registry without TLS, which the host and all machines reach.
        key: a private SSH key that may forward sockets of each machine as root, and nothing else.
        gateway: the host's address for the machines: where the front's requests come from.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="stgs-", dir="/tmp"))
        self.name = f"stgs{os.getpid()}n{next(_counter)}"
        self.nodes: list[Node] = []
        self.key = self.folder / "id_ed25519"
        self.gateway = ""
        self.registry = ""
        self._registry: subprocess.Popen[bytes] | None = None

    @property
    def manager(self) -> Node:
        return self.nodes[0]

    @property
    def workers(self) -> list[Node]:
        return self.nodes[1:]

    def docker(self, *arguments: str) -> str:
        """What the docker command prints about the manager's engine."""
        return self.manager.docker(*arguments)

    # --- the start

    def start(self) -> None:
        """Start all, and wait until the swarm has three ready nodes. Raises ClusterError."""
        run_command(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)])
        subnet = self._make_bridge()
        self.gateway, self.registry = str(subnet[254]), f"{subnet[254]}:{REGISTRY_PORT}"
        self.start_registry()
        self.nodes = [self._node(number, subnet) for number in (1, 2, 3)]
        self.boot(*self.nodes)
        self._form_swarm()

    def _make_bridge(self) -> IPv4Network:
        subnet = _free_subnet()
        run_command(f"ip link add {self.name} type bridge".split())
        run_command(f"ip address add {subnet[254]}/{subnet.prefixlen} dev {self.name}".split())
        run_command(f"ip link set {self.name} up".split())
        for rule in _rules(self.name):
            run_command(["iptables", "--wait", "--insert", *rule])
        return subnet

    def _node(self, number: int, subnet: IPv4Network) -> Node:
        folder = self.folder / str(number)
        folder.mkdir()
        host, third = f"{subnet[number]}/{subnet.prefixlen}", str(subnet[0]).split(".")[2]
        address6 = IPv6Interface(f"fd00:216:{third}::{number}/64")
        link = f"{self.name.replace('stgs', 'sv')}x{number}"
        place = Place(IPv4Interface(host), address6, self.gateway, self.name, link)
        options = [
            f"--insecure-registry={self.registry}", f"--default-address-pool=base={NODE_POOL},size=24",
            f"--cgroup-parent=/{self.name}", "--shutdown-timeout=2",
        ]  # fmt: skip
        return Node(f"node-{number}", folder, place, options)

    def boot(self, *nodes: Node) -> None:
        """Start machines that are off, and wait until their engines answer. Call it in the main thread."""
        key = self.key.with_suffix(".pub").read_text().strip()
        for node in nodes:
            node.switch_on()
        with ThreadPoolExecutor(len(nodes)) as threads:
            list(threads.map(lambda node: node.boot(key), nodes))

    def _form_swarm(self) -> None:
        pool = ["--default-addr-pool", OVERLAY_POOL, "--default-addr-pool-mask-length", "26"]
        self.docker("swarm", "init", "--advertise-addr", self.manager.address, *pool)
        token = self.docker("swarm", "join-token", "--quiet", "worker")
        for node in self.workers:
            node.docker("swarm", "join", "--token", token, f"{self.manager.address}:2377")
        self.wait()

    def start_registry(self) -> None:
        """Start the registry; what it stored before is there again."""
        text = REGISTRY.format(folder=self.folder / "registry", address=self.registry)
        settings = self.folder / "registry.yml"
        settings.write_text(text)
        with (self.folder / "registry.log").open("ab") as log:
            self._registry = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "docker-registry", "serve", str(settings)],
                stdout=log, stderr=log,
            )  # fmt: skip

    def stop_registry(self) -> None:
        """End the registry."""
        if self._registry is not None:
            self._registry.kill()
            self._registry.wait()

    # --- images

    def load(self, image: str, *nodes: Node) -> None:
        """Copy an image of the host's engine to these machines; without any, to the manager."""
        archive = self.folder / f"{image.replace('/', '_').replace(':', '_')}.tar"
        if not archive.exists():
            run_command(["docker", "save", "--output", str(archive), image])
        for node in nodes or [self.manager]:
            node.docker("load", "--quiet", "--input", str(archive))

    def push(self, image: str) -> str:
        """Push an image that the manager has to the registry. Returns its name there, with its digest."""
        name = f"{self.registry}/{image}"
        self.docker("tag", image, name)
        self.docker("push", "--quiet", name)
        found: list[str] = json.loads(
            self.docker("image", "inspect", "--format", "{{json .RepoDigests}}", name)
        )
        return next(digest for digest in found if digest.startswith(f"{self.registry}/"))

    # --- what the swarm says

    def node_id(self, node: Node) -> str:
        """Its id in the swarm."""
        return self.states()[node.name][0]

    def states(self) -> dict[str, tuple[str, str]]:
        """Id and state (`Ready`, `Down`, `Unknown`) of each node by host name."""
        lines = self.docker("node", "ls", "--format", "{{.Hostname}} {{.ID}} {{.Status}}").splitlines()
        return {name: (node_id, state) for name, node_id, state in (line.split() for line in lines)}

    def wait(self, *nodes: Node, state: str = "Ready") -> None:
        """Wait until these nodes, or all, are in this state."""
        names = {node.name for node in nodes or self.nodes}

        def reached() -> bool:
            with contextlib.suppress(ClusterError):  # a manager that starts has no leader for a moment
                states = self.states()
                return all(states.get(name, ("", ""))[1] == state for name in names)
            return False

        until(reached, f"{', '.join(sorted(names))} {state}")

    # --- between tests

    def heal(self) -> None:
        """Restore the state after the start: all machines and the registry on, and nothing of a test left."""
        if self._registry is None or self._registry.poll() is not None:
            self.start_registry()
        for node in self.nodes:
            self._heal(node)
        self.wait()
        self.empty()

    def _heal(self, node: Node) -> None:
        if not node.is_on:
            self.boot(node)
        node.mend()
        if subprocess.run(
            [*node.enter, "pgrep", "-x", "dockerd"], capture_output=True, check=False
        ).returncode:
            node.start_engine()
        if subprocess.run([*node.enter, "pgrep", "-x", "sshd"], capture_output=True, check=False).returncode:
            node.start_ssh()
        node.wait()
        self_made = "stager.ready"
        node_id = node.docker("info", "--format", "{{.Swarm.NodeID}}")
        with contextlib.suppress(ClusterError):
            self.docker("node", "update", "--availability", "active", node_id)
            labels = json.loads(self.docker("node", "inspect", "--format", "{{json .Spec.Labels}}", node_id))
            for label in (name for name in labels if name.startswith(self_made)):
                self.docker("node", "update", "--label-rm", label, node_id)

    def empty(self) -> None:
        """Remove all services, containers, networks and volumes."""
        _remove(self.manager, ["service", "ls"], ["service", "rm"])
        for node in self.nodes:
            _remove(node, ["ps", "--all"], ["rm", "--force", "--volumes"])
            _remove(node, ["volume", "ls"], ["volume", "rm", "--force"])
            _remove(
                node, ["network", "ls", "--filter=type=custom", "--filter=scope=local"], ["network", "rm"]
            )

        def networks_gone() -> bool:
            custom = ["network", "ls", "--filter=driver=overlay", "--format={{.Name}}"]
            names = [name for name in self.docker(*custom).split() if name != "ingress"]
            for name in names:
                with contextlib.suppress(ClusterError):  # tasks of the services leave them a little later
                    self.docker("network", "rm", name)
            return not names

        until(networks_gone, "no network is left")

    # --- the end

    def close(self) -> None:
        """Leave nothing of it."""
        for node in self.nodes:
            if node.is_on:
                node.power_off()
        self.stop_registry()
        _remove_host_parts(self.name)
        shutil.rmtree(self.folder, ignore_errors=True)


def _remove(node: Node, found_by: list[str], removed_by: list[str]) -> None:
    found = node.docker(*found_by, "--quiet").split()
    kept = {"docker_gwbridge"}
    if found_by[0] == "network":
        found = [name for name in node.docker(*found_by, "--format={{.Name}}").split() if name not in kept]
    for one in found:
        with contextlib.suppress(ClusterError):  # it went by itself
            node.docker(*removed_by, one)


def _free_subnet() -> IPv4Network:
    routes = json.loads(run_command(["ip", "--json", "route"]))
    taken = [IPv4Network(route["dst"], strict=False) for route in routes if route["dst"] != "default"]
    start = os.getpid() % len(SUBNETS)  # runs side by side choose at the same moment
    ordered = SUBNETS[start:] + SUBNETS[:start]
    return next(subnet for subnet in ordered if not any(subnet.overlaps(other) for other in taken))


def _rules(bridge: str) -> list[list[str]]:
    """The host's Docker drops what it forwards; with br_netfilter, also between two ports of a bridge."""
    return [["FORWARD", "-i", bridge, "-o", bridge, "-j", "ACCEPT"]]


def _remove_host_parts(bridge: str) -> None:
    for rule in _rules(bridge):
        subprocess.run(["iptables", "--wait", "--delete", *rule], capture_output=True, check=False)
    subprocess.run(["ip", "link", "delete", bridge], capture_output=True, check=False)
    groups = Path("/sys/fs/cgroup")
    for group in (groups / bridge, *groups.glob(f"*/{bridge}")):  # version 2 has one tree, version 1 several
        for folder in [*sorted(group.glob("**/"), reverse=True)]:
            with contextlib.suppress(OSError):
                folder.rmdir()


def remove_leftovers() -> None:
    """Remove the bridges, rules and groups of test runs that were killed. Their processes ended with them."""
    for link in json.loads(run_command(["ip", "--json", "link", "show", "type", "bridge"]) or "[]"):
        name = BRIDGE.fullmatch(link.get("ifname", ""))
        if name and not Path(f"/proc/{name[1]}").exists():
            _remove_host_parts(name[0])


def why_no_cluster() -> str:
    """Why there can be no cluster here; empty if there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root on Linux may start machines of a cluster"
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [tool for tool in TOOLS if shutil.which(tool, path=path) is None]
    return f"no {', '.join(missing)} here" if missing else ""


@contextlib.contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A cluster for as long as the block lasts. Raises ClusterError, with why."""
    if reason := why_no_cluster():
        raise ClusterError(reason)
    remove_leftovers()
    cluster = Cluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()
