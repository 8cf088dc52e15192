"""One request and its response: what goes where, what may be tried again, and what if somebody hangs up."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from stager.domain.route import Endpoint
from stager.front.http.body import NOTHING, Framing, UntilClose, request_framing
from stager.front.http.head import RequestHead, ResponseHead
from stager.front.http.headers import (
    Forwarding,
    interim_head,
    request_head,
    request_id_of,
    response_head,
    stays_open,
    switching_head,
)
from stager.front.proxy.context import Context
from stager.front.proxy.error_pages import Sheet
from stager.front.proxy.late_body import Rest
from stager.front.proxy.upstream import Upstream

# A request that can't be sent twice goes only where a connection was alive a moment ago, or to a new one.
_SURELY_ALIVE = 0.5


class Client(Protocol):
    """Whose request it is: what `downstream.Downstream` gives an exchange to call."""

    blocked: bool

    def write(self, data: bytes) -> None:
        """Send."""

    def end_writing(self) -> None:
        """Send no more."""

    def touch(self) -> None:
        """Something moved: begin to count the patience anew."""

    def hold(self, reason: int) -> None:
        """Read no more while this reason lasts."""

    def release(self, reason: int) -> None:
        """The reason is gone."""

    def spill(self) -> bytes:
        """What the client has sent after the request."""

    def show(self, sheet: Sheet, request_id: bytes) -> int:
        """Answer with a page, and end the exchange; returns its size."""

    def finished(self, *, keep: bool, rest: Rest | None = None) -> None:
        """The response has been sent whole; `rest` is what the app may still read of the request."""

    def cut(self) -> None:
        """Close so that nobody takes what was sent for the whole."""


APP_IS_SLOW = 1
CONNECTING = 2


class Exchange:
    """Lives from the head of a request to the end of its response.

    Args:
        context: what all share.
        client: whose request it is.
        head: of the request.
        forwarding: what the app is told about the client.
        endpoint: where the table sent it when it came. It stays there, even if the table changes.
    """

    __slots__ = (
        "_address",
        "_awaits_continue",
        "_backend",
        "_client",
        "_connecting",
        "_context",
        "_half_closed",
        "_head",
        "_id",
        "_keep",
        "_over",
        "_request",
        "_sent",
        "_started",
        "_status",
        "_streams",
        "_upstream",
        "_wire",
        "method",
        "patience",
        "unwraps",
    )

    def __init__(
        self, context: Context, client: Client, head: RequestHead, forwarding: Forwarding, endpoint: Endpoint
    ) -> None:
        self.method = head.method
        self.unwraps = head.minor == 0
        limits = context.limits
        # Stager itself may take long, as for a launch that is waited for.
        self.patience = limits.upstream_seconds if endpoint is context.table.home else limits.response_seconds
        self._context = context
        self._client = client
        self._head = head
        facts = forwarding.facts(head)
        self._address = facts.client
        self._id = request_id_of(head) or context.next_id()
        self._wire = request_head(head, facts, self._id)
        self._request: Framing = NOTHING if head.length is None else request_framing(head)
        self._backend = context.backends.of(endpoint)
        self._backend.busy.add(self)
        self._upstream: Upstream | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._started = time.perf_counter()
        self._status = 0
        self._sent = 0
        self._keep = False
        self._awaits_continue = head.expects_continue
        self._half_closed = False
        self._streams = False
        self._over = False

    # The client's side

    def begin(self, rest: bytes) -> bytes:
        """Send the request on its way. What of `rest` isn't part of it comes back. Raises MessageError."""
        if rest and not self._request.done:
            first, rest = self._request.feed(rest)
            self._wire += first
        self._send()
        return rest

    def send_body(self, data: bytes) -> bytes:
        """Pass on more of the body; what comes after it comes back. Raises MessageError."""
        self._awaits_continue = False
        piece, rest = self._request.feed(data)
        if self._upstream is None:
            self._wire += piece
        else:
            self._upstream.write(piece)
        return rest

    def sent_all(self) -> bool:
        """Whether the whole request has come from the client."""
        return self._request.done

    @property
    def answered(self) -> bool:
        """Whether the client has got the beginning of a response."""
        return self._status != 0

    @property
    def tunnelling(self) -> bool:
        """Whether it has become a tunnel, such as a WebSocket."""
        return self._status == 101

    @property
    def waits_for_client(self) -> bool:
        """Whether it is the client's turn: its body is missing, and nobody keeps it from sending."""
        return not self._request.done and not self.tunnelling and not self._awaits_continue

    def client_ended(self) -> bool:
        """The client will send no more. Whether it may still want to read."""
        if self.tunnelling:
            return self._end_tunnel()
        # It may have closed only its side (RFC 9112, section 9.6), or gone for good. While it gets a stream
        # without an end, the second is assumed, so that the app hears of it.
        return self._request.done and not self._streams

    def _end_tunnel(self) -> bool:
        if self._half_closed or self._upstream is None:
            return False
        self._half_closed = True
        self._upstream.end_writing()
        return True

    def client_gone(self) -> None:
        """The client has hung up."""
        self._end("done" if self.tunnelling else "client-gone", status=self._status or 499)

    def expire(self) -> None:
        """Nothing has moved for too long."""
        if self._status:
            self._end("timeout")
            self._client.cut()
        else:
            self._fail("silent")

    def pause(self) -> None:
        """The client reads too slowly."""
        if self._upstream is not None:
            self._upstream.pause()

    def resume(self) -> None:
        """It has caught up."""
        if self._upstream is not None:
            self._upstream.resume()

    def cut(self) -> None:
        """Time is up: end this now, whatever is missing."""
        if not self._over:
            self._end("cut")
            self._client.cut()

    def refuse(self) -> None:
        """The client's body is malformed; what to tell it is the client protocol's business."""
        self._end("refused", status=self._status or 400)

    # The app's side

    def interim(self, head: ResponseHead) -> None:
        """Pass a 1xx on, except to a client that doesn't know them."""
        self._awaits_continue = False
        self._client.touch()
        if self._head.minor:
            self._client.write(interim_head(head))

    def switch(self, head: ResponseHead, rest: bytes) -> bool:
        """Become a tunnel. False if the client never asked for one."""
        upstream = self._upstream
        if not self._head.upgrade or not self._request.done or upstream is None:
            return False
        self._status = 101
        self._request = UntilClose()
        upstream.tunnel()
        self.receive(switching_head(head, self._context.more_of(head, self._head.host)) + rest)
        upstream.write(self._client.spill())
        return True

    def answer(self, head: ResponseHead, length: int, piece: bytes) -> None:
        """Pass on the head of the response, together with what there is of its body."""
        self._status = head.status
        self._client.touch()
        if self._context.silences:
            self._context.heard(self._head.host)
        self._streams = length < 0
        self._keep = stays_open(self._head, length) and self._request.done and not self._context.draining
        self._sent += len(piece)
        more = self._context.more_of(head, self._head.host)
        self._client.write(response_head(head, self._head.minor, keep=self._keep, more=more) + piece)

    def receive(self, piece: bytes) -> None:
        """Pass on more of the response."""
        self._client.touch()
        self._sent += len(piece)
        self._client.write(piece)

    def complete(self) -> None:
        """The response is whole."""
        upstream, self._upstream = self._upstream, None
        self._end("proxied")
        if self._request.done or upstream is None:
            self._client.finished(keep=self._keep)
        else:
            self._client.finished(keep=False, rest=Rest(self._request, upstream))

    def lost(self, *, reused: bool, heard: bool) -> None:
        """The app hung up on us."""
        self._upstream = None
        if self.tunnelling:
            self._end("done")
            self._client.finished(keep=False)
        elif self._status:
            self._end("broken-off")
            self._client.cut()
        elif heard:
            self._fail("garbled", "It hung up within the head of its answer.")
        elif not self._head.replayable:
            self._fail("unreachable")
        elif reused:
            # It had closed the connection before it saw the request: the usual race of kept connections.
            self._connect()
        else:
            self._unreachable()

    def ended(self) -> None:
        """The app's side of the tunnel has ended."""
        if self._half_closed:
            self._end("done")
            self._client.finished(keep=False)
        else:
            self._half_closed = True
            self._client.end_writing()

    def garbled(self, words: str) -> None:
        """What the app sent isn't HTTP."""
        self._upstream = None
        if self._status:
            self._end("garbled", why=words)
            self._client.cut()
        else:
            self._fail("garbled", words)

    def hold(self) -> None:
        """The app reads too slowly."""
        self._client.hold(APP_IS_SLOW)

    def release(self) -> None:
        """It has caught up."""
        self._client.release(APP_IS_SLOW)

    # Between the two

    def _send(self) -> None:
        upstream = self._backend.take(3600.0 if self._head.replayable else _SURELY_ALIVE)
        if upstream is None:
            self._connect()
        else:
            self._send_on(upstream)

    def _connect(self) -> None:
        if not self._request.done:
            self._client.hold(CONNECTING)
        self._connecting = asyncio.get_running_loop().create_task(self._connect_and_send())

    async def _connect_and_send(self) -> None:
        try:
            upstream = await self._backend.connect()
        except (
            OSError,
            ValueError,
            OverflowError,
        ):  # TimeoutError is the first, the others an address that is none
            self._unreachable()
            return
        if not upstream.usable:
            self._unreachable()
        elif self._over:
            upstream.discard()
        else:
            self._send_on(upstream)
            self._client.release(CONNECTING)

    def _send_on(self, upstream: Upstream) -> None:
        self._upstream = upstream
        upstream.begin(self, self._wire)
        if not self._head.replayable:
            self._wire = b""
        if self._client.blocked:
            self.pause()

    def _unreachable(self) -> None:
        """Nobody answers there. If the table leads elsewhere by now, nothing is lost yet."""
        target = self._context.lookup(self._head.host)
        if isinstance(target, Sheet):
            self._show(target, "page")
        elif target != self._backend.endpoint:
            self._backend.leave(self)
            self._backend = self._context.backends.of(target)
            self._backend.busy.add(self)
            self._send()
            self._client.release(CONNECTING)
        else:
            self._fail("unreachable")

    def _fail(self, state: str, why: str = "") -> None:
        self._show(self._context.unreachable(self._head.host, state, why), state, why)

    def _show(self, sheet: Sheet, outcome: str, why: str = "") -> None:
        self._sent = self._client.show(sheet, self._id)
        self._end(outcome, status=sheet.status, why=why)

    def _end(self, outcome: str, status: int = 0, why: str = "") -> None:
        """Let go of the app, and close the books on this request."""
        self._over = True
        if self._upstream is not None:
            self._upstream.discard()
            self._upstream = None
        elif self._connecting is not None and self._connecting is not asyncio.current_task():
            self._connecting.cancel()
        self._backend.leave(self)
        self._context.record(
            self._head,
            status=status or self._status,
            size=self._sent,
            started=self._started,
            client=self._address,
            request_id=self._id,
            endpoint=self._backend.name,
            outcome=outcome,
            why=why,
        )
