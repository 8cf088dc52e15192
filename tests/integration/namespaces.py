"""Network namespaces of the test's own: a host with previews, and what is outside.

Nothing leaves this machine: the internet, a private network and a cloud's metadata service are stand-ins in
namespaces beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

SERVE = (
    "import socket, sys\n"
    "def opened(pair):\n"
    "    address, _, port = pair.rpartition(':')\n"
    "    family = socket.AF_INET6 if ':' in address else socket.AF_INET\n"
    "    return socket.create_server((address, int(port)), family=family)\n"
    "def bound(pair):\n"
    "    address, _, port = pair.rpartition(':')\n"
    "    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); one.bind((address, int(port))); return one\n"
    "tcp = [opened(pair) for pair in sys.argv[1:] if not pair.startswith('udp:')]\n"
    "udp = [bound(pair[4:]) for pair in sys.argv[1:] if pair.startswith('udp:')]\n"
    "print('ready', flush=True)\n"
    "import selectors, threading\n"
    "def echo(one):\n"
    "    while True:\n"
    "        data, who = one.recvfrom(512); one.sendto(data, who)\n"
    "for one in udp: threading.Thread(target=echo, args=(one,), daemon=True).start()\n"
    "sys.stdin.read()\n"
)
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).close()"
ASK = (
    "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2);"
    " s.connect((sys.argv[1], int(sys.argv[2]))); s.send(b'x'); s.recv(9)"
)

needs_namespaces = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("iptables") or not shutil.which("ip"),
    reason="only root on Linux may make a network namespace, and it takes iptables and ip",
)


class Namespace:
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

    @property
    def enter(self) -> list[str]:
        """What runs a command there."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net"]

    def run(self, script: str) -> str:
        """Run this there, each line of which must work, and give what it printed."""
        done = subprocess.run(
            [*self.enter, "bash", "-e", "-c", script], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (script, done.stderr)
        return done.stdout

    def serve(self, *addresses: str) -> None:
        """Listen at these, each with its port; `udp:` before one answers what it gets."""
        server = subprocess.Popen(
            [*self.enter, sys.executable, "-c", SERVE, *addresses],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        self._servers.append(server)

    def reaches(self, address: str, port: int = 80, by: str = CONNECT) -> bool:
        """Whether a connection is accepted there."""
        connect = [*self.enter, sys.executable, "-c", by, address, str(port)]
        return subprocess.run(connect, capture_output=True, check=False).returncode == 0

    def close(self) -> None:
        """End it, with all that runs there for the test."""
        for server in self._servers:
            server.communicate("")
        self._process.kill()
        self._process.wait()


class Helper:
    """The root helper, as a process of its own.

    Args:
        folder: for its socket.
        enter: what runs a command where it is to run.
        options: more of its command line.
    """

    def __init__(self, folder: Path, enter: Sequence[str] = (), *options: str) -> None:
        folder.chmod(0o755)
        self.socket = folder / "helper.sock"
        self._log = folder / "helper.log"
        self._command = [
            *enter, sys.executable, "-m", "stager.helper",
            f"--socket={self.socket}", "--user=root", f"--builder-folder={folder}/builder", *options,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            return bool(self.ask("hello")["ok"])
        except OSError:
            return False

    def stop(self) -> None:
        """SIGTERM, and its end."""
        if self._process is not None:
            self._process.terminate()
            assert self._process.wait(20) == 0, self.log
            self._process = None

    def kill9(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    @property
    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text()

    def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        """What it answers."""
        import socket  # noqa: PLC0415 (named like what this has)

        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(30)
            asking.connect(str(self.socket))
            asking.sendall(json.dumps({"verb": verb, "fields": fields}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(asking.makefile().readline())
        return answer


@contextlib.contextmanager
def helping(folder: Path, enter: Sequence[str] = (), *options: str) -> Iterator[Helper]:
    """A helper for as long as the block lasts."""
    helper = Helper(folder, enter, *options)
    helper.start()
    try:
        yield helper
    finally:
        helper.stop()


def join(
    host: Namespace, guest: Namespace, bridge: str, addresses: dict[str, str], link: str = "eth0"
) -> None:
    """A link between two: its end in the host has this name.

    Args:
        addresses: those of the host's end, each with the guest's.
    """
    host.run(f"ip link add {bridge} type veth peer name {link} netns {guest.pid}")
    host.run(f"ip link set {bridge} up")
    guest.run(f"ip link set {link} up")
    for ours, theirs in addresses.items():
        quick = " nodad" if ":" in ours else ""
        host.run(f"ip address add {ours} dev {bridge}{quick}")
        guest.run(f"ip address add {theirs} dev {link}{quick}")
