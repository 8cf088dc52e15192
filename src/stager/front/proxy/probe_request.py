"""A probe of an app: one request, whose response is read by the same parser as those to visitors.

So a response that passes the probe is one that the front also serves.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from stager.domain.route import Endpoint
from stager.front.http.head import ResponseHead
from stager.front.http.limits import Limits
from stager.front.proxy.backends import Backend
from stager.front.proxy.upstream import ResponseHandler

BODY_SECONDS = 0.5
"""How long the body is read. Most arrive with their heads; an event stream never ends."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a probe.

    Args:
        status: of the response; None if there is no valid one.
        refusal: a sentence on why the response is invalid; empty if there was none.
    """

    status: int | None = None
    refusal: str = ""


async def ask(endpoint: Endpoint, head: bytes, limits: Limits) -> Answer:
    """Send a GET request to an app and read the response, its body for `BODY_SECONDS` at most. A connection
    that is closed with unread data is reset, which applications log as an error.

    Args:
        endpoint: the app's address.
        head: the head of the request, with its empty line.
        limits: those of the front.

    Raises:
        OSError: connecting failed, or took longer than `limits.connect_seconds`.
    """
    probe = _Probe()
    upstream = await Backend(endpoint, limits).connect()
    if not upstream.is_usable:
        return Answer()
    try:
        upstream.begin(probe, head)
        answer = await probe.answer
        with suppress(TimeoutError):
            async with asyncio.timeout(BODY_SECONDS):
                await probe.is_complete.wait()
        return answer
    finally:
        upstream.discard()


class _Probe(ResponseHandler):
    """Waits for the response."""

    def __init__(self) -> None:
        self.method = b"GET"
        self.unwraps_chunks = False
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.is_complete = asyncio.Event()

    def interim_received(self, head: ResponseHead) -> None:
        """The final response follows."""

    def upgrade_received(self, head: ResponseHead, rest: bytes) -> bool:  # noqa: ARG002
        """No upgrade was requested."""
        return False

    def response_started(self, head: ResponseHead, length: int, piece: bytes) -> None:  # noqa: ARG002
        """The status is known."""
        self._end(Answer(head.status))

    def body_received(self, piece: bytes) -> None:
        """The body is ignored."""

    @property
    def is_responding(self) -> bool:
        """Whether the status is known."""
        return self.answer.done()

    def is_request_complete(self) -> bool:
        """The request has no body."""
        return True

    def response_complete(self) -> None:
        """The body is complete."""
        self.is_complete.set()

    def upstream_lost(self, *, reused: bool, has_responded: bool) -> None:  # noqa: ARG002
        """The app closed the connection."""
        refusal = "The application closed the connection within the head."
        self._end(Answer(refusal=refusal if has_responded else ""))
        self.is_complete.set()

    def upstream_eof(self) -> None:
        """There are no tunnels."""

    def response_malformed(self, why: str) -> None:
        """Visitors would get an error page."""
        self._end(Answer(refusal=why))

    def pause_sending(self) -> None:
        """There is nothing more to send."""

    def resume_sending(self) -> None:
        """There is nothing more to send."""

    def abort(self) -> None:
        """A probe isn't part of a drain."""

    def _end(self, answer: Answer) -> None:
        if answer.status is None:
            self.is_complete.set()
        if not self.answer.done():
            self.answer.set_result(answer)
