"""The web server of the doubles."""

from __future__ import annotations

import asyncio
import socket

from aiohttp import web

_ITERATIONS = 5
"""Iterations of the event loop after which a connection that was accepted has its protocol."""


class LoopbackServer(web.AppRunner):
    """Serves an application on a port of 127.0.0.1 that the system chooses."""

    def __init__(self, application: web.Application) -> None:
        super().__init__(application, access_log=None, shutdown_timeout=0.1)
        self._listener: socket.socket | None = None

    async def start(self) -> str:
        """Begin to serve. Returns the URL."""
        await self.setup()
        self._listener = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(self, self._listener).start()
        host, port = self._listener.getsockname()
        return f"http://{host}:{port}"

    async def cleanup(self) -> None:
        """End, with all connections.

        A Stager under test may connect at this moment. No more connections are accepted first, and those that
        were accepted get their protocol: asyncio's server loses those that it gets after its end, and their
        transports would be reported as unclosed in a later test (`Server._attach` of CPython 3.11).
        """
        if self._listener is not None and self._listener.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._listener)
            for _ in range(_ITERATIONS):
                await asyncio.sleep(0)
        await super().cleanup()
