"""Passing open client connections from a front to its successor, over the Unix socket of the hand-over.

A front that retires sends `RETIRED` once it no longer answers requests, then one message for each idle client
connection: its file descriptor (SCM_RIGHTS, unix(7)), its ingress port, and what was received of the next
request. Unread data stays in the socket's buffer. So no request is lost, and none is answered with an old
route table.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncGenerator
from dataclasses import dataclass

RETIRE = b"retire\n"
"""Sent by the successor when it accepts connections."""
RETIRED = b"retired\n"
"""The reply, when the predecessor has stopped."""

_INGRESS_PORT = struct.Struct("!H")
_MAX_RECEIVED = 1 << 14
"""Bytes of an incomplete request that are passed on. The kernel sends a message of this size atomically."""
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
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    def send(self, transport: asyncio.Transport, ingress_port: int, received: bytes) -> None:
        """Send a connection, on which reading is paused, and close this process's copy. One that can't be
        sent is closed after its response was sent."""
        task = self._loop.create_task(self._send(transport, _INGRESS_PORT.pack(ingress_port) + received))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Stop sending, and close the channel."""
        for task in self._tasks:
            task.cancel()
        self._channel.close()

    async def _send(self, transport: asyncio.Transport, message: bytes) -> None:
        is_sent = len(message) <= _MAX_RECEIVED and await self._is_flushed(transport)
        if is_sent:
            async with self._turn:
                is_sent = await self._is_sent(transport, message)
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

    async def _is_sent(self, transport: asyncio.Transport, message: bytes) -> bool:
        while not transport.is_closing():
            try:
                socket.send_fds(self._channel, [message], [transport.get_extra_info("socket").fileno()])
            except BlockingIOError:
                await asyncio.sleep(_RETRY_SECONDS)
            except OSError:
                return False
            else:
                return True
        return False


async def request_retirement(channel: socket.socket, timeout: float) -> None:
    """Have the predecessor retire; returns when it no longer answers requests, or after `timeout` seconds.

    Args:
        channel: the connection on which it handed over its listeners. It is made non-blocking.
    """
    channel.setblocking(False)
    loop = asyncio.get_running_loop()
    # A predecessor of an older version closes the connection instead of replying.
    with contextlib.suppress(OSError):
        async with asyncio.timeout(timeout):
            await loop.sock_sendall(channel, RETIRE)
            await loop.sock_recv(channel, len(RETIRED))


async def handed_connections(channel: socket.socket) -> AsyncGenerator[HandedConnection, None]:
    """Receive client connections until the predecessor closes the channel."""
    loop, is_readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(channel.fileno(), is_readable.set)
    try:
        while True:
            try:
                # The kernel never returns more than one message with a file descriptor at a time.
                message, descriptors, _, _ = socket.recv_fds(
                    channel, _INGRESS_PORT.size + _MAX_RECEIVED, 1, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                is_readable.clear()
                await is_readable.wait()
                continue
            except OSError:
                return
            if not message:
                return
            for descriptor in descriptors:
                yield _handed(descriptor, message)
    finally:
        loop.remove_reader(channel.fileno())


def _handed(descriptor: int, message: bytes) -> HandedConnection:
    client = socket.socket(fileno=descriptor)
    client.setblocking(False)
    (port,) = _INGRESS_PORT.unpack_from(message)
    return HandedConnection(client, port, message[_INGRESS_PORT.size :])
