"""Accepts HTTPS connections, and limits the handshakes under way.

Where certificates are chosen by name, the ClientHello is read without being consumed (MSG_PEEK, recv(2)) to
learn the requested host. While the certificate of a known host is being ordered, its handshakes wait. Any
other handshake begins at once.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections import Counter
from dataclasses import dataclass

from stager.domain.identity.client_addresses import holder
from stager.domain.route import Page
from stager.front.process.tls import Certificates
from stager.front.proxy.connections import Connections
from stager.front.proxy.context import Context
from stager.front.proxy.downstream import Downstream

_HOLD_SECONDS = 30.0
"""How long a handshake waits for a certificate."""
_HOLD_AFTER_FAILURE = 1.0
_POLL_SECONDS = 0.1
_EVENT_SECONDS = 1.0
_PEEK_SECONDS = 0.02
_MAX_PEEK_SECONDS = 0.5
"""The time between two looks at an incomplete ClientHello doubles up to this."""
_MAX_HELLO = 1 << 16
_ACCEPTED_AT_ONCE = 100
_ACCEPT_PAUSE = 0.5
"""Seconds after accepting failed, as when there are no file descriptors left."""


class TlsGreeter:
    """Accepts connections of the HTTPS listener.

    Args:
        context: the route table and the limits.
        connections: the open client connections.
        certificates: by the name of the host.
        listener: the listening socket; closed by `close`.
    """

    def __init__(
        self,
        context: Context,
        connections: Connections[Downstream],
        certificates: Certificates,
        listener: socket.socket,
    ) -> None:
        self._context = context
        self._connections = connections
        self._certificates = certificates
        self._listener = listener
        self._by_address: Counter[str] = Counter()
        self._greetings: set[asyncio.Task[None]] = set()
        self._requested_at: dict[str, float] = {}
        """Host to the time of the last event that requests its certificate."""
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._listen()

    @property
    def is_busy(self) -> bool:
        """Whether handshakes are under way."""
        return bool(self._greetings)

    def close(self) -> None:
        """Accept no more connections. Handshakes under way go on."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()

    def _accept(self) -> None:
        """Accept the waiting connections. Not by `loop.sock_accept`, whose cancellation would lose one."""
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                client, (address, *_) = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._loop.remove_reader(self._listener.fileno())
                self._pause = self._loop.call_later(_ACCEPT_PAUSE, self._listen)
                return
            client.setblocking(False)
            self._welcome(client, address)

    def _listen(self) -> None:
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def _welcome(self, client: socket.socket, address: str) -> None:
        if self._is_full(address):
            client.close()
            return
        task = self._loop.create_task(self._greet(client, address))
        self._greetings.add(task)
        task.add_done_callback(self._greetings.discard)

    def _is_full(self, address: str) -> bool:
        """Whether there are too many handshakes under way, in total or from this address."""
        limits = self._context.limits
        return len(self._greetings) >= limits.connections or (
            self._by_address[holder(address)] >= limits.connections_per_client
            and not self._connections.trusts(address)
        )

    async def _greet(self, client: socket.socket, address: str) -> None:
        key = holder(address)
        self._by_address[key] += 1
        try:
            if self._certificates.is_by_name and not await self._has_certificate(client):
                return
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: Downstream(self._context, "https"),
                client,
                ssl=self._certificates.context,
                ssl_handshake_timeout=self._context.limits.head_seconds,
            )
        except OSError:  # also TimeoutError and ssl.SSLError
            client.close()
        finally:
            self._by_address[key] -= 1
            if self._by_address[key] <= 0:
                del self._by_address[key]

    async def _has_certificate(self, client: socket.socket) -> bool:
        """Whether there is a certificate for the requested host; a client that gets none is rejected.

        Raises:
            OSError: the client has closed the connection, or it takes too long.
        """
        async with asyncio.timeout(self._context.limits.head_seconds):
            hello = await _receive_hello(client)
        await self._wait_for_certificate(hello.host)
        if self._certificates.has(hello.host):
            return True
        _reject(client, hello)
        return False

    async def _wait_for_certificate(self, host: str) -> None:
        """Wait until a host of the route table has a certificate, for `_HOLD_SECONDS` at most; after a failed
        order only for a moment. The event is repeated, so that a lost one does no harm."""
        loop = asyncio.get_running_loop()
        seconds = _HOLD_AFTER_FAILURE if self._certificates.has_failed(host) else _HOLD_SECONDS
        deadline = loop.time() + seconds
        while self._is_expected(host):
            now = loop.time()
            if now > deadline or self._context.draining:
                return
            self._request(host, now)
            await asyncio.sleep(_POLL_SECONDS)

    def _request(self, host: str, now: float) -> None:
        """Publish that a host needs a certificate, at most once in `_EVENT_SECONDS`, however many clients
        wait."""
        if now - self._requested_at.get(host, -_EVENT_SECONDS) < _EVENT_SECONDS:
            return
        if len(self._requested_at) > len(self._context.table):
            self._requested_at.clear()
        self._requested_at[host] = now
        self._context.publish({"event": "certificate", "host": host})

    def _is_expected(self, host: str) -> bool:
        """Whether the host has no certificate yet, but will have one."""
        target = self._context.table.routes.get(host)
        if target is None or (isinstance(target, Page) and target.state == "gone"):
            return False
        return not self._certificates.has(host)


def _reject(client: socket.socket, hello: ClientHello) -> None:
    """Send the alert, and close the connection. What was received is consumed first: otherwise the client
    would get a reset, perhaps before the alert."""
    client.recv(_MAX_HELLO)
    client.send(hello.rejection)
    client.close()


async def _receive_hello(client: socket.socket) -> ClientHello:
    """Read the ClientHello of a connection without consuming it.

    Raises:
        OSError: the client has closed the connection.
    """
    await _readable(client)
    size, pause = 0, _PEEK_SECONDS
    while True:
        data = client.recv(_MAX_HELLO, socket.MSG_PEEK)
        if not data:
            raise ConnectionError("the client closed the connection")
        if len(data) > size:
            hello = read_hello(data)
            if hello is not None:
                return hello
            size = len(data)
        await asyncio.sleep(pause)  # the rest of it is on its way
        pause = min(pause * 2, _MAX_PEEK_SECONDS)


async def _readable(client: socket.socket) -> None:
    loop, is_readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(client.fileno(), is_readable.set)
    try:
        await is_readable.wait()
    finally:
        loop.remove_reader(client.fileno())


@dataclass(frozen=True, slots=True)
class ClientHello:
    """The first message of a TLS client.

    Args:
        host: the requested host, in lower case; empty if there is none, or if it isn't a ClientHello.
        rejection: the TLS alert for a client that gets no certificate.
    """

    host: str
    rejection: bytes


def read_hello(data: bytes) -> ClientHello | None:
    """Read a ClientHello; None if it is incomplete. OpenSSL's own parser reads it, in a handshake that is
    aborted."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(data)
    _requested.clear()
    # Python reports a name that isn't ASCII here, and would fill the log with what clients send.
    hook, sys.unraisablehook = sys.unraisablehook, _ignore
    try:
        _reader.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
    except ssl.SSLWantReadError:
        return None
    except ssl.SSLError:
        pass
    finally:
        sys.unraisablehook = hook
    name = _requested[0] if _requested else None
    return ClientHello((name or "").lower().rstrip("."), outgoing.read())


def _note_name(_: object, name: str | None, __: ssl.SSLContext) -> int:
    _requested.append(name)
    return int(ssl.AlertDescription.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)


def _ignore(_: object) -> None:
    """Report nothing."""


_requested: list[str | None] = []
_reader = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
_reader.sni_callback = _note_name
