"""The web application: routes, problems, and a guard against other people's pages."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from starlette.datastructures import MutableHeaders
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stager.control.control_plane import ControlPlane
from stager.version import __version__
from stager.web import problems
from stager.web.api import compat, device_login, diagnostics, environments, identity, share_links, terminal
from stager.web.api.openapi import described
from stager.web.auth import cookies, preview_access
from stager.web.auth.csrf import BEHIND_TLS, SAFE_METHODS, is_foreign
from stager.web.body_limits import Bounded
from stager.web.context import WebContext, control_plane_of
from stager.web.forges import git_http, local_push
from stager.web.pages import account, github_setup, home, preview, sign_in

DESCRIPTION = "Launch, look at and remove preview environments."
FOREIGN = problems.Problem(
    title="Requests from other sites' pages are refused.",
    status=403,
    detail=BEHIND_TLS,
    reason="cross-origin",
)
UNRENEWED = ("/api/", "/static/", f"{git_http.PREFIX}/")


def create_app(control: ControlPlane, web: WebContext) -> FastAPI:
    """The application that serves these."""
    app = FastAPI(title="Stager", version=__version__, description=DESCRIPTION, docs_url=None, redoc_url=None)
    app.state.control_plane, app.state.web = control, web
    app.openapi = lambda: app.openapi_schema or described(app)  # type: ignore[method-assign]
    problems.install(app)
    for module in (
        environments,
        identity,
        device_login,
        diagnostics,
        local_push,
        compat,
        home,
        preview,
        github_setup,
        share_links,
        preview_access,
        sign_in,
        account,
    ):
        app.include_router(module.router)
    app.include_router(terminal.router)
    app.mount(git_http.PREFIX, git_http.GitOverHttp())
    app.mount("/static", StaticFiles(packages=[("stager.web", "static")]))
    app.add_middleware(Renewing)
    app.add_middleware(Bounded)
    app.add_middleware(SameOrigin)
    app.add_middleware(Hardened)
    return app


class Hardened:
    """Has browsers take each answer for what it says it is (Fetch Standard, section 3.6), and hand none to a
    page of another origin, not as an image or a script either (section 3.7)."""

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


class Renewing:
    """Replaces the secret of a browser's session now and then, when a page is opened with it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_page = scope["type"] == "http" and scope["method"] == "GET"
        if is_page and not scope["path"].startswith(UNRENEWED):
            send = await _renewing(Request(scope), send)
        await self._app(scope, receive, send)


async def _renewing(request: Request, send: Send) -> Send:
    control = control_plane_of(request)
    is_https = control.routing.urls.is_https
    secret = cookies.read(request, cookies.SESSION, secure=is_https)
    renewed = await control.identity.sessions.renew(secret) if secret else None
    if renewed is None:
        return send
    cookie = Response()
    cookies.give(cookie, cookies.SESSION, renewed[1], secure=is_https)

    async def with_cookie(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = MutableHeaders(scope=message)
            if cookies.name_of(cookies.SESSION, secure=is_https) not in given.get("set-cookie", ""):
                given.append("set-cookie", cookie.headers["set-cookie"])
        await send(message)

    return with_cookie


class SameOrigin:
    """Refuses what a page of another origin makes a browser send: a browser adds the credentials that it has
    for us by itself (OWASP, Cross-Site Request Forgery Prevention). Other clients send no Origin.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A page may open a WebSocket anywhere, and nothing keeps it from reading that (RFC 6455, 10.2).
        is_safe = scope["type"] == "http" and scope["method"] in SAFE_METHODS
        if scope["type"] in ("http", "websocket") and not is_safe and is_foreign(scope):
            await problems.worded(scope["path"], FOREIGN)(scope, receive, send)
        else:
            await self._app(scope, receive, send)
