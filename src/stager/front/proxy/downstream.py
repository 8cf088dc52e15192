"""Client connections: read the requests of each one after the other, and respond to them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time

from stager.domain.identity.client_addresses import canonical
from stager.domain.route import Endpoint
from stager.front.http.head import MessageError, RequestHead, check_incomplete, parse_request
from stager.front.http.headers import Forwarding, request_id_of
from stager.front.proxy.context import Context
from stager.front.proxy.error_pages import ErrorPage, PlainResponse, refuse, respond
from stager.front.proxy.exchange import BACKPRESSURE, CONNECT_PENDING, Exchange
from stager.front.proxy.late_body import IDLE_SECONDS, MAX_SECONDS, LateBody
from stager.front.proxy.state import State

_END = b"\r\n\r\n"
_PIPELINED = 4
"""A reason for a pause, besides those of exchanges: the next request arrived before the response was sent."""
_LINGER = 3.0
"""Seconds to read from a client after the last response, if no body is expected. If the connection were
closed with unread data, the kernel would reset it, and the client could lose the response."""
_RESET = struct.pack("ii", 1, 0)


class Downstream(asyncio.Protocol):
    """One client connection.

    Args:
        context: state shared by all connections.
        scheme: `http` or `https`.
        ingress_port: the ingress port at which the client connected; 0 for the main listeners.
        received: what the previous front has read of the connection before it passed it on.
    """

    transport: asyncio.Transport

    def __init__(
        self, context: Context, scheme: str, *, ingress_port: int = 0, received: bytes = b""
    ) -> None:
        self.blocked = False
        self.deadline = 0.0
        self._context = context
        self._scheme = scheme
        self._ingress_port = ingress_port
        self._address = ""
        self._buffer = received
        self._exchange: Exchange | None = None
        self._head: RequestHead | None = None
        self._pauses = 0
        self._is_lingering = False
        self._linger_end = 0.0
        self._late_body: LateBody | None = None
        self._half_closed = False
        self._unsent = 0

    @property
    def state(self) -> State:
        """The state of the connection, derived from its parts."""
        if self._exchange is not None:
            return self._exchange.state
        if self._is_lingering or self.transport.is_closing():
            return State.CLOSING
        return State.READING if self._buffer else State.IDLE

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The client has connected."""
        self.transport = transport
        self._address = _address(transport.get_extra_info("peername"))
        connections = self._context.connections
        self._forwarding = Forwarding(self._address, self._scheme, trusted=connections.trusts(self._address))
        self.deadline = self._context.now + self._context.limits.head_seconds
        refusal = connections.add(self, self._address)
        if refusal:
            self._refuse(*refusal)
        elif self._context.pass_on is not None:
            self.pass_on()
        elif self._buffer:
            received, self._buffer = self._buffer, b""
            self.data_received(received)

    def data_received(self, data: bytes) -> None:
        """More of a request, or of the next one, arrived."""
        if self._is_lingering:
            self._receive_late(data)
            return
        exchange = self._exchange
        try:
            if exchange is None:
                if not self._buffer:
                    self.deadline = self._context.now + self._context.limits.head_seconds
                self._buffer = self._buffer + data if self._buffer else data
                self._serve()
            elif exchange.is_request_complete() or self._buffer:
                self._buffer += data
                self.pause_reading(_PIPELINED)
            else:
                self._buffer = exchange.send_body(data)
                self.restart_timeout()
        except MessageError as error:
            self._reject(error)

    def eof_received(self) -> bool:
        """The client sends no more. It may still read the responses to what it has sent."""
        exchange = self._exchange
        stays = exchange is not None and exchange.client_eof() and self.transport.can_write_eof()
        self._half_closed = stays
        return stays

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """The connection is closed, by either side."""
        self._context.connections.remove(self, self._address)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_lost()
        if self._late_body is not None:
            self._late_body.drop()

    def pause_writing(self) -> None:
        """The client reads more slowly than the app sends."""
        self.blocked = True
        self.deadline = self._context.now + self._context.limits.body_seconds
        if self._exchange is not None:
            self._exchange.pause_upstream()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.blocked = False
        self.restart_timeout()
        if self._exchange is not None:
            self._exchange.resume_upstream()
        elif self._buffer and not self._is_lingering:
            self.resume_reading(_PIPELINED)
            self._serve_safely()

    # Called by the exchange, see `exchange.Client`

    def write(self, data: bytes) -> None:
        """Send data. On a closed connection it has no effect; `connection_lost` follows."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def end_writing(self) -> None:
        """Close the sending side of the connection; with TLS, which has no half-closed state, both sides."""
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def restart_timeout(self) -> None:
        """Restart the timeout that applies to the state of the exchange."""
        exchange, limits = self._exchange, self._context.limits
        if exchange is None or exchange.is_responding:
            timeout = limits.upstream_seconds
        elif not self._pauses and exchange.waits_for_client:
            timeout = limits.body_seconds
        else:
            timeout = exchange.timeout
        self.deadline = self._context.now + timeout

    def pause_reading(self, reason: int) -> None:
        """Stop reading from the client until `resume_reading` is called with the same reason."""
        if not self._pauses and not self.transport.is_closing():
            self.transport.pause_reading()
        self._pauses |= reason
        if self._exchange is not None:
            self.restart_timeout()

    def resume_reading(self, reason: int) -> None:
        """Remove one reason for the pause."""
        if self._pauses & reason:
            self._pauses &= ~reason
            self.restart_timeout()
            if not self._pauses and not self.transport.is_closing():
                self.transport.resume_reading()

    def take_pipelined(self) -> bytes:
        """Return and remove the data that the client sent after the request."""
        early, self._buffer = self._buffer, b""
        self.resume_reading(_PIPELINED)
        return early

    def send_error_page(self, page: ErrorPage, request_id: bytes) -> int:
        """Respond with an error page and end the exchange; returns the size of the whole response."""
        head = self._head
        is_complete = self._exchange is None or self._exchange.is_request_complete()
        assert head is not None  # noqa: S101 (an exchange has a head)
        keep = head.keep_alive and is_complete and not self._context.draining
        data = respond(page, head, request_id, keep=keep)
        self.write(data)
        self.exchange_complete(keep=keep)
        return len(data)

    def exchange_complete(self, *, keep: bool, late_body: LateBody | None = None) -> None:
        """The response has been sent: continue with the next request, or close the connection."""
        exchange, self._exchange = self._exchange, None
        if not keep:
            has_body = exchange is not None and not exchange.is_request_complete()
            self._close(
                linger=bool(self._buffer) or has_body, max_seconds=MAX_SECONDS if has_body else _LINGER
            )
            self._begin_late_body(late_body)
            return
        self.deadline = self._context.now + self._context.limits.idle_seconds
        if self._context.pass_on is not None:
            self.pass_on()
            return
        if self._pauses:
            self.resume_reading(BACKPRESSURE | CONNECT_PENDING | _PIPELINED)
        if self._buffer:
            self._serve_safely()
        if self._half_closed and self._exchange is None:
            self._close(linger=False)

    def abort(self) -> None:
        """Reset the connection, so that the client doesn't take an incomplete response for a complete one."""
        self._exchange = None
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    # Called by the late body, see `late_body.Sender`

    def pause_late_body(self) -> None:
        """The app reads too slowly, or no longer."""
        self.pause_reading(BACKPRESSURE)
        self.deadline = self._context.now + IDLE_SECONDS

    def resume_late_body(self) -> None:
        """The app has caught up."""
        self.resume_reading(BACKPRESSURE)
        self.deadline = self._context.now + self._context.limits.body_seconds

    def late_body_closed(self) -> None:
        """The app reads no more; data from the client is discarded from now on."""
        self._late_body = None
        self.resume_reading(BACKPRESSURE)
        self._linger_end = self._context.now + MAX_SECONDS
        self.deadline = self._context.now + IDLE_SECONDS

    # Called by the server

    def pass_on(self) -> None:
        """Pass the connection to the successor of this front, with what was received of the next request. No
        effect while a request is being answered. TLS connections can't be passed on; they are closed."""
        pass_on = self._context.pass_on
        if pass_on is None or self.state not in {State.IDLE, State.READING}:
            return
        received, self._buffer = self._buffer, b""
        if self._scheme == "https":
            self.transport.close()
            return
        self.transport.pause_reading()
        pass_on(self.transport, self._ingress_port, received)

    def close_if_idle(self) -> None:
        """Close the connection if there is no request."""
        if self._exchange is None and not self._buffer:
            self.transport.close()

    def end(self) -> None:
        """Close the connection now, aborting the request if there is one."""
        if self._exchange is not None:
            self._exchange.abort()
        else:
            self.transport.abort()

    def sweep(self, now: float) -> None:
        """Close the connection if a timeout has expired. Called once a second."""
        if now < self.deadline:
            return
        if self._has_sent():
            self.deadline = now + self._context.limits.body_seconds
        elif self._late_body is not None and self._pauses:
            self._late_body.drop()
            self.deadline = now + IDLE_SECONDS
        elif self._is_lingering or self.transport.is_closing():
            self.transport.abort()
        elif self._exchange is not None:
            self._time_out(self._exchange)
        elif self._buffer:
            self._refuse(408, "The request took too long to arrive.")
        else:
            self.transport.close()

    # Internal

    def _serve_safely(self) -> None:
        try:
            self._serve()
        except MessageError as error:
            self._reject(error)

    def _serve(self) -> None:
        """Begin the next request, and those after it while each is answered without an app."""
        limits = self._context.limits
        while self._buffer and self._exchange is None and not self._is_lingering:
            if self.blocked:
                # The client sends requests without reading the responses.
                self.pause_reading(_PIPELINED)
                return
            if self._buffer.startswith(b"\r\n"):
                self._buffer = self._buffer[2:]
                continue
            end = self._buffer.find(_END)
            if end < 0 or end > limits.head_bytes:
                check_incomplete(self._buffer, limits.head_bytes, limits.line_bytes)
                return
            head = self._head = parse_request(self._buffer[:end], limits.headers)
            if end > limits.line_bytes and self._buffer.find(b"\r\n", 0, limits.line_bytes + 2) < 0:
                raise MessageError(414, "The request line is too long.")
            self._respond(head, self._buffer[end + 4 :])

    def _respond(self, head: RequestHead, rest: bytes) -> None:
        context, port = self._context, self._ingress_port
        target: Endpoint | ErrorPage | PlainResponse
        target = context.lookup_at_ingress(port, head) if port else context.lookup(head.host)
        policy = context.table.policies.get(head.host)
        if (policy is not None or head.marked) and not context.table.is_home(head.host):
            is_secure = self._forwarding.facts(head).secure
            target = context.access_gate.check(head, policy, secure=is_secure) or target
        if not isinstance(target, Endpoint):
            self._buffer = rest
            self._respond_locally(target, head)
            return
        exchange = self._exchange = Exchange(context, self, head, self._forwarding, target)
        self._buffer = b""
        rest = exchange.begin(rest)
        self.restart_timeout()
        if rest:
            self._buffer = rest
            self.pause_reading(_PIPELINED)

    def _respond_locally(self, response: ErrorPage | PlainResponse, head: RequestHead) -> None:
        """Respond without an app. A body of the request isn't read, so the connection is then closed."""
        started = time.perf_counter()
        request_id = request_id_of(head) or self._context.next_id()
        keep = head.keep_alive and head.length in {None, 0} and not self._context.draining
        data = respond(response, head, request_id, keep=keep)
        self.write(data)
        self._context.record(
            head,
            status=response.status,
            size=len(data),
            started=started,
            client=self._forwarding.facts(head).client,
            request_id=request_id,
            endpoint="",
            outcome="page" if isinstance(response, ErrorPage) else "private",
        )
        if keep:
            self.deadline = self._context.now + self._context.limits.idle_seconds
        else:
            has_body = head.length not in {None, 0}
            self._close(
                linger=has_body or bool(self._buffer), max_seconds=MAX_SECONDS if has_body else _LINGER
            )

    def _begin_late_body(self, late_body: LateBody | None) -> None:
        if late_body is not None and self._is_lingering:
            self._late_body = late_body
            self.deadline = self._context.now + self._context.limits.body_seconds
            late_body.begin(self)
        elif late_body is not None:
            late_body.drop()

    def _time_out(self, exchange: Exchange) -> None:
        if exchange.waits_for_client and not self._pauses and not exchange.is_responding:
            exchange.reject()
            self._exchange = None
            self._refuse(408, "The body took too long to arrive.")
        else:
            exchange.time_out()

    def _has_sent(self) -> bool:
        """Whether a slow client has read a part of the unsent data since the last call."""
        before, self._unsent = self._unsent, self.transport.get_write_buffer_size()
        return self._unsent not in {0, before}

    def _reject(self, error: MessageError) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            self._context.outcomes["bad-request"] += 1
            self._refuse(error.status, error.message, max_seconds=MAX_SECONDS)
        elif exchange.is_responding:
            exchange.reject()
            self.abort()
        else:
            exchange.reject()
            self._refuse(error.status, error.message, max_seconds=MAX_SECONDS)

    def _refuse(self, status: int, message: str, *, max_seconds: float = _LINGER) -> None:
        self._buffer = b""
        self.write(refuse(status, message))
        self._close(linger=True, max_seconds=max_seconds)

    def _close(self, *, linger: bool, max_seconds: float = _LINGER) -> None:
        """Close the connection.

        Args:
            linger: close only the sending side, and read and discard what the client sends until it closes.
            max_seconds: the maximum duration of that.
        """
        self._buffer = b""
        if self.transport.is_closing():
            return
        now = self._context.now
        if not linger:
            self.deadline = now + self._context.limits.body_seconds
            self.transport.close()
            return
        self._is_lingering = True
        self._linger_end = now + max_seconds
        self.deadline = now + min(max_seconds, IDLE_SECONDS)
        self._pauses = 0
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.transport.resume_reading()

    def _receive_late(self, data: bytes) -> None:
        """Forward or discard data that arrives after the response."""
        if self._late_body is not None:
            self.deadline = self._context.now + self._context.limits.body_seconds
            self._late_body.feed(data)
        else:
            self.deadline = min(self._context.now + IDLE_SECONDS, self._linger_end)


def _address(peer: object) -> str:
    """The address of a peer, as asyncio gives it; empty for a Unix socket or a closed connection."""
    if not isinstance(peer, tuple) or not peer:
        return ""
    return canonical(str(peer[0]))
