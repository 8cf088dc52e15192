"""The Python SDK's client, without a network."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from fastapi import FastAPI
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent

from stager.web.mcp import server  # imported here, because a thread that imports it sees no virtual time
from tests.unit.web.harness import HOST, WebHarness, app_of, basic

assert server


@asynccontextmanager
async def connected(
    web: WebHarness,
    headers: Mapping[str, str] | None = None,
    mode: str = "auto",
    app: FastAPI | None = None,
) -> AsyncIterator[Client]:
    """A client of `/mcp`, with ann's credentials unless `headers` has others."""
    application = app or app_of(web.harness, mcp=True)
    transport = httpx2.ASGITransport(application, client=("192.0.2.1", 1234))
    async with httpx2.AsyncClient(transport=transport, headers=headers or basic()) as http:
        stream = streamable_http_client(f"http://{HOST}/mcp", http_client=http)
        async with Client(stream, mode=mode) as client:
            yield client


async def call(client: Client, tool: str, **arguments: Any) -> Any:
    """The result of a tool, which must not be an error."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text_of(result)
    if result.structured_content is not None:
        assert json.loads(text_of(result)) == result.structured_content
    return result.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> Any:
    """The problem that a tool answers with."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return json.loads(text_of(result))


def text_of(result: CallToolResult) -> str:
    [content] = result.content
    assert isinstance(content, TextContent)
    return content.text
