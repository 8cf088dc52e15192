"""The web application: routes, problems, and a guard against other people's pages."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from stager.version import __version__
from stager.web import api, compat, pages, problems
from stager.web.services import Services

DESCRIPTION = "Launch, look at and remove preview environments."
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def create_app(services: Services) -> FastAPI:
    """The application that serves these."""
    app = FastAPI(title="Stager", version=__version__, description=DESCRIPTION, docs_url=None, redoc_url=None)
    app.state.services = services
    problems.install(app)
    for module in (api, compat, pages):
        app.include_router(module.router)
    app.add_middleware(SameOrigin)
    return app


class SameOrigin:
    """Refuses what a page of another origin makes a browser send: a browser adds the credentials that it has
    for us by itself (OWASP, Cross-Site Request Forgery Prevention). Other clients send no Origin.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS and _is_foreign(scope):
            refusal = PlainTextResponse("Requests from other sites' pages are refused.", 403)
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _is_foreign(scope: Scope) -> bool:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    origin = headers.get(b"origin")
    return origin is not None and urlsplit(origin).netloc != headers.get(b"host")
