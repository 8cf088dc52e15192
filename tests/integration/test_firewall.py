"""The firewall rules of the security page, as they stand there, in a network namespace of the test's own.

Nothing leaves this machine: the internet, a private network and a cloud's metadata service are stand-ins in
namespaces beside it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.unit.docs.pages import samples

INTERNET, PRIVATE, METADATA = "203.0.113.2", "192.168.77.2", "169.254.169.254"
SERVE = (
    "import socket, sys\n"
    "servers = [socket.create_server((address, int(port))) for address, port in "
    "(pair.split(':') for pair in sys.argv[1:])]\n"
    "print('ready', flush=True)\n"
    "sys.stdin.read()\n"
)
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).close()"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("iptables") or not shutil.which("ip"),
    reason="only root on Linux may make a network namespace, and it takes iptables and ip",
)


class Place:
    """A network namespace, which lives as long as a process in it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(["unshare", "--net", "sleep", "600"])
        self._servers: list[subprocess.Popen[str]] = []
        # Until it has moved there, its namespace is ours.
        ours = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{self.pid}/ns/net") == ours:
            time.sleep(0.01)
        self.run("ip link set lo up")

    @property
    def pid(self) -> int:
        return self._process.pid

    def run(self, script: str) -> None:
        """Run this there, each line of which must work."""
        done = subprocess.run(
            [*self._enter, "bash", "-e", "-c", script], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (script, done.stderr)

    def serve(self, *addresses: str) -> None:
        """Let everybody in at these, each with its port."""
        server = subprocess.Popen(
            [*self._enter, sys.executable, "-c", SERVE, *addresses],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        self._servers.append(server)

    def reaches(self, address: str, port: int = 80) -> bool:
        """Whether somebody lets us in there."""
        connect = [*self._enter, sys.executable, "-c", CONNECT, address, str(port)]
        return subprocess.run(connect, capture_output=True, check=False).returncode == 0

    def close(self) -> None:
        for server in self._servers:
            server.communicate("")
        self._process.kill()
        self._process.wait()

    @property
    def _enter(self) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net"]


@pytest.fixture
def places() -> Iterator[dict[str, Place]]:
    """A host with a preview, one from a fork, and what is outside."""
    with contextlib.ExitStack() as stack:
        made: dict[str, Place] = {}
        for name in ("host", "preview", "fork", "outside"):
            made[name] = Place()
            stack.callback(made[name].close)
        host, outside = made["host"], made["outside"]
        for name, bridge, net in (("preview", "pvt0", "10.200.0"), ("fork", "pvf0", "10.200.1")):
            _join(host, made[name], bridge, f"{net}.1/28", f"{net}.2/28")
            made[name].run(f"ip route add default via {net}.1")
        _join(host, outside, "eth0", "198.51.100.1/24", "198.51.100.2/24")
        for address in (INTERNET, PRIVATE, METADATA):
            outside.run(f"ip address add {address}/32 dev lo")
            host.run(f"ip route add {address}/32 via 198.51.100.2")
        outside.run("ip route add 10.200.0.0/14 via 198.51.100.1")
        # As Docker makes them; of its own rules only this chain matters here.
        host.run("echo 1 >/proc/sys/net/ipv4/ip_forward")
        host.run(
            "iptables -N DOCKER-USER; iptables -A FORWARD -j DOCKER-USER; iptables -A DOCKER-USER -j RETURN"
        )
        host.serve("0.0.0.0:80")
        outside.serve(*(f"{address}:80" for address in (INTERNET, PRIVATE, METADATA)))
        made["preview"].serve("10.200.0.2:3000")
        made["fork"].serve("10.200.1.2:3000")
        yield made


def _join(host: Place, guest: Place, bridge: str, gateway: str, address: str) -> None:
    host.run(f"ip link add {bridge} type veth peer name eth0 netns {guest.pid}")
    host.run(f"ip address add {gateway} dev {bridge}; ip link set {bridge} up")
    guest.run(f"ip address add {address} dev eth0; ip link set eth0 up")


def reached(places: dict[str, Place], who: str) -> dict[str, bool]:
    place = places[who]
    return {
        "host": place.reaches("198.51.100.1"),
        "private": place.reaches(PRIVATE),
        "metadata": place.reaches(METADATA),
        "internet": place.reaches(INTERNET),
    }


def test_the_rules_of_the_security_page(places: dict[str, Place]) -> None:
    everything = dict.fromkeys(("host", "private", "metadata", "internet"), True)
    assert reached(places, "preview") == reached(places, "fork") == everything, "without them"
    [rules] = [s.text for s in samples("bash") if s.page.name == "security.md"]
    places["host"].run(rules)
    nothing = dict.fromkeys(everything, False)
    assert reached(places, "preview") == nothing | {"internet": True}
    assert reached(places, "fork") == nothing
    assert places["host"].reaches("10.200.0.2", 3000), "the front reaches a preview"
    assert places["host"].reaches("10.200.1.2", 3000)
    assert reached(places, "host")["private"], "the machine itself goes where it likes"
