"""A real HAProxy of the test's own: in a folder of its own, on a free port, never the system's."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.integration.nginx import is_open
from tests.integration.stager import until
from tests.unit.front.harness import free_port

BINARY = "/usr/sbin/haproxy"

BASE = "global\n    log stdout local0 notice\n    maxconn 2000\n"
"""Stands for the file of the distribution, which is read first."""


class HaproxyUnderTest:
    """One HAProxy, with a master process as under systemd.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.target = folder / "conf" / "haproxy.cfg"
        self.port = free_port()
        self._base = folder / "base.cfg"
        self._pidfile = folder / "haproxy.pid"
        self._process: subprocess.Popen[bytes] | None = None
        self.target.parent.mkdir(parents=True)
        self._base.write_text(BASE)

    @property
    def commands(self) -> dict[str, list[str]]:
        """The commands for the configuration of a Stager before which this HAProxy stands."""
        return {
            "test_command": ["haproxy", "-c", "-f", str(self._base), "-f"],
            "reload_command": ["sh", "-c", f"kill -USR2 $(cat {self._pidfile})"],
        }

    @property
    def settings(self) -> dict[str, object]:
        """`haproxy:` of that configuration."""
        return {**self.commands, "target_path": str(self.target), "bind": f"127.0.0.1:{self.port}"}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def start(self) -> None:
        """Start it, and wait until it listens, if there is a configuration to listen by."""
        files = ["-f", str(self._base), "-f", str(self.target.parent)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [BINARY, "-W", *files, "-p", str(self._pidfile)], stdout=log, stderr=log
            )
        until(self._runs, "HAProxy runs")
        if self.target.exists():
            until(lambda: is_open(self.port), "HAProxy listens")

    def _runs(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            return self._process is not None and int(self._pidfile.read_text()) == self._process.pid
        return False

    def workers(self) -> list[int]:
        """Its worker processes, those included that only end open connections."""
        assert self._process is not None
        found = subprocess.run(
            ["pgrep", "-P", str(self._process.pid)], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in found.stdout.split()]

    def kill9(self) -> None:
        """End it, with its workers, as a power cut would."""
        assert self._process is not None
        for pid in [self._process.pid, *self.workers()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def stop(self) -> None:
        if self._process is not None:
            self.kill9()

    def reload(self) -> None:
        """Have it read its files again."""
        subprocess.run(self.commands["reload_command"], check=True)

    def refuses(self) -> str:
        """Why it would not start with its file as it is; empty when it would, or when there is none."""
        if not self.target.exists():
            return ""
        command = [*self.commands["test_command"], str(self.target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stderr if done.returncode else ""

    def backends(self) -> list[str]:
        """The hosts that have a backend of their own."""
        lines = self.target.read_text().splitlines()
        return sorted(
            line.split()[1].partition(":")[2] for line in lines if line.startswith("backend stager:")
        )

    def get(self, host: str, path: str = "/", **headers: str) -> httpx.Response:
        """What a visitor gets. The name needn't resolve: we set the Host."""
        with httpx.Client(trust_env=False, timeout=20) as client:
            return client.get(f"{self.url}{path}", headers={"Host": host, **headers})


@contextlib.contextmanager
def running_haproxy(folder: Path) -> Iterator[HaproxyUnderTest]:
    """An HAProxy that is running, and ends with the block."""
    haproxy = HaproxyUnderTest(folder)
    haproxy.start()
    try:
        yield haproxy
    finally:
        haproxy.stop()
