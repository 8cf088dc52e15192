"""A real nginx of the test's own: in a folder of its own, on a free port, never the system's."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.integration.stager import until
from tests.unit.front.harness import free_port

BINARY = "/usr/sbin/nginx"


class NginxUnderTest:
    """One nginx.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sites = folder / "sites-enabled"
        self.port = free_port()
        self._config = folder / "nginx.conf"
        self._command = [BINARY, "-p", str(folder), "-c", str(self._config)]
        self._process: subprocess.Popen[bytes] | None = None
        self.sites.mkdir(parents=True)
        self._config.write_text(
            # Workers as the user who started it: others can't enter pytest's folder.
            f"user root;\ndaemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\n"
            f"error_log {folder}/error.log info;\nevents {{ worker_connections 2048; }}\n"
            f"http {{\n    access_log {folder}/access.log;\n"
            + "".join(
                f"    {kind}_temp_path {folder}/{kind};\n"
                for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            + f"    include {self.sites}/*;\n}}\n"
        )

    @property
    def settings(self) -> dict[str, object]:
        """The commands for the configuration of a Stager before which this nginx stands."""
        return {
            "test_command": ["nginx", "-t", *self._command[1:]],
            "reload_command": ["nginx", "-s", "reload", *self._command[1:]],
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it listens, if anything makes it."""
        self._process = subprocess.Popen(self._command)
        # A pid file may be left from an nginx that was killed.
        until(lambda: self._pid() == self._process.pid if self._process else None, "nginx runs")
        time.sleep(0.05)

    def _pid(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            return int((self.folder / "nginx.pid").read_text())
        return 0

    @property
    def pid(self) -> int:
        """Of its master process."""
        assert self._process is not None
        return self._process.pid

    def kill9(self) -> None:
        """End it, with its workers, as a power cut would."""
        assert self._process is not None
        workers = subprocess.run(
            ["pgrep", "-P", str(self._process.pid)], capture_output=True, text=True, check=False
        )
        for pid in [self._process.pid, *map(int, workers.stdout.split())]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def reload(self) -> None:
        """Have it read its files again."""
        subprocess.run([*self._command, "-s", "reload"], capture_output=True, check=True)

    def refuses(self) -> str:
        """Why it would not start with its files as they are; empty when it would."""
        done = subprocess.run([*self._command, "-t", "-q"], capture_output=True, text=True, check=False)
        return done.stderr if done.returncode else ""

    def files(self) -> list[str]:
        """What is in the folder that it includes, whatever is hidden among it."""
        return sorted(path.name for path in self.sites.iterdir())

    def get(self, host: str, path: str = "/", **headers: str) -> httpx.Response:
        """What a visitor gets. The name needn't resolve: we set the Host."""
        with httpx.Client(trust_env=False, timeout=20) as client:
            return client.get(f"{self.url}{path}", headers={"Host": host, **headers})


@contextlib.contextmanager
def running_nginx(folder: Path) -> Iterator[NginxUnderTest]:
    """An nginx that is running, and ends with the block."""
    nginx = NginxUnderTest(folder)
    nginx.start()
    try:
        yield nginx
    finally:
        nginx.stop()


def is_open(port: int) -> bool:
    """Whether a program listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
