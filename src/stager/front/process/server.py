"""The process: its sockets, its clock, and how it begins and ends."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stager.front.http.limits import Limits
from stager.front.process.control_socket import Control
from stager.front.process.ingress_ports import IngressPorts
from stager.front.process.signing_key import load_key
from stager.front.process.sockets import BACKLOG, Listener, PathListener, hand_out
from stager.front.process.tls import Certificate
from stager.front.proxy.access_gate import Gate
from stager.front.proxy.access_log import AccessLog
from stager.front.proxy.connections import Connections
from stager.front.proxy.context import Context
from stager.front.proxy.downstream import Downstream
from stager.front.table.live_table import TableFile

_RETIRE_SECONDS = 30.0
# How long clients that have nothing open may still come with one more request, which is answered with
# `Connection: close`. Closing under them would cut requests that are on their way.
_STOP_GRACE = 0.5
# Longer when there is no hurry; but not long, because the table that they are answered by no longer changes.
_RETIRE_GRACE = 2.0
_TICKS_BETWEEN_CERTIFICATE_CHECKS = 30
_TICKS_BETWEEN_SAVES = 3


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a front is to run.

    Args:
        state_dir: for the table, the log and the sockets.
        settings: the command line without what differs from start to start, by which it is recognised.
        trusted: networks of trusted proxies.
        access_log: whether to keep one.
        certificate: for the listeners that speak TLS.
    """

    state_dir: Path
    settings: list[str]
    limits: Limits
    trusted: tuple[str, ...]
    access_log: bool
    certificate: Certificate | None


class Front:
    """One running front."""

    def __init__(self, options: ServerOptions, listeners: Iterable[Listener]) -> None:
        self.frozen = False
        self._options = options
        self._listeners = list(listeners)
        self._table = TableFile(options.state_dir)
        log = AccessLog(options.state_dir / "access.log" if options.access_log else None)
        visitors: Connections[Downstream] = Connections(options.limits, options.trusted)
        self._visitors = visitors
        gate = Gate(load_key(options.state_dir))
        self._context = Context(options.limits, self._table.load(), visitors, log, gate)
        self._servers: list[asyncio.Server] = []
        self._doors = IngressPorts(
            self._table.live, lambda port: Downstream(self._context, "http", door=port)
        )
        self._ending: asyncio.Future[tuple[float, float]] | None = None
        self._ticks = 0
        plain = next((listener.address for listener in self._listeners), "")
        self._control = Control(self, self._context, self._table, listen=plain, settings=options.settings)

    async def run(self, predecessor: socket.socket | None = None) -> None:
        """Serve until told to stop.

        Args:
            predecessor: the connection on which the front before this one handed over its sockets.
        """
        loop = asyncio.get_running_loop()
        self._ending = loop.create_future()
        control = PathListener(self._options.state_dir / "front.sock")
        handover = PathListener(self._options.state_dir / "handover.sock")
        await self._control.start(control.socket)
        for listener in self._listeners:
            self._servers.append(await self._accept(listener))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._reopen)
        handing_over = loop.create_task(self._serve_handover(handover.socket))
        ticking = loop.create_task(self._tick())
        # What is there now stays: the collector needn't look at it each time.
        gc.freeze()
        if predecessor is not None:
            predecessor.sendall(b"retire\n")
            predecessor.close()
        opening = loop.create_task(self._doors.open(patience=_RETIRE_GRACE if predecessor else 0.0))
        try:
            await self._wind_down(*await self._ending)
        finally:
            for task in (handing_over, ticking, opening):
                task.cancel()
            await self._control.close()
            for path in (control, handover):
                path.close()
            self._table.close()
            self._context.log.close()

    async def open_doors(self) -> dict[int, str]:
        """Listen on the table's ports; returns those on which that can't be done, each with why."""
        return await self._doors.open()

    def stop(self, timeout: float | None = None) -> None:
        """Stop accepting, let open requests end, and exit."""
        self._end(self._options.limits.drain_seconds if timeout is None else timeout, _STOP_GRACE)

    def retire(self, timeout: float | None = None) -> None:
        """The same without hurry: a successor has taken over the sockets."""
        self._end(_RETIRE_SECONDS if timeout is None else timeout, _RETIRE_GRACE)

    def _end(self, timeout: float, grace: float) -> None:
        if self._ending is not None and not self._ending.done():
            self._ending.set_result((timeout, grace))

    async def _accept(self, listener: Listener) -> asyncio.Server:
        certificate = self._options.certificate
        secure: ssl.SSLContext | None = None
        if listener.kind == "tls":
            assert certificate is not None  # noqa: S101 (the command line sees to it)
            secure = certificate.context
        scheme = "https" if secure else "http"
        return await asyncio.get_running_loop().create_server(
            lambda: Downstream(self._context, scheme),
            sock=listener.socket.dup(),
            backlog=BACKLOG,
            ssl=secure,
            ssl_handshake_timeout=self._options.limits.head_seconds if secure else None,
        )

    async def _tick(self) -> None:
        """Once a second: wind the clock, end what takes too long, and write the log."""
        while True:
            await asyncio.sleep(1)
            self._context.tick()
            for connection in list(self._visitors.connections):
                connection.sweep(self._context.now)
            self._context.backends.sweep()
            self._context.log.flush()
            self._ticks += 1
            if self._ticks % _TICKS_BETWEEN_SAVES == 0:
                self._table.retry()
            if self._options.certificate and self._ticks % _TICKS_BETWEEN_CERTIFICATE_CHECKS == 0:
                self._options.certificate.refresh()

    def _reopen(self) -> None:
        self._context.log.reopen()
        if self._options.certificate:
            self._options.certificate.refresh(force=True)

    async def _serve_handover(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(sock)
            try:
                await self._hand_over(connection)
            except (OSError, ValueError, KeyError, TypeError):
                self.frozen = False
            finally:
                connection.close()

    async def _hand_over(self, connection: socket.socket) -> None:
        """Give a copy of the sockets to whoever asks; to a successor, the table as well."""
        loop = asyncio.get_running_loop()
        connection.setblocking(False)
        request = json.loads(await asyncio.wait_for(loop.sock_recv(connection, 4096), 5))
        self.frozen = request["do"] == "take"
        if self.frozen:
            await self._table.settle()
        hand_out(connection, self._listeners)
        if self.frozen and (await asyncio.wait_for(loop.sock_recv(connection, 64), 30)).startswith(b"retire"):
            self._table.close()
            await self._control.close()
            self.retire()
        else:
            self.frozen = False

    async def _wind_down(self, timeout: float, grace: float) -> None:
        """Let what is open come to an end, then cut it off."""
        self._context.draining = True
        for server in self._servers:
            server.close()
        for listener in self._listeners:
            listener.socket.close()
        self._doors.close()
        loop = asyncio.get_running_loop()
        start = loop.time()
        while self._visitors.connections and loop.time() - start < timeout:
            await asyncio.sleep(0.05)
            if loop.time() - start >= grace:
                self._close_idle()
        for connection in list(self._visitors.connections):
            connection.end()
        await asyncio.sleep(0)

    def _close_idle(self) -> None:
        for connection in list(self._visitors.connections):
            if connection.idle:
                connection.transport.close()
