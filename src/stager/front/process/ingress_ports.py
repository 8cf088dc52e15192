"""Doors: ports of the loopback interface, each of which leads to one host of the table.

What stands before the front, such as an nginx with a vhost for each preview, tells by the port which preview
it means where the `Host` that it sends doesn't say; see `context.Context.lookup_door`. Doors aren't
handed from one front to the next, which opens them again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stager.front.process.sockets import BACKLOG, SocketError, listen
from stager.front.table.live_table import LiveTable

_LOOK_SECONDS = 0.02


class IngressPorts:
    """Keeps the doors of the table open.

    Args:
        table: whose ports are listened on.
        visitor: makes the protocol of a connection that came in by this port.
    """

    def __init__(self, table: LiveTable, visitor: Callable[[int], asyncio.Protocol]) -> None:
        self._table = table
        self._visitor = visitor
        self._servers: dict[int, asyncio.Server] = {}
        self._turn = asyncio.Lock()
        self._over = False

    async def open(self, *, patience: float = 0.0) -> dict[int, str]:
        """Listen on the table's ports, and on no others.

        Args:
            patience: seconds to go on trying, for a front before this one may still have them.

        Returns:
            The ports on which that can't be done, each with why.
        """
        async with self._turn:
            for port in self._servers.keys() - self._table.ports.keys():
                self._servers.pop(port).close()
            deadline = asyncio.get_running_loop().time() + patience
            closed = await self._open_missing()
            while closed and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(_LOOK_SECONDS)
                closed = await self._open_missing()
            return closed

    def close(self) -> None:
        """Close all of them for good. Who has come in may stay."""
        self._over = True
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    async def _open_missing(self) -> dict[int, str]:
        closed = {}
        for port in [] if self._over else sorted(self._table.ports.keys() - self._servers.keys()):
            try:
                await self._open(port)
            except SocketError as error:
                closed[port] = str(error)
        return closed

    async def _open(self, port: int) -> None:
        sock = listen("plain", f"127.0.0.1:{port}").socket
        server = await asyncio.get_running_loop().create_server(
            lambda: self._visitor(port), sock=sock, backlog=BACKLOG
        )
        if self._over:
            server.close()
        else:
            self._servers[port] = server
