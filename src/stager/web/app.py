"""The web application: routes, error handling and middleware."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.datastructures import MutableHeaders
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stager.control.control_plane import ControlPlane
from stager.version import __version__
from stager.web import problems, static_files
from stager.web.api import (
    capacity,
    compat,
    device_login,
    diagnostics,
    environments,
    garbage,
    identity,
    pictures,
    share_links,
    snapshots,
    terminal,
)
from stager.web.api import deliveries as deliveries_api
from stager.web.api import launching as launching_api
from stager.web.api import people as people_api
from stager.web.api import settings as settings_api
from stager.web.api import why as why_api
from stager.web.api.openapi import described
from stager.web.auth import cookies, preview_access
from stager.web.auth.csrf import BEHIND_TLS, SAFE_METHODS, is_cross_origin
from stager.web.body_limits import BodyLimits
from stager.web.compression import PageCompression
from stager.web.context import WebContext, control_plane_of
from stager.web.forges import git_http, local_push
from stager.web.mcp import endpoint as mcp_endpoint
from stager.web.pages import (
    account,
    application_setup,
    dashboard,
    deliveries,
    github_setup,
    home,
    launching,
    login_link,
    people,
    picture_files,
    preview,
    settings,
    sign_in,
    why,
)
from stager.web.pages.environment import actions as preview_actions
from stager.web.pages.environment import log_streams
from stager.web.pages.overview import qr

DESCRIPTION = "Launch, inspect and remove preview environments."
CROSS_ORIGIN = problems.Problem(
    title="Cross-origin requests are refused.",
    status=403,
    detail=BEHIND_TLS,
    reason="cross-origin",
)
NOT_RENEWED = ("/api/", "/static/", dashboard.EVENTS, f"{git_http.PREFIX}/")


MODULES = (
    local_push,
    compat,  # early, because routes are tried in this order and deliveries come in bursts
    environments,
    capacity,
    snapshots,
    identity,
    device_login,
    diagnostics,
    deliveries_api,
    pictures,
    launching_api,
    people_api,
    settings_api,
    why_api,
    garbage,
    home,
    dashboard,
    qr,
    picture_files,
    preview,
    preview_actions,
    log_streams,
    github_setup,
    application_setup,
    deliveries,
    launching,
    people,
    settings,
    why,
    share_links,
    preview_access,
    login_link,
    sign_in,
    account,
    terminal,
)


def _all_routes() -> APIRouter:
    router = APIRouter()
    for module in MODULES:
        router.include_router(module.router)
    return router


ROUTES = _all_routes()
"""FastAPI analyses a route when it is first tried, and applications of one process share the result."""


def create_app(control: ControlPlane, web: WebContext) -> FastAPI:
    """Return the ASGI application."""
    app = FastAPI(title="Stager", version=__version__, description=DESCRIPTION, docs_url=None, redoc_url=None)
    app.state.control_plane, app.state.web = control, web
    app.openapi = lambda: app.openapi_schema or described(app)  # type: ignore[method-assign]
    problems.install(app)
    app.router.routes += ROUTES.routes
    app.router.routes.append(Route(mcp_endpoint.PATH, mcp_endpoint.McpEndpoint()))
    app.mount(git_http.PREFIX, git_http.GitOverHttp())
    app.mount("/static", static_files.router)
    app.add_middleware(PageCompression)
    app.add_middleware(SessionRenewal)
    app.add_middleware(BodyLimits)
    app.add_middleware(SameOrigin)
    app.add_middleware(SecurityHeaders)
    return app


class SecurityHeaders:
    """Adds headers that disable MIME sniffing (Fetch Standard, section 3.6) and keep other origins from
    embedding responses (section 3.7)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                given = MutableHeaders(scope=message)
                given["X-Content-Type-Options"] = "nosniff"
                given["Cross-Origin-Resource-Policy"] = "same-origin"
            await send(message)

        await self._app(scope, receive, with_headers)


class SessionRenewal:
    """Rotates the secret of a browser's session regularly, when a page is requested."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_page = scope["type"] == "http" and scope["method"] == "GET"
        if is_page and not scope["path"].startswith(NOT_RENEWED):
            send = await _send_with_renewal(Request(scope), send)
        await self._app(scope, receive, send)


async def _send_with_renewal(request: Request, send: Send) -> Send:
    control = control_plane_of(request)
    is_https = control.routing.urls.is_https
    secret = cookies.read(request, cookies.SESSION, secure=is_https)
    renewed = await control.identity.sessions.renew(secret) if secret else None
    if renewed is None:
        return send
    cookie = Response()
    cookies.set_cookie(cookie, cookies.SESSION, renewed[1], secure=is_https)

    async def with_cookie(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = MutableHeaders(scope=message)
            if cookies.name_of(cookies.SESSION, secure=is_https) not in given.get("set-cookie", ""):
                given.append("set-cookie", cookie.headers["set-cookie"])
        await send(message)

    return with_cookie


class SameOrigin:
    """Refuses requests that change something and come from pages of other origins, because browsers add
    stored credentials to them (OWASP, Cross-Site Request Forgery Prevention). Clients other than browsers
    send no Origin.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A page of any origin may open a WebSocket and read from it (RFC 6455, 10.2).
        is_safe = scope["type"] == "http" and scope["method"] in SAFE_METHODS
        if scope["type"] in ("http", "websocket") and not is_safe and is_cross_origin(scope):
            await problems.problem_response(scope["path"], CROSS_ORIGIN)(scope, receive, send)
        else:
            await self._app(scope, receive, send)
