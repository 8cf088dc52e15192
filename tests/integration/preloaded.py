"""What each Stager of the tests would load and compute at its start: their fork server does it once, for all.

Imported by the fork server only; see `serving`.
"""

from __future__ import annotations

import asyncio
from importlib import import_module

from fastapi import FastAPI
from starlette.types import Message

from stager.settings.loading.loader import load
from stager.web.app import ROUTES

PROGRAM = (
    *("stager.cli.main", "stager.cli.server", "stager.cli.login_link", "stager.cli.log_output"),
    *("stager.assembly.server", "stager.assembly.web_server", "stager.stores.sqlite.schema"),
    *("alembic.command", "alembic.config", "sqlalchemy.dialects.sqlite"),
    *("uvicorn.lifespan.off", "uvicorn.protocols.http.h11_impl", "uvicorn.protocols.websockets.auto"),
)
for name in PROGRAM:
    import_module(name)


async def ask_for_nothing() -> None:
    """Have an application try all routes, which has FastAPI analyse them."""

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        pass

    app = FastAPI()
    app.router.routes += ROUTES.routes
    scope = {"type": "http", "method": "GET", "path": "/no/such/page", "query_string": b"", "headers": []}
    await app(scope, receive, send)


asyncio.run(ask_for_nothing())
load(None, environ={})  # pydantic builds the models of the settings
