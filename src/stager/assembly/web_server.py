"""Serves the web application behind the front."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from stager.domain.errors import Fault
from stager.front.process.sockets import PathListener, SocketError
from stager.state import StateDirectory

SHUTDOWN_SECONDS = 3


class WebServer(uvicorn.Server):
    """Serves Stager's own pages, behind the front, on a Unix socket that no other user can open."""

    def __init__(self, app: FastAPI, state: StateDirectory) -> None:
        self._path = state.control_socket
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                proxy_headers=True,
                forwarded_allow_ips="*",
                server_header=False,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            )
        )

    async def listen(self) -> None:
        """Serve on the socket until `should_exit`. The socket is created here, because uvicorn's own would be
        open to all users.

        Raises:
            Fault: the socket can't be created.
        """
        try:
            listener = PathListener(self._path)
        except SocketError as error:
            raise Fault(str(error), reason="state-unusable") from error
        try:
            await self.serve(sockets=[listener.socket])
        finally:
            listener.close()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: `cli` handles them and stops the server."""
        yield
