"""Passing open client connections from a front to its successor, over the Unix socket of the hand-over.

A front that retires sends `RETIRED` once it no longer answers requests, then one message for each client
connection that is idle or whose request is held: its file descriptor (SCM_RIGHTS, unix(7)), its ingress port,
and what was received of the next request. Unread data stays in the socket's buffer. So no request is lost,
and none is answered with an old route table.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass

RETIRE = b"retire\n"
"""Sent by the successor when it accepts connections."""
RETIRE_FRAMED = RETIRE + b"framed\n"
"""The same, from a successor that reads messages with their length. Up to protocol 5, a front sent each
message in one piece without it, took any request that begins with `RETIRE`, and read as many bytes as
`RETIRED` has."""
RETIRED = b"retired\n"
"""The reply, when the predecessor has stopped."""
RETIRED_FRAMED = b"framed:\n"
"""The reply to `RETIRE_FRAMED`."""

_HEADER = struct.Struct("!HI")
"""Before each message: the ingress port and the number of bytes received."""
_INGRESS_PORT = struct.Struct("!H")
"""Before each message without its length."""
_MAX_RECEIVED = 1 << 20
"""Bytes of a request that are passed on: more than a front reads of one that it doesn't forward."""
_MAX_IN_ONE_PIECE = 1 << 14
"""The same, in a message without its length. The kernel sends one of this size atomically."""
_READ_BYTES = 1 << 16
_RETRY_SECONDS = 0.002
_FLUSH_SECONDS = 5.0
"""How long a client may take to read its last response before its connection is closed instead."""


@dataclass(frozen=True, slots=True)
class HandedConnection:
    """A client connection as the successor receives it."""

    socket: socket.socket
    ingress_port: int
    received: bytes


class ConnectionSender:
    """Sends client connections to the successor.

    Args:
        channel: the non-blocking socket to the successor.
        is_framed: whether the successor reads messages with their length.
    """

    def __init__(self, channel: socket.socket, *, is_framed: bool = True) -> None:
        self._channel = channel
        self._is_framed = is_framed
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    def send(self, transport: asyncio.Transport, ingress_port: int, received: bytes) -> None:
        """Send a connection, on which reading is paused, and close this process's copy. One that can't be
        sent is closed after its response was sent."""
        header = _HEADER.pack(ingress_port, len(received))
        if not self._is_framed:
            header, received = _INGRESS_PORT.pack(ingress_port) + received, b""
        task = self._loop.create_task(self._send(transport, header, received))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Stop sending, and close the channel."""
        for task in self._tasks:
            task.cancel()
        self._channel.close()

    async def _send(self, transport: asyncio.Transport, header: bytes, rest: bytes) -> None:
        is_short = len(header) <= _MAX_IN_ONE_PIECE and len(rest) <= _MAX_RECEIVED
        is_sent = is_short and await self._is_flushed(transport)
        if is_sent:
            async with self._turn:
                is_sent = await self._is_sent(transport, header, rest)
        if is_sent:
            transport.abort()
        else:
            transport.close()

    async def _is_flushed(self, transport: asyncio.Transport) -> bool:
        deadline = self._loop.time() + _FLUSH_SECONDS
        while transport.get_write_buffer_size():
            if self._loop.time() > deadline:
                return False
            await asyncio.sleep(_RETRY_SECONDS)
        return True

    async def _is_sent(self, transport: asyncio.Transport, header: bytes, rest: bytes) -> bool:
        """Send the descriptor with the header, which the kernel sends atomically, then the rest."""
        while not transport.is_closing():
            try:
                descriptor = transport.get_extra_info("socket").fileno()
                socket.send_fds(self._channel, [header], [descriptor])
            except BlockingIOError:
                await asyncio.sleep(_RETRY_SECONDS)
            except OSError:
                return False
            else:
                return await self._is_rest_sent(rest)
        return False

    async def _is_rest_sent(self, rest: bytes) -> bool:
        try:
            await self._loop.sock_sendall(self._channel, rest)
        except OSError:
            return False
        return True


async def request_retirement(channel: socket.socket, timeout: float) -> bool:
    """Have the predecessor retire; returns when it no longer answers requests, or after `timeout` seconds.

    Args:
        channel: the connection on which it handed over its listeners. It is made non-blocking.

    Returns:
        Whether it sends messages with their length.
    """
    channel.setblocking(False)
    loop = asyncio.get_running_loop()
    # A predecessor of an older version closes the connection instead of replying.
    with contextlib.suppress(OSError):
        async with asyncio.timeout(timeout):
            await loop.sock_sendall(channel, RETIRE_FRAMED)
            return await loop.sock_recv(channel, len(RETIRED)) == RETIRED_FRAMED
    return False


async def handed_connections(
    channel: socket.socket, *, is_framed: bool = True
) -> AsyncGenerator[HandedConnection, None]:
    """Receive client connections until the predecessor closes the channel.

    Args:
        is_framed: see `request_retirement`.
    """
    read_message = _message_at_start if is_framed else _message_in_one_piece
    loop, is_readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(channel.fileno(), is_readable.set)
    data, clients = b"", deque[socket.socket]()
    try:
        while True:
            try:
                # The kernel never returns more than one descriptor at a time, each with the first byte of its
                # header or before.
                piece, descriptors, _, _ = socket.recv_fds(channel, _READ_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                is_readable.clear()
                await is_readable.wait()
                continue
            except OSError:
                return
            if not piece:
                return
            data += piece
            clients.extend(socket.socket(fileno=descriptor) for descriptor in descriptors)
            while clients and (message := read_message(data)) is not None:
                port, received, size = message
                data = data[size:]
                client = clients.popleft()
                client.setblocking(False)
                yield HandedConnection(client, port, received)
    finally:
        loop.remove_reader(channel.fileno())
        for client in clients:
            client.close()


def _message_at_start(data: bytes) -> tuple[int, bytes, int] | None:
    """The ingress port and the received bytes of the first message, and its size; None while it is
    incomplete."""
    if len(data) < _HEADER.size:
        return None
    port, length = _HEADER.unpack_from(data)
    size = _HEADER.size + length
    return (port, data[_HEADER.size : size], size) if len(data) >= size else None


def _message_in_one_piece(data: bytes) -> tuple[int, bytes, int] | None:
    """The same, of a message without its length: all that came with one descriptor."""
    (port,) = _INGRESS_PORT.unpack_from(data)
    return port, data[_INGRESS_PORT.size :], len(data)
