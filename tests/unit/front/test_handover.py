"""The hand-over of client connections from a front to its successor."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import uvloop

from stager.front.http.limits import Limits
from stager.front.process.handover import (
    RETIRE,
    RETIRED,
    RETIRED_FRAMED,
    ConnectionSender,
    handed_connections,
    request_retirement,
)
from stager.front.proxy.access_gate import AccessGate
from stager.front.proxy.access_log import AccessLog
from stager.front.proxy.connections import Connections
from stager.front.proxy.context import Context
from stager.front.proxy.downstream import Downstream
from stager.front.table.live_table import LiveTable
from tests.unit.front.harness import request

TOO_LONG = 1 << 21
SIZES = (1 << 19, 0, 1 << 18, 5, 1 << 19)


@dataclass
class Client:
    """A client with a connection to the predecessor, on which reading is paused."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    transport: asyncio.Transport


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    accepted: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()

    class Accepting(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.pause_reading()
            accepted.set_result(transport)

    server = await asyncio.get_running_loop().create_server(Accepting, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        transport = await accepted
        yield Client(reader, writer, transport)
        writer.close()
        transport.abort()


@pytest.fixture
async def channel() -> AsyncIterator[tuple[socket.socket, socket.socket]]:
    """The predecessor's end, and the successor's."""
    with contextlib.ExitStack() as stack:
        ends = [stack.enter_context(end) for end in socket.socketpair()]
        for end in ends:
            end.setblocking(False)
        yield ends[0], ends[1]


@pytest.mark.parametrize("is_framed", [True, False])
async def test_a_connection_arrives_with_what_was_received(
    client: Client, channel: tuple[socket.socket, socket.socket], is_framed: bool
) -> None:
    predecessor, successor = channel
    client.writer.write(b" / HTTP/1.1\r\n")
    sender = ConnectionSender(predecessor, is_framed=is_framed)
    sender.send(client.transport, 3201, b"GET")
    handed = await asyncio.wait_for(anext(handed_connections(successor, is_framed=is_framed)), 5)
    with handed.socket:
        assert (handed.ingress_port, handed.received) == (3201, b"GET")
        loop = asyncio.get_running_loop()
        assert await asyncio.wait_for(loop.sock_recv(handed.socket, 99), 5) == b" / HTTP/1.1\r\n"
        await loop.sock_sendall(handed.socket, b"response")
        assert await asyncio.wait_for(client.reader.readexactly(8), 5) == b"response"
    sender.close()


async def test_what_was_received_may_be_more_than_a_socket_buffers(
    channel: tuple[socket.socket, socket.socket],
) -> None:
    """Held requests with the start of their bodies."""
    predecessor, successor = channel
    sender, loop, passed_on = ConnectionSender(predecessor), asyncio.get_running_loop(), []
    with contextlib.ExitStack() as stack:
        for number, size in enumerate(SIZES):
            end, other = (stack.enter_context(end) for end in socket.socketpair())
            transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, end)
            transport.pause_reading()
            other.sendall(b"%d" % number)
            sender.send(transport, number, bytes([number]) * size)
        async for handed in handed_connections(successor):
            with handed.socket:
                port = handed.ingress_port
                assert handed.received == bytes([port]) * SIZES[port]
                assert await loop.sock_recv(handed.socket, 9) == b"%d" % port
            passed_on.append(port)
            if len(passed_on) == len(SIZES):
                break
    assert sorted(passed_on) == list(range(len(SIZES)))
    sender.close()


async def test_the_successor_reads_until_the_channel_is_closed(
    client: Client, channel: tuple[socket.socket, socket.socket]
) -> None:
    predecessor, successor = channel
    sender = ConnectionSender(predecessor)
    sender.send(client.transport, 0, b"")
    received = []
    async for handed in handed_connections(successor):
        received.append(handed.received)
        handed.socket.close()
        sender.close()
    assert received == [b""]


@pytest.mark.parametrize("received", [b"", bytes(TOO_LONG)])
async def test_a_connection_that_cannot_be_sent_is_closed(
    client: Client, channel: tuple[socket.socket, socket.socket], received: bytes
) -> None:
    predecessor, successor = channel
    if not received:
        successor.close()
    ConnectionSender(predecessor).send(client.transport, 0, received)
    assert await asyncio.wait_for(client.reader.read(), 5) == b""


@pytest.mark.parametrize(("reply", "is_framed"), [(RETIRED_FRAMED, True), (RETIRED, False)])
async def test_the_successor_waits_for_the_reply(
    channel: tuple[socket.socket, socket.socket], reply: bytes, is_framed: bool
) -> None:
    predecessor, successor = channel
    waiting = asyncio.create_task(request_retirement(successor, 5))
    loop = asyncio.get_running_loop()
    assert (await loop.sock_recv(predecessor, 99)).startswith(RETIRE)
    assert not waiting.done()
    await loop.sock_sendall(predecessor, reply)
    assert await asyncio.wait_for(waiting, 1) == is_framed


def test_a_front_of_protocol_5_reads_the_whole_reply() -> None:
    assert len(RETIRED_FRAMED) == len(RETIRED)


async def test_a_predecessor_that_closes_the_channel_has_retired(
    channel: tuple[socket.socket, socket.socket],
) -> None:
    predecessor, successor = channel
    predecessor.close()
    await asyncio.wait_for(request_retirement(successor, 5), 1)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_connection_accepted_meanwhile_is_passed_on_with_its_request(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(_passed_on(request())) == request()


async def _passed_on(data: bytes) -> bytes:
    """What the successor reads of a request that has arrived by the time its connection is accepted."""
    limits, loop = Limits(), asyncio.get_running_loop()
    connections: Connections[Any] = Connections(limits)
    context = Context(limits, LiveTable(), connections, AccessLog(None), AccessGate(b"key"))
    with contextlib.ExitStack() as stack:
        predecessor, successor = (stack.enter_context(end) for end in socket.socketpair())
        for end in (predecessor, successor):
            end.setblocking(False)
        sender = ConnectionSender(predecessor)
        context.pass_on = sender.send
        server = await loop.create_server(lambda: Downstream(context, "http"), "127.0.0.1", 0)
        client = stack.enter_context(socket.create_connection(server.sockets[0].getsockname()))
        client.sendall(data)
        async with contextlib.aclosing(handed_connections(successor)) as passed_on:
            handed = await asyncio.wait_for(anext(passed_on), 5)
        with handed.socket:
            received = handed.received
            while len(received) < len(data):
                received += await asyncio.wait_for(loop.sock_recv(handed.socket, 999), 5)
        sender.close()
        server.close()
    return received
