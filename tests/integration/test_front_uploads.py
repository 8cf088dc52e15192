"""Answers that come before an upload has: each client gets its answer, and the app what it still reads."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stager.domain.identity.access_policy import AccessPolicy, Guard
from stager.domain.route import Endpoint, RouteTable
from stager.front.process.launcher import FrontOptions
from tests.unit.front.harness import (
    DOMAIN,
    HOST,
    App,
    Reader,
    Response,
    Rig,
    Writer,
    certificate_in,
    free_port,
    read_response,
    request,
    resident,
    rig,
    trusting,
)

PRIVATE, CLOSED, UNKNOWN = (f"{name}.{DOMAIN}" for name in ("private", "closed", "unknown"))
SIZE = 3 << 20
PIECE = 1 << 16
SECONDS = 4.5
"""How long an upload takes: longer than a connection was listened to that had its answer."""


@pytest.fixture
async def front(tmp_path: Path, app: App) -> AsyncIterator[tuple[Rig, int]]:
    """A front, and its port for HTTPS."""
    certificate, key = certificate_in(tmp_path)
    port, secure = free_port(), free_port()
    options = FrontOptions(
        listen=f"127.0.0.1:{port}",
        tls_listen=f"127.0.0.1:{secure}",
        tls_certificate=str(certificate),
        tls_key=str(key),
    )
    async with rig(tmp_path, options, port) as running:
        guard = Guard(frozenset({"bypass"}), "1", f"https://{DOMAIN}/access")
        routes = {HOST: app.endpoint, PRIVATE: app.endpoint, CLOSED: Endpoint("127.0.0.1", 9)}
        await running.client.apply(RouteTable(routes, DOMAIN, policies={PRIVATE: AccessPolicy(guard)}))
        yield running, secure


async def upload(reader: Reader, writer: Writer, head: bytes, pieces: list[bytes]) -> Response:
    """Send slowly, all of it, and only then read: as simple clients do."""
    writer.write(head)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(SECONDS / len(pieces))
    return await asyncio.wait_for(read_response(reader), 10)


def body(framing: str) -> tuple[str, list[bytes]]:
    """A header line, and the body in pieces."""
    pieces = [bytes([number % 251]) * PIECE for number in range(SIZE // PIECE)]
    if framing == "length":
        return f"Content-Length: {SIZE}", pieces
    return "Transfer-Encoding: chunked", [*(b"%x\r\n%b\r\n" % (PIECE, p) for p in pieces), b"0\r\n\r\n"]


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_each_client_gets_its_answer(
    front: tuple[Rig, int], app: App, framing: str, secure: bool
) -> None:
    running, tls = front
    line, pieces = body(framing)

    async def status(host: str, path: str) -> int:
        where = {"port": tls, "ssl": trusting()} if secure else {"port": running.port}
        reader, writer = await asyncio.open_connection("127.0.0.1", **where)
        answer = await upload(reader, writer, request(path, line, method="POST", host=host), pieces)
        writer.close()
        return answer.status

    asked = [(UNKNOWN, "/"), (PRIVATE, "/"), (CLOSED, "/"), (HOST, "/early"), (HOST, "/early-and-deaf")]
    got = await asyncio.gather(*(status(*question) for question in asked), status(HOST, "/early-and-reads"))
    assert got == [404, 401, 502, 413, 401, 202]
    async with asyncio.timeout(5):
        while app.late.digest == "":
            await asyncio.sleep(0.01)
    plain = b"".join(body("length")[1])
    assert (app.late.size, app.late.digest) == (SIZE, hashlib.sha256(plain).hexdigest())


async def test_what_is_left_of_a_body_takes_no_memory(front: tuple[Rig, int]) -> None:
    running, _ = front
    await running.ask()
    before = resident(running.hello.pid)
    async with running.dial() as (reader, writer):
        writer.write(request("/early-and-deaf", "Content-Length: 300000000", method="POST"))
        assert (await read_response(reader)).status == 401
        began = time.monotonic()
        with contextlib.suppress(OSError):
            for _ in range(200):
                writer.write(bytes(1 << 20))
                await writer.drain()
        # It was held up as long as the app might have read on, then all was taken.
        assert 4 < time.monotonic() - began < 20
    assert resident(running.hello.pid) - before < 16 << 20


async def test_a_client_that_sends_no_more_is_not_waited_for(front: tuple[Rig, int]) -> None:
    running, _ = front
    async with running.dial() as (reader, writer):
        writer.write(request("/", "Content-Length: 1000", method="POST", host=UNKNOWN) + b"some")
        assert (await read_response(reader)).status == 404
        began = time.monotonic()
        async with asyncio.timeout(12):
            while (await running.client.stats())["connections"] > 0:
                await asyncio.sleep(0.1)
        assert time.monotonic() - began > 3.5


async def test_an_upload_without_an_end_is_cut(front: tuple[Rig, int]) -> None:
    running, _ = front
    async with running.dial() as (_, writer):
        writer.write(request("/", "Content-Length: 1000000000", method="POST", host=UNKNOWN))
        began = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - began < 50:
                writer.write(b"x" * 100)
                await writer.drain()
                await asyncio.sleep(0.2)
        assert 27 < time.monotonic() - began < 40


async def test_a_client_that_disconnects_in_the_middle_closes_the_apps_connection(
    front: tuple[Rig, int], app: App
) -> None:
    running, _ = front
    async with running.dial() as (reader, writer):
        writer.write(request("/early-and-reads", "Content-Length: 1000000", method="POST") + b"some")
        assert (await read_response(reader)).status == 202
        app.hung_up.clear()
    await asyncio.wait_for(app.hung_up.wait(), 5)
    assert app.late.digest == ""


async def test_no_second_request_hides_in_what_is_left(front: tuple[Rig, int], app: App) -> None:
    running, _ = front
    head = request("/early-and-reads", "Content-Length: 100", method="POST")
    async with running.dial() as (reader, writer):
        writer.write(head)
        assert (await read_response(reader)).headers["connection"] == "close"
        writer.write(b"x" * 100 + request("/smuggled"))
        assert await asyncio.wait_for(reader.read(), 10) == b""
    async with asyncio.timeout(10):  # the application may still be reading
        while app.late.size < 100:
            await asyncio.sleep(0.01)
    assert app.late.size == 100
