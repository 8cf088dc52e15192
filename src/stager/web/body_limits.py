"""Limits request bodies. Bodies are read before the sender is authenticated, so their size and duration are
limited, and only a few large ones are read concurrently."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stager.web.context import address_of
from stager.web.forges import git_http
from stager.web.problems import BodyError
from stager.web.request_body import FORM_LIMIT, WEBHOOK_LIMIT
from stager.web.uploads import is_upload

SMALL: Final = 64 * 1024
"""Bytes. uvicorn buffers as much of an unread body, so reading these costs nothing more."""

MAX_FORMS, MAX_DELIVERIES = 32, 4
"""Concurrently read bodies up to 1 MB, and larger ones. One address may have half of them."""

SLOT_TIMEOUT: Final = 5.0
"""Seconds that a request waits for a slot. GitHub waits 10 seconds for a response."""
IDLE_TIMEOUT: Final = 5.0
"""Seconds until the next chunk of a body."""
TOTAL_TIMEOUT: Final = 30.0
"""Seconds from the first chunk of a body to the last."""
WEBHOOKS: Final = "/webhooks/"
RECEIVER: Final = "/event_receiver"


class Slots:
    """A limited number of slots, of which an address may take half.

    Args:
        count: the number of slots.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._taken: Counter[str] = Counter()
        self._changed = asyncio.Condition()

    async def acquire(self, address: str) -> None:
        """Wait for a slot. Raises `BodyError` (503) after the timeout."""
        try:
            async with asyncio.timeout(SLOT_TIMEOUT), self._changed:
                await self._changed.wait_for(lambda: self._is_free_for(address))
                self._taken[address] += 1
        except TimeoutError:
            raise BodyError(
                503,
                "Too many large requests are being read.",
                "Try again in a few seconds.",
                reason="too-many-bodies",
            ) from None

    async def release(self, address: str) -> None:
        """Release a slot."""
        async with self._changed:
            self._taken[address] -= 1
            self._taken += Counter()  # drops zero counts
            self._changed.notify_all()

    def _is_free_for(self, address: str) -> bool:
        return self._taken.total() < self._count and self._taken[address] < max(self._count // 2, 1)


class BodyLimits:
    """Middleware that refuses bodies that are too large, too slow, or too many at once."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._forms, self._deliveries = Slots(MAX_FORMS), Slots(MAX_DELIVERIES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # git_http and uploads stream bodies and limit them themselves.
        is_streamed = scope["type"] == "http" and (
            scope["path"].startswith(f"{git_http.PREFIX}/") or is_upload(Request(scope))
        )
        if scope["type"] != "http" or is_streamed:
            await self._app(scope, receive, send)
            return
        body = _Body(Request(scope), receive, self._forms, self._deliveries)
        try:
            await self._app(scope, body.receive, send)
        except ClientDisconnect:
            return  # there is no client to respond to
        finally:
            await body.release()


class _Body:
    """The body of one request. It takes a slot when its first chunk is read, so a request that is refused by
    its headers needs none."""

    def __init__(self, request: Request, receive: Receive, forms: Slots, deliveries: Slots) -> None:
        self._receive = receive
        self._limit = _limit_of(request)
        self._declared = _declared_size(request, self._limit)
        self._slots = deliveries if self._declared > FORM_LIMIT else forms
        self._address = address_of(request)
        self._has_slot = False
        self._size = 0
        self._ends_at: float | None = None
        self._done = self._declared == 0

    async def receive(self) -> Message:
        """Receive an ASGI message. Raises `BodyError`."""
        if self._done:  # the next message is the disconnect of the client
            return await self._receive()
        if self._declared > self._limit:
            raise self._too_large()
        await self._start()
        message = await self._next()
        self._size += len(message.get("body", b""))
        if self._size > self._limit:
            raise self._too_large()
        self._done = message["type"] != "http.request" or not message.get("more_body", False)
        if self._done and self._declared <= FORM_LIMIT:  # the request itself may take minutes
            await self.release()
        return message

    async def release(self) -> None:
        """Release the slot, if it has one."""
        if self._has_slot:
            self._has_slot = False
            await self._slots.release(self._address)

    async def _start(self) -> None:
        if self._ends_at is not None:
            return
        if self._declared > SMALL:
            await self._slots.acquire(self._address)
            self._has_slot = True
        self._ends_at = asyncio.get_running_loop().time() + TOTAL_TIMEOUT

    async def _next(self) -> Message:
        left = (self._ends_at or 0.0) - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(min(IDLE_TIMEOUT, left)):
                return await self._receive()
        except TimeoutError:
            raise BodyError(
                408,
                "The request body was sent too slowly.",
                f"The limits are {IDLE_TIMEOUT:g} seconds per chunk and {TOTAL_TIMEOUT:g} seconds in total.",
                reason="body-too-slow",
            ) from None

    def _too_large(self) -> BodyError:
        return BodyError(413, f"The request body is larger than {self._limit} bytes.", reason="too-large")


def _limit_of(request: Request) -> int:
    """Return the limit in bytes; it is higher for webhook deliveries."""
    path = request.url.path
    if path.startswith(WEBHOOKS) or (path == RECEIVER and "x-github-event" in request.headers):
        return WEBHOOK_LIMIT
    return FORM_LIMIT


def _declared_size(request: Request, limit: int) -> int:
    """Return the body's maximum size in bytes, by its headers."""
    if "transfer-encoding" in request.headers:
        return limit
    length = request.headers.get("content-length", "0")
    return int(length) if length.isdecimal() else limit
