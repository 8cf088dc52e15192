"""Slow clients and large requests: other clients are served, and the front's memory doesn't grow."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from stager.domain.route import Endpoint
from stager.front.http.limits import Limits
from stager.front.process.launcher import FrontOptions
from tests.unit.front.harness import (
    DOMAIN,
    HOST,
    App,
    Reader,
    Rig,
    Writer,
    free_port,
    peak,
    read_head,
    read_response,
    request,
    resident,
    rig,
)

OTHER = f"b.{DOMAIN}"
CROWD = 300
GIGABYTE = 1 << 30
BLOCK = bytes(1 << 20)
FLAT = 16 << 20
"""Bytes by which the front's memory may grow: buffers of the kernel's sizes, many times over."""


@pytest.fixture
async def front(tmp_path: Path, app: App) -> AsyncIterator[Rig]:
    """A front that is short of patience."""
    port = free_port()
    limits = Limits(
        head_seconds=2.0,
        body_seconds=2.0,
        idle_seconds=2.0,
        connect_seconds=2.5,
        response_seconds=5.0,
        upstream_seconds=5.0,
    )
    async with rig(tmp_path, FrontOptions(listen=f"127.0.0.1:{port}", limits=limits), port) as running:
        await running.serve({HOST: app.endpoint, OTHER: app.endpoint})
        yield running


async def drip(reader: Reader, writer: Writer, data: bytes) -> bytes:
    """Send it a byte every now and then, until the other side has had enough; what it answered."""
    answer = asyncio.ensure_future(reader.read())
    for byte in data:
        if answer.done():
            break
        with contextlib.suppress(OSError):
            writer.write(bytes([byte]))
        await asyncio.sleep(0.1)
    return await asyncio.wait_for(answer, 20)


class TestSlowClients:
    async def crowd(self, front: Rig, data: bytes, slowly: bytes) -> list[bytes]:
        """Many clients that send `data` at once and then drip; what each was answered. Others are served."""

        async def one() -> bytes:
            async with front.dial() as (reader, writer):
                writer.write(data)
                return await drip(reader, writer, slowly)

        before = resident(front.hello.pid)
        tasks = [asyncio.ensure_future(one()) for _ in range(CROWD)]
        while not all(task.done() for task in tasks):
            assert (await front.ask(host=OTHER)).status == 200
            await asyncio.sleep(0.05)
        assert resident(front.hello.pid) - before < FLAT
        return [task.result() for task in tasks]

    async def test_heads_that_take_for_ever(self, front: Rig, app: App) -> None:
        """Slowloris: each byte comes in time, and the head never ends."""
        await front.ask(host=OTHER)
        answers = await self.crowd(front, b"GET / HTTP/1.1\r\nX-A: ", b"b" * 600)
        assert {answer.split(b" ")[1] for answer in answers} == {b"408"}
        assert app.connections < CROWD, "no application hears of them"
        assert (await front.client.stats())["open"] == {}

    async def test_bodies_that_stop(self, front: Rig, app: App) -> None:
        head = request(method="POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 1000\r\n\r\n") + b"begun"
        answers = await self.crowd(front, head, b"")
        assert {answer.split(b" ")[1] for answer in answers} == {b"408"}
        assert (await front.client.stats())["open"] == {}
        async with asyncio.timeout(10):
            while app.open > 1:  # that of those who were served may be kept
                await asyncio.sleep(0.05)

    async def test_a_body_that_comes_slowly_arrives(self, front: Rig) -> None:
        """Who goes on is waited for, longer than for one who has stopped."""
        async with front.dial() as (reader, writer):
            writer.write(request("/", "Content-Length: 30", method="POST"))
            for _ in range(30):
                writer.write(b"x")
                await asyncio.sleep(0.1)
            assert (await asyncio.wait_for(read_response(reader), 10)).json["size"] == 30

    async def test_clients_that_take_nothing(self, front: Rig, app: App) -> None:
        """They ask for a hundred megabytes each, and read none."""
        before = resident(front.hello.pid)
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(50):
                _, writer = await stack.enter_async_context(front.dial())
                writer.transport.pause_reading()  # type: ignore[attr-defined]
                writer.write(request("/big?100"))
            async with asyncio.timeout(20):
                while not app.open:
                    await asyncio.sleep(0.02)
                while (await front.client.stats())["open"]:
                    assert resident(front.hello.pid) - before < 2 * FLAT
                    assert (await front.ask(host=OTHER)).status == 200


class TestSlowApplications:
    @contextlib.asynccontextmanager
    async def served(self, serve: Callable[[Reader, Writer], Awaitable[None]]) -> AsyncIterator[Endpoint]:
        """An application that answers so after a request: an answer before the request is refused."""
        going: set[asyncio.Task[None]] = set()

        async def keep(reader: Reader, writer: Writer) -> None:
            task = asyncio.ensure_future(serve(reader, writer))
            going.add(task)
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await task
            writer.close()

        server = await asyncio.start_server(keep, "127.0.0.1", 0, backlog=1024)
        yield Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
        server.close()
        for task in going:
            task.cancel()
        await asyncio.gather(*going, return_exceptions=True)
        await asyncio.sleep(0.05)

    async def assert_ended(self, front: Rig, app: App, slow: Endpoint, state: str) -> None:
        """Many requests to the slow one get an error page; those to another are served meanwhile."""
        await front.serve({HOST: slow, OTHER: app.endpoint})
        asked = [asyncio.ensure_future(front.ask()) for _ in range(100)]
        while not all(task.done() for task in asked):
            assert (await front.ask(host=OTHER)).status == 200
            await asyncio.sleep(0.05)
        responses = {(task.result().status, task.result().json["state"]) for task in asked}
        assert {said for _, said in responses} == {state}
        assert (await front.client.stats())["open"] == {}

    async def test_one_that_says_nothing(self, front: Rig, app: App) -> None:
        async def silent(reader: Reader, writer: Writer) -> None:
            await reader.read()

        async with self.served(silent) as slow:
            await self.assert_ended(front, app, slow, "no-response")

    async def test_one_that_never_ends_its_head(self, front: Rig, app: App) -> None:
        async def dripping(reader: Reader, writer: Writer) -> None:
            await read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nX-A: ")
            while True:
                writer.write(b"a")
                await writer.drain()
                await asyncio.sleep(0.1)

        async with self.served(dripping) as slow:
            await self.assert_ended(front, app, slow, "no-response")

    async def test_one_whose_head_is_endless(self, front: Rig, app: App) -> None:
        async def endless(reader: Reader, writer: Writer) -> None:
            await read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\n")
            while True:
                writer.write(b"X-A: a\r\n" * 100)
                await writer.drain()

        before = resident(front.hello.pid)
        async with self.served(endless) as slow:
            await self.assert_ended(front, app, slow, "bad-response")
        assert resident(front.hello.pid) - before < 2 * FLAT

    async def test_one_that_admits_no_one(self, front: Rig, app: App) -> None:
        """Its queue is full, so that connecting neither succeeds nor fails."""
        with full_queue() as address:
            await self.assert_ended(front, app, Endpoint(*address), "unreachable")


@contextlib.contextmanager
def full_queue() -> Iterator[tuple[str, int]]:
    """An address with a listener that accepts no connection."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        for _ in range(3):  # Linux lets one more in than the queue has places.
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                caller.connect(address)
        yield address


class TestGigabytes:
    """A body of 1 GB is passed on piece by piece, in both directions."""

    @pytest.mark.parametrize("framing", ["length", "chunked"])
    async def test_up(self, front: Rig, framing: str) -> None:
        await front.ask()
        before = peak(front.hello.pid)
        async with front.dial() as (reader, writer):
            line = f"Content-Length: {GIGABYTE}" if framing == "length" else "Transfer-Encoding: chunked"
            writer.write(request("/count", line, method="POST"))
            chunk = BLOCK if framing == "length" else b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK)
            for _ in range(GIGABYTE // len(BLOCK)):
                writer.write(chunk)
                await writer.drain()
            writer.write(b"" if framing == "length" else b"0\r\n\r\n")
            assert (await read_response(reader)).json["size"] == GIGABYTE
        assert peak(front.hello.pid) - before < FLAT

    async def test_down(self, front: Rig) -> None:
        await front.ask()
        before, size = peak(front.hello.pid), 0
        async with front.dial() as (reader, writer):
            writer.write(request(f"/big?{GIGABYTE >> 20}", "Connection: close"))
            first, headers = await read_head(reader)
            assert (first, headers["content-length"]) == ("HTTP/1.1 200 OK", str(GIGABYTE))
            while piece := await reader.read(1 << 20):
                size += len(piece)
        assert size == GIGABYTE
        assert peak(front.hello.pid) - before < FLAT
