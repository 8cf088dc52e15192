"""Compresses pages, which have many repeated words: a list of 100 previews has 15 kB instead of 150 kB."""

from __future__ import annotations

import gzip

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SMALLEST = 1_000
"""Bytes from which on compression saves a packet."""
LEVEL = 5


class PageCompression:
    """Compresses complete HTML responses by gzip. Streams, downloads and the API stay as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or "gzip" not in Headers(scope=scope).get("accept-encoding", ""):
            await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, _PageSender(send).send)


class _PageSender:
    """Holds the start of a page back until its body is known."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None

    async def send(self, message: Message) -> None:
        """Send a message, or hold it back."""
        if message["type"] == "http.response.start" and _is_page(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            start, self._start = self._start, None
            for each in _packed(start, message):
                await self._send(each)


def _is_page(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    return headers.get("content-type", "").startswith("text/html") and "content-encoding" not in headers


def _packed(start: Message, body: Message) -> tuple[Message, Message]:
    content = body.get("body", b"")
    if body.get("more_body") or len(content) < SMALLEST:
        return start, body
    packed = gzip.compress(content, LEVEL, mtime=0)
    headers = MutableHeaders(scope=start)
    headers["Content-Encoding"] = "gzip"
    headers["Content-Length"] = str(len(packed))
    headers.add_vary_header("Accept-Encoding")
    return start, {**body, "body": packed}
