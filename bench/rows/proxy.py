"""The processor time of a request through the front, compared with nginx."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx

import hatch_build
from bench import hub, wrk
from bench.figures import median, rounded, seconds, times
from bench.processes import children, cpu_seconds
from bench.row import Chart, Figures, Line, Row
from bench.testbed import ROOT, Testbed
from stager.domain.route import Endpoint, Target
from tests.integration.nginx import NginxUnderTest, is_open
from tests.integration.stager import until
from tests.unit.front.harness import free_port, rig

ROUTES, BACKENDS, ROUNDS = 1_000, 10, 7
LIMIT, COMPILED_LIMIT = 2.0, 1.45
DOMAIN = "stage.test"
_ENDLESS = "keepalive_requests 100000000;"

Party = tuple[int, Callable[[], float], list[tuple[str, str]]]
"""A router: its port, its processor time so far, and its targets."""


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: microseconds of processor time a request, by router and round."""
    return asyncio.run(_measure(testbed))


async def _measure(testbed: Testbed) -> dict[str, Any]:
    async with contextlib.AsyncExitStack() as stack:
        ports = [free_port() for _ in range(BACKENDS)]
        stack.enter_context(running_nginx(testbed.folder / "backend", applications(ports)))
        until(lambda: all(map(is_open, ports)), "the applications listen")
        parties = {"floor": stack.enter_context(_router(testbed.folder / "nginx", ports))}
        parties["stager"] = await stack.enter_async_context(running_front(testbed.folder / "front", ports))
        packages = await asyncio.to_thread(compiled, testbed.folder / "compiled")
        with patch.dict(os.environ, PYTHONPATH=str(packages)):
            front = running_front(testbed.folder / "compiled-front", ports)
            parties["compiled"] = await stack.enter_async_context(front)
        if testbed.options.peers and hub.is_installed():
            parties["peer"] = stack.enter_context(_chp(testbed.folder, ports))
        return {
            "routes": ROUTES,
            "microseconds": await asyncio.to_thread(measured_rounds, testbed.folder, parties),
        }


def measured_rounds(folder: Path, parties: dict[str, Party]) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in parties}
    for party in parties.values():
        _asked(folder, party, 1)  # connections are made, code is warm
    for number in range(ROUNDS):
        names = list(parties)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            taken[name].append(_asked(folder, parties[name], wrk.SECONDS))
    return {name: rounded(values, 2) for name, values in taken.items()}


def _asked(folder: Path, party: Party, duration: int) -> float:
    port, cpu, targets = party
    before = cpu()
    requests = wrk.ask(folder, port, targets, duration)
    return (cpu() - before) / requests * 1e6


def _by_host() -> list[tuple[str, str]]:
    return [(f"app-{number}.{DOMAIN}", "/") for number in range(ROUTES)]


def _table(ports: list[int]) -> dict[str, Target]:
    return {
        host: Endpoint("127.0.0.1", ports[number % len(ports)]) for number, (host, _) in enumerate(_by_host())
    }


@contextlib.asynccontextmanager
async def running_front(folder: Path, ports: list[int]) -> AsyncIterator[Party]:
    async with rig(folder) as running:
        await running.serve(_table(ports))
        yield running.port, lambda: cpu_seconds(running.hello.pid), _by_host()


def compiled(folder: Path) -> Path:
    """Copy the package, with the front's hot modules compiled as in the wheel. Returns the folder to import
    it from."""
    modules, packages = folder / "modules", folder / "packages"
    shutil.copytree(ROOT / hatch_build.SOURCE / "stager", packages / "stager")
    for module in hatch_build.compile_into(modules, ROOT / hatch_build.SOURCE):
        shutil.move(modules / module, packages / module)
    return packages


@contextlib.contextmanager
def running_nginx(folder: Path, sites: str) -> Iterator[NginxUnderTest]:
    nginx = NginxUnderTest(folder)
    (nginx.sites / "bench").write_text(sites)
    nginx.start()
    try:
        yield nginx
    finally:
        nginx.stop()


def applications(ports: list[int]) -> str:
    """Applications that answer a few bytes and use almost no processor time."""
    listens = "".join(f"    listen 127.0.0.1:{port};\n" for port in ports)
    return f"server {{\n{listens}    access_log off;\n    {_ENDLESS}\n    return 200 hello;\n}}\n"


@contextlib.contextmanager
def _router(folder: Path, ports: list[int]) -> Iterator[Party]:
    """nginx with a vhost for each route, persistent connections on both sides, and the front's headers."""
    with running_nginx(folder, "") as nginx:
        (nginx.sites / "bench").write_text(_vhosts(folder, nginx.port, ports))
        nginx.reload()
        until(lambda: answers(nginx, _by_host()[-1][0]), "nginx leads to the applications")
        until(lambda: len(children(nginx.pid)) == 1, "the worker from before the reload is gone")
        yield nginx.port, lambda: cpu_seconds(*children(nginx.pid)), _by_host()


def answers(nginx: NginxUnderTest, host: str) -> bool:
    """Whether it answers requests for this host with 200. While it reloads, the connection may be refused
    or closed."""
    with contextlib.suppress(httpx.TransportError):
        return nginx.get(host).status_code == 200
    return False


def _vhosts(folder: Path, port: int, ports: list[int]) -> str:
    upstreams = "".join(
        f"upstream app{number} {{ server 127.0.0.1:{backend}; keepalive 64; {_ENDLESS} }}\n"
        for number, backend in enumerate(ports)
    )
    common = (
        "server_names_hash_max_size 8192;\nproxy_http_version 1.1;\nproxy_set_header Connection '';\n"
        "proxy_set_header Host $http_host;\nproxy_set_header X-Forwarded-For $remote_addr;\n"
        "proxy_set_header X-Forwarded-Proto $scheme;\nproxy_set_header X-Forwarded-Host $http_host;\n"
        "proxy_set_header X-Request-Id $request_id;\n"
        f"{_ENDLESS}\n"
    )
    servers = "".join(
        f"server {{ listen 127.0.0.1:{port}; server_name {host};"
        f" access_log {folder}/buffered.log combined buffer=64k flush=1s;"
        f" location / {{ proxy_pass http://app{number % len(ports)}; }} }}\n"
        for number, (host, _) in enumerate(_by_host())
    )
    return upstreams + common + servers


@contextlib.contextmanager
def _chp(folder: Path, ports: list[int]) -> Iterator[Party]:
    """The peer's proxy, with a route for each of as many users, in the form that JupyterHub uses."""
    port, api = free_port(), free_port()
    command = [*hub.proxy_command(), "--ip=127.0.0.1", f"--port={port}", f"--api-port={api}"]
    with (folder / "chp.log").open("wb") as log:
        process = subprocess.Popen([*command, "--log-level=error"], stdout=log, stderr=log, cwd=folder)
    try:
        until(lambda: _add_route(api, "/user/0/", ports[0]), "the peer's proxy answers")
        for number in range(ROUTES):
            assert _add_route(api, f"/user/{number}/", ports[number % len(ports)])
        targets = [(f"127.0.0.1:{port}", f"/user/{number}/") for number in range(ROUTES)]
        yield port, lambda: cpu_seconds(process.pid), targets
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _add_route(api: int, path: str, port: int) -> bool:
    body = json.dumps({"target": f"http://127.0.0.1:{port}"}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{api}/api/routes{path}", body, method="POST")
    with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5) as answer:
        return bool(answer.status == 201)
    return False


def lines(figures: Figures) -> list[Line]:
    """One line for the modules as they are, one for those that the wheel has compiled."""
    taken = {name: median(values) for name, values in figures["microseconds"].items()}
    floor, ours, peer = taken["floor"], taken["stager"], taken.get("peer", 0.0)
    beside = f" (JupyterHub's proxy: {times(peer / floor)})" if peer else ""
    lines = [
        Line(
            what="Processor time of a proxied request",
            floor=f"{seconds(floor / 1e6)} (nginx)",
            ours=f"{seconds(ours / 1e6)}, {times(ours / floor)}",
            budget=f"at most {times(LIMIT)}",
            value=ours / floor,
            limit=LIMIT,
            peer=f"JupyterHub's proxy: {seconds(peer / 1e6)}, {times(peer / floor)}" if peer else "",
            headline=f"A proxied request: {times(ours / floor)} the processor time of nginx{beside}",
        )
    ]
    if "compiled" in taken:
        value = taken["compiled"] / floor
        line = Line(
            what="The same with the front compiled",
            floor=f"{seconds(floor / 1e6)} (nginx)",
            ours=f"{seconds(taken['compiled'] / 1e6)}, {times(value)}",
            budget=f"at most {times(COMPILED_LIMIT)}",
            value=value,
            limit=COMPILED_LIMIT,
        )
        lines.append(line)
    return lines


def charts(figures: Figures) -> list[Chart]:
    """The medians."""
    names = {
        "floor": "nginx",
        "stager": "Stager's front",
        "compiled": "Stager's front, compiled",
        "peer": "JupyterHub's proxy",
    }
    bars = [(names[who], median(values)) for who, values in figures["microseconds"].items()]
    return [Chart("bench-proxy", "Processor time of a proxied request", "µs", bars)]


ABOUT = f"""\
Small responses on keep-alive connections, {wrk.CONNECTIONS} clients (wrk), {ROUTES:,} routes to {BACKENDS}
applications in turn, an access log, the usual X-Forwarded headers. Measured is the processor time of the
proxy's process (user and kernel) per request. The floor is nginx with one worker, a vhost for each route,
and keep-alive connections to the applications. The compiled front has the modules that mypyc compiles in the
[wheel](how-to/install-with-pipx.md#a-compiled-front). The comparison is JupyterHub's proxy with as many
users' routes.
"""

ROW = Row(
    "proxy",
    "A request through the front",
    ABOUT.strip(),
    measure,
    lines,
    charts,
)
