"""Client connections: read the requests of each one after the other, and respond to them."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Sequence

from stager.domain.route import Endpoint
from stager.front.http.head import MessageError, RequestHead
from stager.front.http.headers import Forwarding, request_id_of
from stager.front.http.request_parser import read_request
from stager.front.http.visitors import is_visit
from stager.front.proxy.client_connection import LINGER_SECONDS, ClientConnection, address_of
from stager.front.proxy.context import Context
from stager.front.proxy.error_pages import ErrorPage
from stager.front.proxy.exchange import Exchange
from stager.front.proxy.held import HeldRequest, peer_state
from stager.front.proxy.late_body import MAX_SECONDS, LateBody
from stager.front.proxy.local_responses import PlainResponse, refuse, respond
from stager.front.proxy.state import BACKPRESSURE, CONNECT_PENDING, HELD, PIPELINED, State

_PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"


class Downstream(ClientConnection):
    """One client connection.

    Args:
        context: state shared by all connections.
        scheme: `http` or `https`.
        ingress_port: the ingress port at which the client connected; 0 for the main listeners.
        received: what the previous front has read of the connection before it passed it on.
    """

    def __init__(
        self, context: Context, scheme: str, *, ingress_port: int = 0, received: bytes = b""
    ) -> None:
        super().__init__(context)
        self._scheme = scheme
        self._ingress_port = ingress_port
        self._address = ""
        self._buffer = received
        self._exchange: Exchange | None = None
        self._head: RequestHead | None = None
        self._held: HeldRequest | None = None
        self._half_closed = False

    @property
    def state(self) -> State:
        """The state of the connection, derived from its parts."""
        if self._exchange is not None:
            return self._exchange.state
        if self._lingering is not None or self.transport.is_closing():
            return State.CLOSING
        if self._held is not None:
            return State.HELD
        return State.READING if self._buffer else State.IDLE

    @property
    def is_secure(self) -> bool:
        """Whether it is a TLS connection."""
        return self._scheme == "https"

    @property
    def hsts(self) -> Sequence[bytes]:
        """The header lines for HTTP Strict Transport Security (RFC 6797); none over HTTP, where they have no
        effect."""
        return self._context.hsts if self._scheme == "https" else ()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The client has connected."""
        self.transport = transport
        self._address = address_of(transport.get_extra_info("peername"))
        connections = self._context.connections
        self._forwarding = Forwarding(self._address, self._scheme, trusted=connections.trusts(self._address))
        self.deadline = self._context.now + self._context.limits.head_seconds
        refusal = connections.add(self, self._address)
        if refusal:
            self._refuse(*refusal)
        elif self._context.pass_on is not None:
            # Later, because uvloop reads after this call even if reading is paused in it.
            asyncio.get_running_loop().call_soon(self.pass_on)
        elif self._buffer:
            # Later for the same reason: the request may have to be held.
            asyncio.get_running_loop().call_soon(self._serve_received)

    def data_received(self, data: bytes) -> None:
        """More of a request, or of the next one, arrived."""
        if self._lingering is not None:
            self._lingering.receive(data)
            return
        exchange = self._exchange
        try:
            if self._held is not None:
                self._buffer += data
                self.transport.pause_reading()
            elif exchange is None:
                if not self._buffer:
                    self.deadline = self._context.now + self._context.limits.head_seconds
                self._buffer = self._buffer + data if self._buffer else data
                if self._context.pass_on is None:
                    self._serve()
            elif exchange.is_request_complete() or self._buffer:
                self._buffer += data
                self.pause_reading(PIPELINED)
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
        if self._lingering is not None:
            self._lingering.client_lost()
        if self._held is not None:
            self._leave(self._held)

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
        elif self._buffer and self._lingering is None:
            self.resume_reading(PIPELINED)
            self._serve_safely()

    # Called by the exchange and the lingering close

    def restart_timeout(self) -> None:
        """Restart the timeout that applies to the state of the exchange."""
        exchange, limits = self._exchange, self._context.limits
        if exchange is None:
            timeout = limits.idle_seconds
        elif exchange.is_responding:
            timeout = limits.upstream_seconds
        elif not self._pauses and exchange.waits_for_client:
            timeout = limits.body_seconds
        else:
            timeout = exchange.timeout
        self.deadline = self._context.now + timeout

    def pause_reading(self, reason: int) -> None:
        """Stop reading from the client until `resume_reading` is called with the same reason."""
        super().pause_reading(reason)
        if self._exchange is not None:
            self.restart_timeout()

    def resume_reading(self, reason: int) -> None:
        """Remove one reason for the pause."""
        if self._pauses & reason:
            super().resume_reading(reason)
            self.restart_timeout()

    def take_pipelined(self) -> bytes:
        """Return and remove the data that the client sent after the request."""
        early, self._buffer = self._buffer, b""
        self.resume_reading(PIPELINED)
        return early

    def send_error_page(self, page: ErrorPage, request_id: bytes) -> int:
        """Respond with an error page and end the exchange; returns the size of the whole response."""
        head = self._head
        is_complete = self._exchange is None or self._exchange.is_request_complete()
        assert head is not None  # noqa: S101 (an exchange has a head)
        keep = head.keep_alive and is_complete and not self._context.draining
        data = self._with_hsts(respond(page, head, request_id, keep=keep))
        self.write(data)
        self.exchange_complete(keep=keep)
        return len(data)

    def exchange_complete(self, *, keep: bool, late_body: LateBody | None = None) -> None:
        """The response has been sent: continue with the next request, or close the connection."""
        exchange, self._exchange = self._exchange, None
        if not keep:
            has_body = exchange is not None and not exchange.is_request_complete()
            self._close(
                linger=bool(self._buffer) or has_body, max_seconds=MAX_SECONDS if has_body else LINGER_SECONDS
            )
            if late_body is not None:
                self._forward_late(late_body)
            return
        self.deadline = self._context.now + self._context.limits.idle_seconds
        if self._context.pass_on is not None:
            self.pass_on()
            return
        if self._pauses:
            self.resume_reading(BACKPRESSURE | CONNECT_PENDING | PIPELINED)
        if self._buffer:
            self._serve_safely()
        self._close_if_ended()

    def abort(self) -> None:
        """Reset the connection, so that the client doesn't take an incomplete response for a complete one."""
        self._exchange = None
        self.reset()

    # Called by the held requests, see `held.Held`

    def release(self) -> None:
        """Serve the held request, as if it had arrived only now."""
        held = self._stop_holding()
        if held is None:
            return
        self._serve_safely()
        if self._exchange is not None:
            self._exchange.started = held.started
        self._close_if_ended()

    def give_up(self, message: str) -> None:
        """Respond to the held request with the page of a host that wakes up.

        Args:
            message: what happened, a sentence; empty if nothing is wrong.
        """
        held = self._stop_holding()
        if held is None:
            return
        self._buffer = self._buffer[held.head_bytes :]
        self._respond_locally(self._context.waking(held.head.host, message), held.head, held.started)
        self._serve_safely()
        self._close_if_ended()

    # Called by the server

    def pass_on(self) -> None:
        """Pass the connection to the successor of this front, with what was received of the next request. No
        effect while a request is being answered. TLS connections can't be passed on: they are closed, or stay
        here while a request is held."""
        pass_on = self._context.pass_on
        if pass_on is None or self.state not in {State.IDLE, State.READING, State.HELD}:
            return
        if self._scheme == "https":
            if self._held is None:
                self._buffer = b""
                self.transport.close()
            return
        self._stop_holding()
        received, self._buffer = self._buffer, b""
        self.transport.pause_reading()
        pass_on(self.transport, self._ingress_port, received)

    def close_if_idle(self) -> None:
        """Close the connection if there is no request."""
        if self._exchange is None and not self._buffer:
            self.transport.close()

    def end(self) -> None:
        """Close the connection now, aborting the request if there is one."""
        if self._held is not None:
            self.give_up("Stager was stopped meanwhile.")
            self.transport.close()
        elif self._exchange is not None:
            self._exchange.abort()
        else:
            self.transport.abort()

    def sweep(self, now: float) -> None:
        """Close the connection if a timeout has expired. Called once a second."""
        if self._exchange is not None and self._head is not None:
            self._context.note_request(self._head)
        elif self._held is not None:
            self._sweep_held(self._held, now)
            return
        if now < self.deadline:
            return
        if self.has_sent():
            self.deadline = now + self._context.limits.body_seconds
        elif self._lingering is not None:
            self._lingering.time_out()
        elif self.transport.is_closing():
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
        while self._buffer and self._exchange is None and self._lingering is None and self._held is None:
            if self.blocked:
                # The client sends requests without reading the responses.
                self.pause_reading(PIPELINED)
                return
            if self._buffer.startswith(b"\r\n"):
                self._buffer = self._buffer[2:]
                continue
            request = read_request(self._buffer, limits)
            if request is None:
                return
            self._head, rest = request
            self._respond(self._head, rest)

    def _respond(self, head: RequestHead, rest: bytes) -> None:
        context, port = self._context, self._ingress_port
        if context.plain_http is not None and not port and self._scheme == "http":
            answer = context.plain_http.answer(head, secure=self._forwarding.facts(head).secure)
            if answer is not None:
                self._buffer = rest
                self._respond_locally(answer, head, time.perf_counter())
                return
        target: Endpoint | ErrorPage | PlainResponse
        target = context.lookup_at_ingress(port, head) if port else context.lookup(head.host)
        policy = context.table.policies.get(head.host)
        if (policy is not None or head.marked) and not context.table.is_home(head.host):
            is_secure = self._forwarding.facts(head).secure
            target = context.access_gate.check(head, policy, secure=is_secure) or target
        if isinstance(target, ErrorPage) and target.is_asleep and is_visit(head):
            if self._hold(head, rest):
                return
            target = context.waking(head.host, "Too many requests wait for it.")
        if not isinstance(target, Endpoint):
            self._buffer = rest
            self._respond_locally(target, head, time.perf_counter())
            return
        context.note_request(head)
        exchange = self._exchange = Exchange(context, self, head, self._forwarding, target)
        self._buffer = b""
        rest = exchange.begin(rest)
        self.restart_timeout()
        if rest:
            self._buffer = rest
            self.pause_reading(PIPELINED)

    def _respond_locally(
        self, response: ErrorPage | PlainResponse, head: RequestHead, started: float
    ) -> None:
        """Respond without an app. A body of the request isn't read, so the connection is then closed."""
        request_id = request_id_of(head) or self._context.next_id()
        keep = head.keep_alive and head.length in {None, 0} and not self._context.draining
        data = self._with_hsts(respond(response, head, request_id, keep=keep))
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
                linger=has_body or bool(self._buffer), max_seconds=MAX_SECONDS if has_body else LINGER_SECONDS
            )

    def _with_hsts(self, response: bytes) -> bytes:
        """Add the headers of `hsts` to a response of the front itself."""
        if not self.hsts:
            return response
        status_line, end, rest = response.partition(b"\r\n")
        return end.join([status_line, *self.hsts, rest])

    def _close_if_ended(self) -> None:
        """Close the connection of a client that sends no more, once it has all its responses."""
        if self._half_closed and not self.blocked and self.state in {State.IDLE, State.READING}:
            self._close(linger=False)

    def _serve_received(self) -> None:
        """Serve what the previous front had received."""
        if self._exchange is None and not self.transport.is_closing():
            self._serve_safely()

    def _hold(self, head: RequestHead, rest: bytes) -> bool:
        """Hold the request at the start of the buffer. Returns whether there was room."""
        size = len(self._buffer)
        self._held = self._context.held.add(self, head, size - len(rest), size)
        if self._held is None:
            return False
        self._context.note_request(head)
        self.pause_reading(HELD)
        return True

    def _stop_holding(self) -> HeldRequest | None:
        held, self._held = self._held, None
        if held is not None:
            self._context.held.remove(self, held)
            self.resume_reading(HELD)
        return held

    def _sweep_held(self, held: HeldRequest, now: float) -> None:
        """Drop the held request if the client has left, and respond if it waited for too long."""
        if self.transport.is_closing():
            return
        self._context.note_request(held.head)
        seconds = self._context.limits.wake_seconds
        state = peer_state(self.transport.get_extra_info("socket").fileno())
        if state & (select.POLLERR | select.POLLHUP) or (state and self._scheme == "https"):
            self.transport.abort()
        elif now >= held.deadline:
            self.give_up("" if held.is_navigation else f"It didn't wake up within {seconds:g} s.")
        elif state and held.head.minor and not held.is_probed:
            # The client has closed its sending side or both. Only in the latter case it resets the
            # connection, and the next sweep finds that.
            held.is_probed = True
            self.write(_PROCESSING)

    def _leave(self, held: HeldRequest) -> None:
        """The client has disconnected while its request was held."""
        self._stop_holding()
        head = held.head
        self._context.record(
            head,
            status=499,
            size=0,
            started=held.started,
            client=self._forwarding.facts(head).client,
            request_id=request_id_of(head) or self._context.next_id(),
            endpoint="",
            outcome="client-closed",
        )

    def _forward_late(self, late_body: LateBody) -> None:
        if self._lingering is not None:
            self._lingering.forward(late_body)
        else:
            late_body.drop()

    def _time_out(self, exchange: Exchange) -> None:
        if exchange.waits_for_client and not self._pauses and not exchange.is_responding:
            exchange.reject()
            self._exchange = None
            self._refuse(408, "The body took too long to arrive.")
        else:
            exchange.time_out()

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

    def _refuse(self, status: int, message: str, *, max_seconds: float = LINGER_SECONDS) -> None:
        self._buffer = b""
        self.write(refuse(status, message))
        self._close(linger=True, max_seconds=max_seconds)

    def _close(self, *, linger: bool, max_seconds: float = LINGER_SECONDS) -> None:
        """Close the connection, and discard what was received; see `ClientConnection.close`."""
        self._buffer = b""
        self.close(linger=linger, max_seconds=max_seconds)
