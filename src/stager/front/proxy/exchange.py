"""One request and its response: forwarding, retries, and what happens when either side disconnects."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

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
from stager.front.proxy.error_pages import ErrorPage
from stager.front.proxy.late_body import LateBody
from stager.front.proxy.state import BACKPRESSURE, CONNECT_PENDING, State
from stager.front.proxy.upstream import ResponseHandler, Upstream

if TYPE_CHECKING:
    from stager.front.proxy.downstream import Downstream

# Seconds. A request that can't be retried uses a pooled connection only if that was in use a moment ago.
_FRESH_SECONDS = 0.5
_POOLED_SECONDS = 3600.0


class Exchange(ResponseHandler):
    """One request and its response, from the head of the request to the end of the response.

    Args:
        context: state shared by all connections.
        client: the connection that sent the request.
        head: the head of the request.
        forwarding: the facts about the client that are forwarded to the app.
        endpoint: the target of the request when it arrived. Later changes of the table don't affect it.
    """

    __slots__ = (
        "_address",
        "_awaits_continue",
        "_backend",
        "_client",
        "_connecting",
        "_context",
        "_half_closed",
        "_has_open_end",
        "_head",
        "_id",
        "_keep",
        "_request",
        "_sent",
        "_status",
        "_upstream",
        "_wire",
        "started",
        "state",
        "timeout",
    )

    def __init__(
        self,
        context: Context,
        client: Downstream,
        head: RequestHead,
        forwarding: Forwarding,
        endpoint: Endpoint,
    ) -> None:
        self.method = head.method
        self.state = State.CONNECTING
        self.unwraps_chunks = head.minor == 0
        limits = context.limits
        # Stager itself may take longer, for example for a launch with `wait`.
        self.timeout = limits.upstream_seconds if endpoint is context.table.home else limits.response_seconds
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
        self.started = time.perf_counter()
        self._status = 0
        self._sent = 0
        self._keep = False
        self._awaits_continue = head.expects_continue
        self._half_closed = False
        self._has_open_end = False

    # Called by the client's side

    def begin(self, rest: bytes) -> bytes:
        """Forward the request.

        Args:
            rest: the data after the head.

        Returns:
            The part of `rest` that isn't part of the request.

        Raises:
            MessageError: the body is malformed.
        """
        if rest and not self._request.done:
            first, rest = self._request.feed(rest)
            self._wire += first
        self._send()
        return rest

    def send_body(self, data: bytes) -> bytes:
        """Forward more of the body; returns the data after its end. Raises MessageError."""
        self._awaits_continue = False
        piece, rest = self._request.feed(data)
        if self._upstream is None:
            self._wire += piece
        else:
            self._upstream.write(piece)
        return rest

    def is_request_complete(self) -> bool:
        """Whether the client has sent the whole request."""
        return self._request.done

    @property
    def is_responding(self) -> bool:
        """Whether the client has received the beginning of a response."""
        return self._status != 0

    @property
    def waits_for_client(self) -> bool:
        """Whether the client has to send more of the body before anything else can happen."""
        return not self._request.done and self.state is not State.TUNNELLING and not self._awaits_continue

    def client_eof(self) -> bool:
        """The client will send no more. Returns whether it may still read."""
        if self.state is State.TUNNELLING:
            return self._close_tunnel_to_app()
        # The client has closed one side (RFC 9112, section 9.6) or both. During a response without an end,
        # such as an event stream, both is assumed, so that the app is notified.
        return self._request.done and not self._has_open_end

    def _close_tunnel_to_app(self) -> bool:
        if self._half_closed or self._upstream is None:
            return False
        self._half_closed = True
        self._upstream.end_writing()
        return True

    def client_lost(self) -> None:
        """The client has disconnected."""
        self._end("tunnel-closed" if self.state is State.TUNNELLING else "client-closed", self._status or 499)

    def time_out(self) -> None:
        """No data was transferred for too long."""
        if self._status:
            self._end("timeout")
            self._client.abort()
        else:
            self._fail("no-response")

    def pause_upstream(self) -> None:
        """The client reads more slowly than the app sends."""
        if self._upstream is not None:
            self._upstream.pause_reading()

    def resume_upstream(self) -> None:
        """The client has caught up."""
        if self._upstream is not None:
            self._upstream.resume_reading()

    def abort(self) -> None:
        """End the exchange now, complete or not."""
        if self.state is not State.CLOSING:
            self._end("aborted")
            self._client.abort()

    def reject(self) -> None:
        """The body is malformed or too slow. The caller responds."""
        self._end("bad-request", self._status or 400)

    # Called by the app's side, see `upstream.ResponseHandler`

    def interim_received(self, head: ResponseHead) -> None:
        """Forward a 1xx response, except to HTTP/1.0 clients, which don't support them."""
        self._awaits_continue = False
        self._client.restart_timeout()
        if self._head.minor:
            self._client.write(interim_head(head))

    def upgrade_received(self, head: ResponseHead, rest: bytes) -> bool:
        """Become a tunnel. Returns False if the client hasn't requested one."""
        upstream = self._upstream
        if not self._head.upgrade or not self._request.done or upstream is None:
            return False
        self._status = 101
        self.state = State.TUNNELLING
        self._request = UntilClose()
        upstream.begin_tunnel()
        self.body_received(switching_head(head, self._context.extra_headers(head, self._head.host)) + rest)
        upstream.write(self._client.take_pipelined())
        return True

    def response_started(self, head: ResponseHead, length: int, piece: bytes) -> None:
        """Forward the head of the response and the first piece of its body."""
        self._status = head.status
        self._client.restart_timeout()
        if self._context.unanswered:
            self._context.note_response(self._head.host)
        self._has_open_end = length < 0
        self._keep = stays_open(self._head, length) and self._request.done and not self._context.draining
        self._sent += len(piece)
        extra = self._context.extra_headers(head, self._head.host)
        if self._client.hsts and not _has_hsts(head):
            extra = [*extra, *self._client.hsts]
        self._client.write(response_head(head, self._head.minor, keep=self._keep, extra=extra) + piece)

    def body_received(self, piece: bytes) -> None:
        """Forward more of the response."""
        self._client.restart_timeout()
        self._sent += len(piece)
        self._client.write(piece)

    def response_complete(self) -> None:
        """The response is complete."""
        upstream, self._upstream = self._upstream, None
        self._end("proxied")
        if self._request.done or upstream is None:
            self._client.exchange_complete(keep=self._keep)
        else:
            self._client.exchange_complete(keep=False, late_body=LateBody(self._request, upstream))

    def upstream_lost(self, *, reused: bool, has_responded: bool) -> None:
        """The app has closed the connection before the end of the response."""
        self._upstream = None
        if self.state is State.TUNNELLING:
            self._end("tunnel-closed")
            self._client.exchange_complete(keep=False)
        elif self._status:
            self._end("upstream-closed")
            self._client.abort()
        elif has_responded:
            self._fail("bad-response", "The application closed the connection within the head.")
        elif not self._head.replayable:
            self._fail("unreachable")
        elif reused:
            # The app closed an idle connection before it read the request: the usual race of keep-alive.
            self._connect()
        else:
            self._connect_failed()

    def upstream_eof(self) -> None:
        """The app has closed its sending side of the tunnel."""
        if self._half_closed:
            self._end("tunnel-closed")
            self._client.exchange_complete(keep=False)
        else:
            self._half_closed = True
            self._client.end_writing()

    def response_malformed(self, why: str) -> None:
        """The app's response isn't valid HTTP."""
        self._upstream = None
        if self._status:
            self._end("bad-response", why=why)
            self._client.abort()
        else:
            self._fail("bad-response", why)

    def pause_sending(self) -> None:
        """The app reads more slowly than the client sends."""
        self._client.pause_reading(BACKPRESSURE)

    def resume_sending(self) -> None:
        """The app has caught up."""
        self._client.resume_reading(BACKPRESSURE)

    # Connecting and ending

    def _send(self) -> None:
        upstream = self._backend.take(_POOLED_SECONDS if self._head.replayable else _FRESH_SECONDS)
        if upstream is None:
            self._connect()
        else:
            self._send_on(upstream)

    def _connect(self) -> None:
        self.state = State.CONNECTING
        if not self._request.done:
            self._client.pause_reading(CONNECT_PENDING)
        self._connecting = asyncio.get_running_loop().create_task(self._connect_and_send())

    async def _connect_and_send(self) -> None:
        try:
            upstream = await self._backend.connect()
        except (OSError, ValueError, OverflowError):
            # TimeoutError is an OSError; the others are raised for an invalid address.
            self._connect_failed()
            return
        if not upstream.is_usable:
            self._connect_failed()
        elif self.state is State.CLOSING:
            upstream.discard()
        else:
            self._send_on(upstream)
            self._client.resume_reading(CONNECT_PENDING)

    def _send_on(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self.state = State.PROXYING
        upstream.begin(self, self._wire)
        if not self._head.replayable:
            self._wire = b""
        if self._client.blocked:
            self.pause_upstream()

    def _connect_failed(self) -> None:
        """Retry with the host's current target if that has changed meanwhile; else respond with an error."""
        target = self._context.lookup(self._head.host)
        if isinstance(target, ErrorPage):
            page = self._context.waking(self._head.host, "") if target.is_asleep else target
            self._send_error_page(page, "page")
        elif target != self._backend.endpoint:
            self._backend.leave(self)
            self._backend = self._context.backends.of(target)
            self._backend.busy.add(self)
            self._send()
            self._client.resume_reading(CONNECT_PENDING)
        else:
            self._fail("unreachable")

    def _fail(self, state: str, why: str = "") -> None:
        self._send_error_page(self._context.upstream_failed(self._head.host, state, why), state, why)

    def _send_error_page(self, page: ErrorPage, outcome: str, why: str = "") -> None:
        self._sent = self._client.send_error_page(page, self._id)
        self._end(outcome, page.status, why)

    def _end(self, outcome: str, status: int = 0, why: str = "") -> None:
        """Release the connection to the app, and log the request."""
        self.state = State.CLOSING
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
            started=self.started,
            client=self._address,
            request_id=self._id,
            endpoint=self._backend.name,
            outcome=outcome,
            why=why,
        )


def _has_hsts(head: ResponseHead) -> bool:
    """Whether the app sets HTTP Strict Transport Security itself."""
    return any(line[:26].lower() == b"strict-transport-security:" for line in head.lines)
