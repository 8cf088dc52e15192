"""One request of Stager's own to an app, whose answer is read by the same parser as those to visitors.

So what is accepted here is served, and what isn't would be refused there.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from stager.domain.route import Endpoint
from stager.front.http.head import ResponseHead
from stager.front.http.limits import Limits
from stager.front.proxy.backends import Backend

BODY_SECONDS = 0.5
"""How long a body is read. Most are there with their heads; a stream of events never ends."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Args:
        status: of the response; None when there is none that visitors would get.
        refusal: why visitors wouldn't get it, a sentence; empty when nothing came.
    """

    status: int | None = None
    refusal: str = ""


async def ask(endpoint: Endpoint, head: bytes, limits: Limits) -> Answer:
    """Send a GET request to an app, and read its answer, its body for a moment only. A connection that is
    closed with data unread is reset, which applications log as an error.

    Args:
        endpoint: of the app.
        head: the request, with its empty line.
        limits: those of the front.

    Raises:
        OSError: it can't be connected to, or not within `limits.connect_seconds`.
    """
    question = _Question()
    upstream = await Backend(endpoint, limits).connect()
    if not upstream.usable:
        return Answer()
    try:
        upstream.begin(question, head)
        answer = await question.answered
        with suppress(TimeoutError):
            async with asyncio.timeout(BODY_SECONDS):
                await question.over.wait()
        return answer
    finally:
        upstream.discard()


class _Question:
    """Waits for the response as an exchange does; see `upstream.Asker`."""

    method = b"GET"
    unwraps = False

    def __init__(self) -> None:
        self.answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()

    def interim(self, head: ResponseHead) -> None:
        """The answer is still to come."""

    def switch(self, head: ResponseHead, rest: bytes) -> bool:  # noqa: ARG002
        """It wasn't asked for."""
        return False

    def answer(self, head: ResponseHead, length: int, piece: bytes) -> None:  # noqa: ARG002
        """That is what was asked."""
        self._end(Answer(head.status))

    def receive(self, piece: bytes) -> None:
        """The body doesn't matter."""

    def sent_all(self) -> bool:
        """There is no body to send."""
        return True

    def complete(self) -> None:
        """It was answered before; the body has come to its end."""
        self.over.set()

    def lost(self, *, reused: bool, heard: bool) -> None:  # noqa: ARG002
        """The app hung up."""
        self._end(Answer(refusal="It hung up within the head of its answer." if heard else ""))
        self.over.set()

    def ended(self) -> None:
        """There are no tunnels."""

    def garbled(self, words: str) -> None:
        """Visitors would get a page that says so."""
        self._end(Answer(refusal=words))

    def hold(self) -> None:
        """There is no more to send."""

    def release(self) -> None:
        """There is no more to send."""

    def cut(self) -> None:
        """Nobody drains for this."""

    def _end(self, answer: Answer) -> None:
        if answer.status is None:
            self.over.set()
        if not self.answered.done():
            self.answered.set_result(answer)
