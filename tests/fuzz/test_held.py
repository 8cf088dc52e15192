"""Clients of a host that falls asleep and wakes again and again, and that leave at any moment: those that
stay get each response once, in order, and nothing is left of the others."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stager.domain.route import Page, RouteTable
from tests.length import length
from tests.unit.front.harness import (
    DOMAIN,
    HOST,
    App,
    Reader,
    Request,
    Rig,
    Writer,
    read_response,
    request,
    rig,
)

ASLEEP = Page("asleep")
RESET = struct.pack("ii", 1, 0)
_NUMBERS = itertools.count(1)

REQUESTS = st.lists(st.sampled_from(["get", "post", "chunked", "big", "old-keep"]), min_size=1, max_size=3)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), REQUESTS, st.integers(1, 4)),
        st.tuples(st.sampled_from(["close", "reset", "half"]), st.integers(0, 9), st.just(0)),
        st.tuples(st.sampled_from(["sleep", "wake", "breathe"]), st.just(0), st.just(0)),
    ),
    min_size=1,
    max_size=14,
)


class Noting(App):
    """Notes what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    async def _echo(self, request: Request, reader: Reader, writer: Writer) -> bool:
        self.seen[request.target] += 1
        return await super()._echo(request, reader, writer)


@dataclass
class Client:
    """A connection with what was sent on it."""

    reader: Reader
    writer: Writer
    expected: list[tuple[str, int]] = field(default_factory=list)
    is_half_closed: bool = False
    sending: asyncio.Task[None] | None = None


def encoded(kind: str) -> tuple[bytes, tuple[str, int]]:
    """A request, and target and body size that the app sees of it."""
    path = f"/{next(_NUMBERS)}"
    if kind == "get":
        return request(path), (path, 0)
    if kind == "old-keep":
        return request(path, "Connection: keep-alive", minor=0), (path, 0)
    if kind == "chunked":
        return (
            request(path, "Transfer-Encoding: chunked", method="POST")
            + b"5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n",
            (path, 8),
        )
    size = 700_000 if kind == "big" else 11
    return request(path, method="POST", body=bytes(size)), (path, size)


class Stage:
    def __init__(self, front: Rig, app: Noting) -> None:
        self.front, self.app = front, app
        self.clients: list[Client] = []
        self.table = RouteTable({HOST: app.endpoint}, DOMAIN)

    async def act(self, name: str, what: Any, pieces: int) -> None:
        if name == "send":
            await self._send(what, pieces)
        elif name in {"close", "reset"}:
            await self._leave(what, reset=name == "reset")
        elif name == "half":
            await self._close_half(what)
        elif name == "sleep":
            after = self.table.upsert(HOST, ASLEEP)
            if await self.front.client.park(self.table, after, {HOST}, 0):
                self.table = after
        elif name == "wake":
            await self._wake()
        else:
            await asyncio.sleep(0.003)

    async def _wake(self) -> None:
        after = self.table.upsert(HOST, self.app.endpoint)
        await self.front.client.update(self.table, after)
        self.table = after

    async def _send(self, kinds: list[str], pieces: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.front.port, limit=1 << 22)
        client = Client(reader, writer)
        data = b""
        for kind in kinds:
            wire, expected = encoded(kind)
            data += wire
            client.expected.append(expected)
        self.clients.append(client)
        client.sending = asyncio.create_task(self._write(writer, data, pieces))

    @staticmethod
    async def _write(writer: Writer, data: bytes, pieces: int) -> None:
        step = len(data) // pieces + 1
        with contextlib.suppress(OSError):
            for begin in range(0, len(data), step):
                writer.write(data[begin : begin + step])
                await writer.drain()
                await asyncio.sleep(0)

    async def _leave(self, number: int, *, reset: bool) -> None:
        if not self.clients:
            return
        client = self.clients.pop(number % len(self.clients))
        assert client.sending is not None
        client.sending.cancel()
        if reset:
            client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.writer.transport.abort()

    async def _close_half(self, number: int) -> None:
        """Once all was sent: a client whose upload waits can't close before."""
        if self.clients:
            client = self.clients[number % len(self.clients)]
            if client.sending is not None and client.sending.done() and not client.is_half_closed:
                client.is_half_closed = True
                client.writer.write_eof()

    async def end(self) -> None:
        """Everybody who is still here gets what they sent for."""
        await self._wake()
        for client in self.clients:
            assert client.sending is not None
            for expected in client.expected:
                response = await asyncio.wait_for(read_response(client.reader), 20)
                assert response.status == 200, (expected, response)
                assert (response.json["target"], response.json["size"]) == expected
            await client.sending
            client.writer.close()
        async with asyncio.timeout(20):
            while (stats := await self.front.client.stats())["held"] or stats["open"]:
                await asyncio.sleep(0.01)
        assert max(self.app.seen.values(), default=1) == 1, self.app.seen


async def play(front: Rig, app: Noting, actions: list[tuple[str, Any, int]]) -> None:
    app.seen.clear()
    stage = Stage(front, app)
    await front.client.apply(stage.table)
    for action in actions:
        await stage.act(*action)
    await stage.end()


def test_whoever_stays_is_served(tmp_path: Path) -> None:
    async def main() -> None:
        app = Noting()
        await app.start()
        async with rig(tmp_path) as front:
            loop = asyncio.get_running_loop()
            await asyncio.to_thread(many, loop, front, app)
        await app.stop()

    def many(loop: asyncio.AbstractEventLoop, front: Rig, app: Noting) -> None:
        @length(120)
        @given(ACTIONS)
        def one(actions: list[tuple[str, Any, int]]) -> None:
            asyncio.run_coroutine_threadsafe(play(front, app, actions), loop).result(60)

        one()

    asyncio.run(main())
