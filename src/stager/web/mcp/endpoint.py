"""The route `/mcp`: authenticates a request before anything of it is read, then passes it to the server."""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stager.domain.errors import StagerError
from stager.fast_import import import_in_background
from stager.web import problems
from stager.web.context import web_of
from stager.web.mcp.caller import OpenCalls, caller_of

PATH: Final = "/mcp"


class McpEndpoint:
    """Serves the Model Context Protocol over streamable HTTP, without sessions."""

    def __init__(self) -> None:
        self._calls = OpenCalls()
        self._server: ASGIApp | None = None
        self._loading = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if not web_of(request).options.mcp:
            raise HTTPException(404)
        if request.method != "POST":  # there are no sessions to listen to, or to end
            await Response(status_code=405, headers={"Allow": "POST"})(scope, receive, send)
            return
        try:
            caller = await caller_of(request)
            with self._calls.of(caller):
                server = await self._loaded()
                await server(scope, _again(await request.body(), receive), send)
        except StagerError as error:
            response = problems.response_to(PATH, error)
            if response.status_code == 401:
                response.headers["WWW-Authenticate"] = 'Bearer realm="Stager"'
            await response(scope, receive, send)

    async def _loaded(self) -> ASGIApp:
        """The server. Created at the first call: the package takes most of a second to import."""
        async with self._loading:
            if self._server is None:
                await import_in_background("stager.web.mcp.server")
                from stager.web.mcp.server import McpServer  # noqa: PLC0415 (imported above)

                self._server = McpServer()
        return self._server


def _again(body: bytes, receive: Receive) -> Receive:
    """Receive a body that was read already, then what follows. Reading it outside of the server keeps its
    errors out of the server's exception groups."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again
