"""The dependencies of routes: the control plane, what only the web layer needs, and authentication."""

from __future__ import annotations

import secrets
import tempfile
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, cast

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from stager.control.control_plane import ControlPlane
from stager.control.identity.throttle import Throttle
from stager.domain.identity.actor import Actor
from stager.domain.identity.client_addresses import Network, sender
from stager.ports.clock import SystemClock
from stager.ports.diagnostics import Check
from stager.ports.handlers import Credentials
from stager.ports.setup import ApplicationSetup, AppSetup
from stager.settings.in_force import SettingInForce
from stager.web.auth import cookies
from stager.web.auth.csrf import SAFE_METHODS, is_cross_site_request, is_same_origin
from stager.web.auth.oauth_state import OAuthStates
from stager.web.pages.change_stream import Shared
from stager.web.pages.once import Once
from stager.web.pages.overview.public_list import PublicList
from stager.web.request_body import parameters_of
from stager.web.uploads import Uploads

TOTAL_FAILURES = 200
"""Wrong passwords per minute for one preview from all addresses: too few for guessing, enough for real
visitors."""


def _password_throttles() -> tuple[Throttle, Throttle]:
    now = SystemClock().now
    return Throttle(now), Throttle(now, TOTAL_FAILURES)


def _uploads() -> Uploads:
    return Uploads(Path(tempfile.gettempdir()) / f"stager-{secrets.token_hex(8)}")


@dataclass(frozen=True, slots=True)
class WebOptions:
    """What the configuration says about the web server.

    Args:
        configuration: path of the configuration file; empty if there is none.
        warnings: the configuration's warnings.
        public_list: whether the start page lists public previews to everybody.
        start_timeout: seconds that a request waits for a launch at most.
        trusted: networks of the proxies in front of the front.
        metrics_for: networks that may read the metrics without credentials.
        repositories: paths of the local forge's repositories, by name.
        spool: folder for large request bodies; empty for the system's own.
        mcp: whether `/mcp` is served.
    """

    configuration: str = ""
    warnings: tuple[str, ...] = ()
    public_list: bool = False
    start_timeout: float = 360.0
    trusted: Sequence[Network] = ()
    metrics_for: Sequence[Network] = ()
    repositories: Mapping[str, Path] = field(default_factory=dict)
    spool: str = ""
    mcp: bool = False


@dataclass(frozen=True, slots=True)
class WebContext:
    """What only the web layer needs.

    Args:
        front_stats: reads the front's counters; raises `Retry` while the front doesn't answer.
        setup: connects the forge from Stager's own pages; None if that isn't possible.
        applications: adds applications from Stager's own pages; None if that isn't possible.
        checks: the checks of `stager doctor`.
        oauth_states: the states of connections to the forge that are in progress.
        password_throttles: throttles for passwords of previews: for each address, and for all addresses
            together.
        dashboards: what the streams of open dashboards use together.
        public_list: the list of public previews.
        settings: the settings in force.
        launches: the forms of launches by hand.
        uploads: receives dumps.
    """

    options: WebOptions
    front_stats: Callable[[], Awaitable[Mapping[str, object]]]
    setup: AppSetup | None = None
    applications: ApplicationSetup | None = None
    checks: Sequence[Check] = ()
    oauth_states: OAuthStates = field(default_factory=OAuthStates)
    password_throttles: tuple[Throttle, Throttle] = field(default_factory=_password_throttles)
    dashboards: Shared = field(default_factory=Shared)
    public_list: PublicList = field(default_factory=PublicList)
    settings: Callable[[], Sequence[SettingInForce]] = tuple
    launches: Once = field(default_factory=Once)
    uploads: Uploads = field(default_factory=_uploads)


def control_plane_of(connection: HTTPConnection) -> ControlPlane:
    """The control plane that the application serves."""
    return cast("ControlPlane", connection.app.state.control_plane)


def web_of(connection: HTTPConnection) -> WebContext:
    """What only the web layer needs."""
    return cast("WebContext", connection.app.state.web)


async def _control_plane(request: Request) -> ControlPlane:
    return control_plane_of(request)  # asynchronous, because FastAPI runs other dependencies in threads


async def _web(request: Request) -> WebContext:
    return web_of(request)


async def actor_of(request: Request, control: Annotated[ControlPlane, Depends(_control_plane)]) -> Actor:
    """Authenticate a request. Raises `Refused` (401)."""
    actor = await control.identity.authenticator.authenticate(await credentials_of(request))
    await learn_domain(request, control)
    return actor


async def learn_domain(request: Request, control: ControlPlane) -> None:
    """Use the Host of an authenticated request as the installation's domain, if none is known yet."""
    await control.routing.learn_domain(request.headers.get("host", ""))


async def credentials_of(request: Request) -> Credentials:
    """Return the credentials of a request."""
    authorization = request.headers.get("authorization", "")
    address = address_of(request)
    session = session_of(request, control_plane_of(request))
    credentials = Credentials(authorization, await parameters_of(request), address, session)
    return credentials.without_parameter if is_cross_site_request(request.scope) else credentials


async def visitor_of(request: Request, control: ControlPlane) -> Actor | None:
    """Return the user who is signed in in the browser; None when there is no session."""
    actor = await control.identity.sessions.actor(session_of(request, control))
    return replace(actor, in_browser=True) if actor else None


def session_of(request: Request, control: ControlPlane) -> str:
    """Return the secret of the browser's session; empty when there is none. For requests that change
    something, the cookie is accepted only from Stager's own pages (CSRF)."""
    if request.method not in SAFE_METHODS and not is_same_origin(request.scope):
        return ""
    return cookies.read(request, cookies.SESSION, secure=control.routing.urls.is_https)


def as_basic(user: str, password: str) -> str:
    """Return the value of an `Authorization` header (RFC 7617)."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def address_of(request: HTTPConnection) -> str:
    """Return the client's address: the last one in `X-Forwarded-For` that isn't a trusted proxy's. Earlier
    ones may be forged; the front adds the last one."""
    peer = request.client.host if request.client else ""
    web = cast("WebContext | None", getattr(request.app.state, "web", None))
    trusted = web.options.trusted if web else ()
    return sender(request.headers.get("x-forwarded-for", ""), trusted, peer)


def is_on_control_socket(request: HTTPConnection) -> bool:
    """Whether the request came through the control socket, which only Stager's user can open. The front
    always adds forwarding headers."""
    return not {"x-forwarded-for", "x-forwarded-proto"} & set(request.headers)


Control = Annotated[ControlPlane, Depends(_control_plane)]
Web = Annotated[WebContext, Depends(_web)]
Known = Annotated[Actor, Depends(actor_of)]
