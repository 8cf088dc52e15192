"""Ingress ports of the front: each leads to one host, independently of the Host header."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from stager.domain.identity.access_policy import AccessPolicy, Guard
from stager.domain.route import Endpoint, Page, RouteTable
from stager.front.process.launcher import FrontLauncher, FrontOptions
from tests.unit.front.harness import (
    DOMAIN,
    HOST,
    App,
    Response,
    Rig,
    free_port,
    read_response,
    request,
    rig,
)

OTHER = f"b.{DOMAIN}"
HOME = Endpoint(path="/run/no-such.sock")


@pytest.fixture
async def home() -> AsyncIterator[App]:
    home = App("home")
    await home.start()
    yield home
    await home.stop()


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as running:
        yield running


async def enter(port: int, host: str = "whatever", target: str = "/", minor: int = 1) -> Response:
    """What a request gets that comes in at an ingress port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request(target, host=host, minor=minor))
        return await asyncio.wait_for(read_response(reader), 10)
    finally:
        writer.close()


async def is_open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def open_ingress_ports(front: Rig, app: App, home: Endpoint = HOME) -> tuple[int, int, RouteTable]:
    a, b = free_port(), free_port()
    table = RouteTable(
        {HOST: app.endpoint, OTHER: Page("starting", "b")},
        DOMAIN,
        home,
        {a: HOST, b: OTHER},
    )
    assert await front.client.apply(table) == {}
    return a, b, table


@pytest.mark.parametrize("host", ["whatever", "a", DOMAIN, "127.0.0.1", f"{HOST}:3201", HOST.upper()])
@pytest.mark.parametrize("minor", [0, 1])
async def test_it_leads_to_its_host_where_the_host_header_names_no_preview(
    front: Rig, app: App, host: str, minor: int
) -> None:
    a, b, _ = await open_ingress_ports(front, app)
    answer = await enter(a, host, minor=minor)
    assert answer.json["app"] == "app"
    headers = answer.json["headers"]
    assert isinstance(headers, dict)
    # A right one stays as sent; instead of a wrong one the application sees its own.
    assert headers["host"] == (host if host.lower().startswith(HOST) else HOST)
    assert headers["x-forwarded-host"] == headers["host"]
    other = await enter(b, host, minor=minor)
    assert other.status == (200 if host.lower().startswith(HOST) else 503)


async def test_a_host_of_the_preview_domain_decides(front: Rig, app: App, home: App) -> None:
    other = App("other")
    await other.start()
    a, b, table = await open_ingress_ports(front, app, home.endpoint)
    table = replace(table, routes={HOST: app.endpoint, OTHER: other.endpoint, "old.test": other.endpoint})
    await front.client.apply(table)
    for port in (a, b):
        assert (await enter(port, HOST)).json["app"] == "app"
        assert (await enter(port, OTHER.upper() + ":8080")).json["app"] == "other"
        # A preview of an earlier domain counts as well.
        assert (await enter(port, "old.test")).json["app"] == "other"
        unknown = await enter(port, f"nobody.{DOMAIN}")
        assert unknown.status == 404
        assert unknown.json["name"] == f"nobody.{DOMAIN}"
    # Also on a connection that was open before, and at the ingress port of a preview that is gone.
    reader, writer = await asyncio.open_connection("127.0.0.1", a)
    writer.write(request(host=HOST))
    assert (await read_response(reader)).json["app"] == "app"
    await front.client.apply(table.delete(HOST))
    for host, status in ((HOST, 404), (OTHER, 200), ("whatever", 404)):
        writer.write(request(host=host))
        assert (await read_response(reader)).status == status
    writer.close()
    await other.stop()


async def test_a_private_preview_is_private_by_another_s_ingress_port(front: Rig, app: App) -> None:
    a, b, table = await open_ingress_ports(front, app)
    guard = Guard(frozenset({"bypass"}), "1", f"https://{DOMAIN}/access")
    table = replace(
        table, routes={HOST: app.endpoint, OTHER: app.endpoint}, policies={OTHER: AccessPolicy(guard)}
    )
    await front.client.apply(table)
    for port in (a, b):
        assert (await enter(port, HOST)).status == 200
        assert (await enter(port, OTHER)).status == 401
    assert (await enter(b, "whatever")).status == 401


async def test_it_never_leads_home(front: Rig, app: App, home: App) -> None:
    a, _, table = await open_ingress_ports(front, app, home.endpoint)
    assert (await front.ask(host=DOMAIN)).json["app"] == "home"
    reader, writer = await asyncio.open_connection("127.0.0.1", a)
    writer.write(request())
    assert (await read_response(reader)).status == 200
    await front.client.apply(replace(table.delete(HOST), domain="elsewhere.test"))
    for host in ("whatever", DOMAIN, "elsewhere.test"):
        assert (await enter(a, host)).status == 404
    await front.client.apply(replace(table, ports={}))
    # Nor does a connection that was open when its ingress port was closed.
    writer.write(request(host=DOMAIN))
    assert (await read_response(reader)).status == 404
    writer.close()
    assert not await is_open(a)


async def test_only_this_machine_can_enter(front: Rig, app: App) -> None:
    a, _, _ = await open_ingress_ports(front, app)
    with Path("/proc/net/tcp").open() as file:
        places = {line.split()[1] for line in file if line.split()[3] == "0A"}
    assert f"0100007F:{a:04X}" in places
    assert f"00000000:{a:04X}" not in places


async def test_a_port_that_another_program_has_costs_nothing_else(front: Rig, app: App) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken, free = stranger.getsockname()[1], free_port()
        table = RouteTable({HOST: app.endpoint}, DOMAIN, None, {taken: HOST, free: HOST})
        closed = await front.client.apply(table)
        assert closed.keys() == {taken}
        assert f"another program uses port {taken}" in closed[taken]
        assert (await enter(free)).status == 200
        assert (await front.ask()).status == 200
    # It opens at the next request.
    assert await front.client.apply(table) == {}
    assert (await enter(taken)).status == 200


async def test_they_are_open_again_after_the_front_was_killed(front: Rig, app: App) -> None:
    a, b, table = await open_ingress_ports(front, app)
    os.kill(front.hello.pid, signal.SIGKILL)
    await front.client.until_gone()
    await front.launcher.ensure()
    assert await front.client.current() == table
    assert await front.client.apply(table) == {}
    assert (await enter(a)).status == 200
    assert (await enter(b)).status == 503


async def test_a_successor_has_them(front: Rig, app: App) -> None:
    a, b, table = await open_ingress_ports(front, app)
    successor = FrontLauncher(front.state_dir, FrontOptions(listen=front.options.listen, access_log=False))
    hello = await successor.ensure()
    assert hello.pid != front.hello.pid
    assert await front.client.apply(table) == {}
    assert (await enter(a)).status == 200
    assert (await enter(b)).status == 503
    successor.release()


async def test_changes_open_and_close_them(front: Rig, app: App) -> None:
    a, b, table = await open_ingress_ports(front, app)
    c = free_port()
    changed = replace(
        table, routes={**table.routes, OTHER: Endpoint("127.0.0.1", 1)}, ports={a: OTHER, c: HOST}
    )
    assert await front.client.update(table, changed) == {}
    assert await front.client.current() == changed
    assert (await enter(a)).status == 502
    assert (await enter(c)).status == 200
    assert not await is_open(b)
