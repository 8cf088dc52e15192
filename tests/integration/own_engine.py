"""A Docker engine of the test's own, which may be restarted and killed: never the machine's.

It has folders, a socket and a bridge to itself, leaves the firewall alone, and ends with the process that
started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

from tests.integration.stager import until

WITH_TEST = ["setpriv", "--pdeathsig", "TERM"]
START_ALONE = [*WITH_TEST, "unshare", "--mount", "--propagation", "private"]
"""It ends with the test, and so do its mounts, also when it is killed."""
START = 60.0
"""Seconds until it must answer."""
PLACES = [IPv4Network(f"192.168.{third}.0/28") for third in range(200, 250)]
"""The subnet of its default bridge, which isn't used."""

NETWORKS = IPv4Network("10.214.0.0/20")
"""The subnets of containers that tests make in it. The machine's own engine doesn't know them, so they are
outside the pools that tests use there."""


class NoEngineError(Exception):
    """There can be no second engine on this machine."""


class OwnEngine:
    """One engine.

    Args:
        log: where it writes.
        namespace: a process in whose mount namespace it runs; by default, the namespace is its own, and ends
            with it.
    """

    def __init__(self, log: Path, namespace: int | None = None) -> None:
        self._alone = (
            START_ALONE
            if namespace is None
            else [
                *WITH_TEST,
                "nsenter",
                f"--mount=/proc/{namespace}/ns/mnt",
            ]
        )
        # Short: a path to a socket has at most 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="stager-test-"))
        self._log = log
        self._bridge = f"stgt{secrets.token_hex(3)}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._folder}/docker.sock"

    def make_bridge(self) -> None:
        """Make the bridge that it takes for `docker0`, which belongs to the machine's own engine."""
        routes = json.loads(_run("ip", "--json", "route"))
        taken = [IPv4Network(route["dst"], strict=False) for route in routes if route["dst"] != "default"]
        place = next(place for place in PLACES if not any(place.overlaps(other) for other in taken))
        _run("ip", "link", "add", self._bridge, "type", "bridge")
        _run("ip", "address", "add", f"{place[1]}/{place.prefixlen}", "dev", self._bridge)
        _run("ip", "link", "set", self._bridge, "up")

    def start(self) -> None:
        """Start it, and wait until it answers. Raises NoEngineError."""
        # What was killed leaves this behind, and waits in vain for the containerd that it names.
        (self._folder / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)
        folders = [f"--data-root={self._folder}/data", f"--exec-root={self._folder}/exec"]
        places = [f"--pidfile={self._folder}/pid", f"--host={self.url}", f"--bridge={self._bridge}"]
        alone = ["--iptables=false", "--ip6tables=false", "--ip-masq=false", "--ip-forward=false"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._alone, "dockerd", *folders, *places, *alone],
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            until(self._answers, "the engine answers", START)
        except AssertionError as error:
            raise NoEngineError(f"{error}: {self._log.read_text()[-500:]}") from error

    def resume(self) -> None:
        """Start it, unless it runs."""
        if self._process is None or self._process.poll() is not None:
            self.start()

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise NoEngineError(self._log.read_text()[-500:])
        asked = subprocess.run(["docker", "--host", self.url, "version"], capture_output=True, check=False)
        return asked.returncode == 0

    def load(self, image: str) -> None:
        """Give it an image of the machine's own engine."""
        load = ["docker", "--host", self.url, "load", "--quiet"]
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
            subprocess.run(load, stdin=saved.stdout, stdout=subprocess.DEVNULL, check=True)

    def stop(self) -> None:
        """Have it end; it stops its containers first."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(60)

    def kill9(self) -> None:
        """End it as a bug of its own would: its containers go on without it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def clean_up(self) -> None:
        """Leave nothing of it."""
        if self._process is not None:
            self.resume()
            self._remove_all(["ps", "--all"], ["rm", "--force"])
            self._remove_all(["network", "ls", "--filter=type=custom"], ["network", "rm"])
            self.stop()
        self._end_shims()
        subprocess.run(["ip", "link", "delete", self._bridge], capture_output=True, check=False)
        shutil.rmtree(self._folder)

    def _end_shims(self) -> None:
        """End the processes between containerd and its containers that a killed engine left."""
        address = f"{self._folder}/exec/containerd/containerd.sock".encode()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if address in path.read_bytes().split(b"\0"):
                    os.kill(int(path.parent.name), signal.SIGKILL)

    def _remove_all(self, found_by: list[str], removed_by: list[str]) -> None:
        docker = ["docker", "--host", self.url]
        found = _run(*docker, *found_by, "--quiet").split()
        if found:
            _run(*docker, *removed_by, *found)


@contextlib.contextmanager
def own_engine(log: Path, namespace: int | None = None) -> Iterator[OwnEngine]:
    """An engine for as long as the block lasts. Raises NoEngineError, with why.

    Args:
        namespace: see `OwnEngine`.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NoEngineError("only root on Linux may start one")
    missing = [tool for tool in ("dockerd", "ip", "setpriv", "unshare") if shutil.which(tool) is None]
    if missing:
        raise NoEngineError(f"no {', '.join(missing)} here")
    engine = OwnEngine(log, namespace)
    try:
        engine.make_bridge()
        engine.start()
        yield engine
    finally:
        engine.clean_up()


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoEngineError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
