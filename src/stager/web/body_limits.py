"""Bounds what strangers can fill the memory with. A body is read before anybody knows who sent it, so it is
bounded in size and in time, and only a few that aren't small are read at once."""

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

SMALL: Final = 64 * 1024
"""Bytes. As much as uvicorn buffers of a body that isn't read, so these cost no more by being read."""

MOST_FORMS, MOST_DELIVERIES = 32, 4
"""How many bodies up to 1 MB, and how many larger ones, are read at once. One address may have half."""

TURN_SECONDS: Final = 5.0
"""How long a request waits for its turn to be read. GitHub waits 10 seconds for an answer."""
IDLE_SECONDS: Final = 5.0
"""How long the next piece of a body may take."""
WHOLE_SECONDS: Final = 30.0
"""How long a body may take from its first piece to its last."""
WEBHOOKS: Final = "/webhooks/"
RECEIVER: Final = "/event_receiver"


class Turns:
    """Lets a few at a time have their turn, and no address more than half of them.

    Args:
        most: how many at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()
        self._changed = asyncio.Condition()

    async def take(self, address: str) -> None:
        """Wait for a turn. Raises `BodyError` (503) when there is none for too long."""
        try:
            async with asyncio.timeout(TURN_SECONDS), self._changed:
                await self._changed.wait_for(lambda: self._is_free_for(address))
                self._taken[address] += 1
        except TimeoutError:
            raise BodyError(
                503,
                "Too many large requests are being read.",
                "Send it again in a moment.",
                reason="too-many-bodies",
            ) from None

    async def give_back(self, address: str) -> None:
        """End a turn."""
        async with self._changed:
            self._taken[address] -= 1
            self._taken += Counter()  # drops what is at 0
            self._changed.notify_all()

    def _is_free_for(self, address: str) -> bool:
        return self._taken.total() < self._most and self._taken[address] < max(self._most // 2, 1)


class Bounded:
    """Refuses bodies that are longer than they need be, come too slowly, or are too many at once."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._forms, self._deliveries = Turns(MOST_FORMS), Turns(MOST_DELIVERIES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # What git sends is handed on as it comes, and bounded there.
        if scope["type"] != "http" or scope["path"].startswith(f"{git_http.PREFIX}/"):
            await self._app(scope, receive, send)
            return
        body = _Body(Request(scope), receive, self._forms, self._deliveries)
        try:
            await self._app(scope, body.receive, send)
        except ClientDisconnect:
            return  # nobody is left to answer
        finally:
            await body.release()


class _Body:
    """The body of one request. It takes a turn when its first piece is asked for, not before: whoever is
    refused by their headers costs nobody a turn."""

    def __init__(self, request: Request, receive: Receive, forms: Turns, deliveries: Turns) -> None:
        self._receive = receive
        self._limit = _limit_of(request)
        self._announced = _announced(request, self._limit)
        self._turns = deliveries if self._announced > FORM_LIMIT else forms
        self._address = address_of(request)
        self._has_turn = False
        self._size = 0
        self._ends_at: float | None = None
        self._done = self._announced == 0

    async def receive(self) -> Message:
        """See ASGI. Raises `BodyError`."""
        if self._done:  # what comes then tells that the client has gone, whenever it does
            return await self._receive()
        if self._announced > self._limit:
            raise self._too_long()
        await self._begin()
        message = await self._next()
        self._size += len(message.get("body", b""))
        if self._size > self._limit:
            raise self._too_long()
        self._done = message["type"] != "http.request" or not message.get("more_body", False)
        if self._done and self._announced <= FORM_LIMIT:  # a launch may take minutes from here
            await self.release()
        return message

    async def release(self) -> None:
        """End its turn, if it has one."""
        if self._has_turn:
            self._has_turn = False
            await self._turns.give_back(self._address)

    async def _begin(self) -> None:
        if self._ends_at is not None:
            return
        if self._announced > SMALL:
            await self._turns.take(self._address)
            self._has_turn = True
        self._ends_at = asyncio.get_running_loop().time() + WHOLE_SECONDS

    async def _next(self) -> Message:
        left = (self._ends_at or 0.0) - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(min(IDLE_SECONDS, left)):
                return await self._receive()
        except TimeoutError:
            raise BodyError(
                408,
                "The body of the request came too slowly.",
                f"Each piece may take {IDLE_SECONDS:g} seconds, the whole {WHOLE_SECONDS:g}.",
                reason="body-too-slow",
            ) from None

    def _too_long(self) -> BodyError:
        return BodyError(413, f"The body is longer than {self._limit} bytes.", reason="too-large")


def _limit_of(request: Request) -> int:
    """Bytes. Only what says that it is a delivery may be as long as one."""
    path = request.url.path
    if path.startswith(WEBHOOKS) or (path == RECEIVER and "x-github-event" in request.headers):
        return WEBHOOK_LIMIT
    return FORM_LIMIT


def _announced(request: Request, limit: int) -> int:
    """Bytes that the body will have at most, by its headers."""
    if "transfer-encoding" in request.headers:
        return limit
    length = request.headers.get("content-length", "0")
    return int(length) if length.isdecimal() else limit
