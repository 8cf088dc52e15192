"""Serves the web application behind the front."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from stager.state import StateDirectory
from stager.web.app import create_app
from stager.web.services import Services

SHUTDOWN_SECONDS = 3


class WebServer(uvicorn.Server):
    """Stager's own pages, behind the front, on a Unix socket that nobody else can reach."""

    def __init__(self, services: Services, state: StateDirectory) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(services),
                uds=str(state.control_socket),
                log_config=None,
                access_log=False,
                lifespan="off",
                proxy_headers=True,
                forwarded_allow_ips="*",
                server_header=False,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are ours: `cli` turns them into an orderly stop."""
        yield
