"""Serves the web application behind the front, as the settings define it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import uvicorn
from fastapi import FastAPI

from stager.assembly.application_setup import BrowserSetup
from stager.assembly.drivers import Drivers
from stager.checks.deliveries import DeliveryCheck
from stager.checks.services import ServiceCheck, VolumeCheck
from stager.checks.snapshots import SnapshotCheck
from stager.control.control_plane import ControlPlane
from stager.control.external.check import ExternalCheck
from stager.domain.application import Application, Applications
from stager.domain.errors import Fault
from stager.front.process.sockets import PathListener, SocketError
from stager.installation_checks import checks_for
from stager.settings.in_force import settings_in_force
from stager.settings.loading.loader import Loaded
from stager.state import StateDirectory
from stager.web.app import create_app
from stager.web.context import WebContext, WebOptions
from stager.web.uploads import Uploads

SHUTDOWN_SECONDS = 3
EXTRA_WAIT = 60.0
"""Seconds that a request waits for a launch beyond the application's own start timeout."""


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


def web_server_of(
    loaded: Loaded,
    state: StateDirectory,
    drivers: Drivers,
    control_plane: ControlPlane,
    reload: Callable[[], None] | None,
) -> WebServer:
    """The server of Stager's own pages and API.

    Args:
        reload: restarts the control plane after an application was added in the browser; None: no
            application can be added there.
    """
    web = _web_context(loaded, state, drivers, control_plane, reload)
    return WebServer(create_app(control_plane, web), state)


def _web_context(
    loaded: Loaded,
    state: StateDirectory,
    drivers: Drivers,
    control_plane: ControlPlane,
    reload: Callable[[], None] | None,
) -> WebContext:
    urls, uploads = drivers.urls, Uploads(state.path / "uploads")
    uploads.clear()
    checks = checks_for(
        loaded.settings, state, is_up=True, domain=lambda: urls.domain if urls.is_known else ""
    )
    return WebContext(
        _web_options(loaded, state, control_plane.applications),
        front_stats=drivers.front.stats,
        setup=drivers.setup,
        applications=BrowserSetup(loaded.path, state.path, reload) if reload else None,
        settings=partial(settings_in_force, loaded),
        uploads=uploads,
        checks=(
            *checks,
            control_plane.reconciler.unexpected_errors,
            control_plane.plugins.invoker.failures,
            DeliveryCheck(drivers.ports.store),
            ServiceCheck(drivers.ports.store),
            VolumeCheck(drivers.ports.store),
            ExternalCheck(drivers.ports.store),
            SnapshotCheck(drivers.ports.store),
        ),
    )


def _web_options(loaded: Loaded, state: StateDirectory, applications: Applications) -> WebOptions:
    settings = loaded.settings
    return WebOptions(
        configuration=str(loaded.path) if loaded.path else "",
        warnings=loaded.warnings,
        public_list=settings.public_list,
        start_timeout=max((_launch_timeout(a) for a in applications), default=0.0) + EXTRA_WAIT,
        trusted=settings.trusted_proxies,
        metrics_for=settings.metrics.allow,
        repositories=settings.local_forge,
        spool=str(state.path),
        mcp=settings.mcp,
    )


def _launch_timeout(application: Application) -> float:
    """Seconds from a request to its result at most, without the time in the build queue."""
    build = application.build_timeout if application.build else 0.0
    return application.start_timeout + build
