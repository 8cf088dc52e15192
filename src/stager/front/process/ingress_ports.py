"""Listens on ingress ports: ports of the loopback interface, each of which leads to one host of the table.

An edge proxy, such as an nginx with a vhost for each preview, selects the preview by the port if the `Host`
header doesn't, see `context.Context.lookup_at_ingress`. These listeners aren't handed over: a successor opens
the ports itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stager.front.process.sockets import BACKLOG, SocketError, listen
from stager.front.table.live_table import LiveTable

_RETRY_SECONDS = 0.02


class IngressPorts:
    """Keeps the ports of the table open.

    Args:
        table: the live table with the ports.
        protocol_of: makes the protocol of a connection to this port.
    """

    def __init__(self, table: LiveTable, protocol_of: Callable[[int], asyncio.Protocol]) -> None:
        self._table = table
        self._protocol_of = protocol_of
        self._servers: dict[int, asyncio.Server] = {}
        self._turn = asyncio.Lock()
        self._is_closed = False

    async def open(self, *, timeout: float = 0.0) -> dict[int, str]:
        """Listen on the table's ports, and close all others.

        Args:
            timeout: seconds to retry, because the previous front may still have the ports.

        Returns:
            The ports on which listening fails, with the error.
        """
        async with self._turn:
            for port in self._servers.keys() - self._table.ports.keys():
                self._servers.pop(port).close()
            deadline = asyncio.get_running_loop().time() + timeout
            failed = await self._open_missing()
            while failed and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(_RETRY_SECONDS)
                failed = await self._open_missing()
            return failed

    def close(self) -> None:
        """Close all ports permanently. Open connections stay."""
        self._is_closed = True
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    async def _open_missing(self) -> dict[int, str]:
        failed = {}
        for port in [] if self._is_closed else sorted(self._table.ports.keys() - self._servers.keys()):
            try:
                await self._open(port)
            except SocketError as error:
                failed[port] = str(error)
        return failed

    async def _open(self, port: int) -> None:
        sock = listen("plain", f"127.0.0.1:{port}").socket
        server = await asyncio.get_running_loop().create_server(
            lambda: self._protocol_of(port), sock=sock, backlog=BACKLOG
        )
        if self._is_closed:
            server.close()
        else:
            self._servers[port] = server
