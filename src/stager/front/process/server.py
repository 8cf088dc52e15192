"""The front's process: its listeners, periodic tasks, start, hand-over and shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import signal
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stager.front.http.limits import Limits
from stager.front.process import activity_file
from stager.front.process.control_socket import ControlSocket
from stager.front.process.handover import (
    RETIRE,
    RETIRE_FRAMED,
    RETIRED,
    RETIRED_FRAMED,
    ConnectionSender,
    HandedConnection,
    handed_connections,
    request_retirement,
)
from stager.front.process.ingress_ports import IngressPorts
from stager.front.process.signing_key import load_key
from stager.front.process.sockets import BACKLOG, Listener, PathListener, accepts_for, send_listeners
from stager.front.process.tls import Certificates
from stager.front.process.tls_greeter import TlsGreeter
from stager.front.proxy.access_gate import AccessGate
from stager.front.proxy.access_log import AccessLog
from stager.front.proxy.connections import Connections
from stager.front.proxy.context import Context
from stager.front.proxy.downstream import Downstream
from stager.front.proxy.plain_http import PlainHttp
from stager.front.table.table_file import TableFile

_RETIRE_SECONDS = 30.0
"""How long open requests may continue after a successor has taken over."""
_STOP_GRACE = 0.5
"""How long idle clients may send one more request while the front stops; the response has `Connection:
close`. Closing at once would lose requests that are on their way."""
_TLS_GRACE = 1.0
"""The same for TLS connections while a front retires: in this time, a handshake and a request fit."""
_RETIRE_TIMEOUT = 5.0
"""How long a successor waits until its predecessor no longer answers requests."""
_INGRESS_SECONDS = 2.0
"""How long a successor retries to listen on ingress ports that its predecessor may still have."""
_TICKS_BETWEEN_CERTIFICATE_CHECKS = 30
_TICKS_BETWEEN_SAVES = 3


@dataclass(frozen=True, slots=True)
class HttpsOptions:
    """The options of HTTPS.

    Args:
        certificates: those of the TLS listener.
        challenges: the folder with the answers of ACME's HTTP-01 challenges; None without ACME.
        port: the port as visitors see it, to which HTTP is redirected; 0: it isn't redirected.
        hsts: seconds of `Strict-Transport-Security`; 0: the header isn't sent.
    """

    certificates: Certificates
    challenges: Path | None = None
    port: int = 0
    hsts: int = 0


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The options of a front.

    Args:
        state_dir: the directory of the table, the log and the sockets.
        settings: the command line without what differs at each start; it identifies the front's
            configuration.
        limits: see `Limits`.
        trusted: the networks of trusted proxies.
        access_log: whether to write one.
        https: None without a TLS listener.
    """

    state_dir: Path
    settings: list[str]
    limits: Limits
    trusted: tuple[str, ...]
    access_log: bool
    https: HttpsOptions | None


@dataclass(frozen=True, slots=True)
class _Shutdown:
    """How to shut down.

    Args:
        timeout: seconds for open requests.
        successor: the channel to it, if there is one.
        is_framed: see `handover.ConnectionSender`.
    """

    timeout: float
    successor: socket.socket | None = None
    is_framed: bool = True


class Front:
    """A running front."""

    def __init__(self, options: ServerOptions, listeners: Iterable[Listener]) -> None:
        self.frozen = False
        self.is_alone = True
        self._options = options
        self._listeners = list(listeners)
        self._table = TableFile(options.state_dir)
        log = AccessLog(options.state_dir / "access.log" if options.access_log else None)
        connections: Connections[Downstream] = Connections(options.limits, options.trusted)
        self._connections = connections
        gate = AccessGate(load_key(options.state_dir))
        self._context = Context(options.limits, self._table.load(), connections, log, gate)
        if options.https is not None:
            self._apply_https(options.https)
        self._servers: list[asyncio.Server | TlsGreeter] = []
        self._ingress_ports = IngressPorts(
            self._table.live, lambda port: Downstream(self._context, "http", ingress_port=port)
        )
        self._shutdown: asyncio.Future[_Shutdown] | None = None
        self._ticks = 0
        plain = next((listener.address for listener in self._listeners), "")
        self._control = ControlSocket(
            self, self._context, self._table, listen=plain, settings=options.settings
        )

    async def run(self, predecessor: socket.socket | None = None) -> None:
        """Serve until `stop` is called or a successor takes over.

        Args:
            predecessor: the connection on which the previous front handed over its listeners.
        """
        loop = asyncio.get_running_loop()
        self._shutdown = loop.create_future()
        control = PathListener(self._options.state_dir / "front.sock")
        handover = PathListener(self._options.state_dir / "handover.sock")
        for listener in self._listeners:
            self._servers.append(await self._accept(listener))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._reopen)
        tasks: list[asyncio.Task[Any]] = [
            loop.create_task(self._serve_handover(handover.socket)),
            loop.create_task(self._tick()),
        ]
        # Objects that exist now are never freed, so garbage collections needn't scan them.
        gc.freeze()
        if predecessor is not None:
            # Only now may the table change: the predecessor no longer answers with the old one.
            self.is_alone = False
            activity_file.remove(self._options.state_dir)
            is_framed = await request_retirement(predecessor, _RETIRE_TIMEOUT)
            activity_file.load(self._options.state_dir, self._context)
            tasks.append(loop.create_task(self._take_connections(predecessor, is_framed=is_framed)))
        await self._control.start(control.socket)
        ingress_seconds = _INGRESS_SECONDS if predecessor else 0.0
        tasks.append(loop.create_task(self._ingress_ports.open(timeout=ingress_seconds)))
        try:
            await self._wind_down(await self._shutdown)
        finally:
            for task in tasks:
                task.cancel()
            await self._control.close()
            for path in (control, handover):
                path.close()
            self._table.close()
            self._context.log.close()

    async def open_ingress_ports(self) -> dict[int, str]:
        """Listen on the table's ports; returns the ports on which that fails, with the error."""
        return await self._ingress_ports.open()

    def stop(self, timeout: float | None = None) -> None:
        """Stop accepting connections, wait for open requests, and exit.

        Args:
            timeout: seconds to wait; None is `limits.drain_seconds`.
        """
        self._begin_shutdown(_Shutdown(self._options.limits.drain_seconds if timeout is None else timeout))

    def _begin_shutdown(self, shutdown: _Shutdown) -> bool:
        if self._shutdown is None or self._shutdown.done():
            return False
        self._shutdown.set_result(shutdown)
        return True

    def _apply_https(self, https: HttpsOptions) -> None:
        context, certificates = self._context, https.certificates

        def is_secured(host: str) -> bool:
            return host in context.table.routes or certificates.has(host)

        context.plain_http = PlainHttp(https.challenges, https.port, is_secured)
        if https.hsts:
            context.hsts = (b"Strict-Transport-Security: max-age=%d" % https.hsts,)

    async def _accept(self, listener: Listener) -> asyncio.Server | TlsGreeter:
        https, sock = self._options.https, listener.socket.dup()
        if listener.kind == "tls":
            assert https is not None  # noqa: S101 (the command line requires it)
            return TlsGreeter(self._context, self._connections, https.certificates, sock)
        return await asyncio.get_running_loop().create_server(
            lambda: Downstream(self._context, "http"), sock=sock, backlog=BACKLOG
        )

    async def _tick(self) -> None:
        """Once a second: update the clock, enforce timeouts, and write the log."""
        while True:
            await asyncio.sleep(1)
            self._context.tick()
            for connection in list(self._connections.open):
                connection.sweep(self._context.now)
            self._context.backends.sweep()
            self._context.log.flush()
            self._ticks += 1
            if self._ticks % _TICKS_BETWEEN_SAVES == 0:
                self._table.retry()
            if self._options.https and self._ticks % _TICKS_BETWEEN_CERTIFICATE_CHECKS == 0:
                self._options.https.certificates.refresh()

    def _reopen(self) -> None:
        self._context.log.reopen()
        if self._options.https:
            self._options.https.certificates.refresh(force=True)

    # The hand-over to a successor

    async def _serve_handover(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            channel, _ = await loop.sock_accept(sock)
            is_kept = False
            try:
                is_kept = await self._hand_over(channel)
            except (OSError, ValueError, KeyError, TypeError):
                self.frozen = False
            finally:
                if not is_kept:
                    channel.close()

    async def _hand_over(self, channel: socket.socket) -> bool:
        """Send copies of the listeners to the other process. If that is a successor, retire when it asks for
        that; returns whether it does. Until then, the table can't be changed."""
        loop = asyncio.get_running_loop()
        channel.setblocking(False)
        request = json.loads(await asyncio.wait_for(loop.sock_recv(channel, 4096), 5))
        self.frozen = request["do"] == "take"
        if self.frozen:
            await self._table.settle()
        send_listeners(channel, self._listeners)
        if self.frozen:
            request = await asyncio.wait_for(loop.sock_recv(channel, 64), 30)
            if request.startswith(RETIRE):
                self._table.close()
                is_framed = request == RETIRE_FRAMED
                return self._begin_shutdown(_Shutdown(_RETIRE_SECONDS, channel, is_framed=is_framed))
        self.frozen = False
        return False

    async def _take_connections(self, predecessor: socket.socket, *, is_framed: bool) -> None:
        """Take over client connections of the previous front, until it has exited."""
        with contextlib.closing(predecessor):
            async for handed in handed_connections(predecessor, is_framed=is_framed):
                if not self._is_listening_for(handed):
                    handed.socket.close()
                    continue
                with contextlib.suppress(OSError):
                    await self._take(handed)
        self.is_alone = True
        self._context.held.inherited = frozenset()

    async def _take(self, handed: HandedConnection) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: Downstream(
                self._context, "http", ingress_port=handed.ingress_port, received=handed.received
            ),
            handed.socket,
        )

    def _is_listening_for(self, handed: HandedConnection) -> bool:
        """Whether this front listens at the address to which the client has connected."""
        if handed.ingress_port:
            return handed.ingress_port in self._table.live.ports
        return any(accepts_for(listener, handed.socket) for listener in self._listeners)

    # Shutdown

    async def _wind_down(self, shutdown: _Shutdown) -> None:
        """Wait for open requests, then abort them."""
        self._context.draining = True
        for server in self._servers:
            server.close()
        for listener in self._listeners:
            listener.socket.close()
        self._ingress_ports.close()
        if shutdown.successor is None:
            await self._wait_for_clients(shutdown.timeout, close_idle_after=_STOP_GRACE)
        else:
            await self._finish_tls()
            await self._retire(shutdown.timeout, shutdown.successor, is_framed=shutdown.is_framed)
        for connection in list(self._connections.open):
            connection.end()
        await asyncio.sleep(0)

    async def _finish_tls(self) -> None:
        """Let clients with TLS connections, which can't be passed on, complete their handshake and send one
        more request. The successor accepts connections already; no route changes before this front has
        retired."""
        has_handshakes = any(server.is_busy for server in self._servers if isinstance(server, TlsGreeter))
        if has_handshakes or any(connection.is_secure for connection in self._connections.open):
            await asyncio.sleep(_TLS_GRACE)

    async def _retire(self, timeout: float, successor: socket.socket, *, is_framed: bool) -> None:
        """Pass idle connections and held requests to the successor. Busy connections get their response with
        `Connection: close`, or are passed on after it if its head has been sent already."""
        sender = ConnectionSender(successor, is_framed=is_framed)
        self._context.pass_on = sender.send
        for connection in list(self._connections.open):
            connection.pass_on()
        activity_file.save(self._options.state_dir, self._context)
        with contextlib.suppress(OSError):
            successor.send(RETIRED_FRAMED if is_framed else RETIRED)
        await self._control.close()
        try:
            await self._wait_for_clients(timeout, close_idle_after=timeout)
        finally:
            sender.close()

    async def _wait_for_clients(self, timeout: float, *, close_idle_after: float) -> None:
        """Wait until all connections are closed, for `timeout` seconds at most."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        while self._connections.open and loop.time() - start < timeout:
            await asyncio.sleep(0.05)
            if self._context.pass_on and self._context.held.count and self._table.follow():
                self._context.held.release()
            if loop.time() - start >= close_idle_after:
                for connection in list(self._connections.open):
                    connection.close_if_idle()
