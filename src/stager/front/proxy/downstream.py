"""Connections of clients: reads requests off them one after the other, and has each answered."""

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
from stager.front.proxy.access_gate import Notice
from stager.front.proxy.context import Context
from stager.front.proxy.error_pages import Sheet, refuse, respond
from stager.front.proxy.exchange import APP_IS_SLOW, CONNECTING, Exchange
from stager.front.proxy.late_body import IDLE_SECONDS, MOST_SECONDS, Rest

_END = b"\r\n\r\n"
_NEXT_REQUEST = 4
# How long we still listen to a client that we have told to stop, and from which no body is known to come.
# Closing at once would make the kernel throw away what it hasn't read yet of our answer.
_LINGER = 3.0
_RESET = struct.pack("ii", 1, 0)


class Downstream(asyncio.Protocol):
    """One connection of a client.

    Args:
        context: what all connections share.
        scheme: `http` or `https`.
        door: the port of the table by which it came in; 0 when it came in by no door.
    """

    transport: asyncio.Transport

    def __init__(self, context: Context, scheme: str, *, door: int = 0) -> None:
        self.blocked = False
        self.deadline = 0.0
        self._context = context
        self._scheme = scheme
        self._door = door
        self._address = ""
        self._buffer = b""
        self._exchange: Exchange | None = None
        self._head: RequestHead | None = None
        self._holds = 0
        self._lingering = False
        self._linger_end = 0.0
        self._rest: Rest | None = None
        self._half_closed = False
        self._backlog = 0

    # asyncio's side

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Part of asyncio's protocol, as are all in this part."""
        self.transport = transport
        self._address = _address(transport.get_extra_info("peername"))
        visitors = self._context.visitors
        self._forwarding = Forwarding(self._address, self._scheme, trusted=visitors.trusts(self._address))
        self.deadline = self._context.now + self._context.limits.head_seconds
        refusal = visitors.enter(self, self._address)
        if refusal:
            self._refuse(*refusal)

    def data_received(self, data: bytes) -> None:
        """More of a request, or of the next one."""
        if self._lingering:
            self._take_late(data)
            return
        exchange = self._exchange
        try:
            if exchange is None:
                if not self._buffer:
                    self.deadline = self._context.now + self._context.limits.head_seconds
                self._buffer = self._buffer + data if self._buffer else data
                self._serve()
            elif exchange.sent_all() or self._buffer:
                self._buffer += data
                self.hold(_NEXT_REQUEST)
            else:
                self._buffer = exchange.send_body(data)
                self.touch()
        except MessageError as wrong:
            self._blame(wrong)

    def eof_received(self) -> bool:
        """The client sends no more. It may still wait for the answers to what it has sent."""
        exchange = self._exchange
        stays = exchange is not None and exchange.client_ended() and self.transport.can_write_eof()
        self._half_closed = stays
        return stays

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """The client has gone, or we have closed."""
        self._context.visitors.leave(self, self._address)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_gone()
        if self._rest is not None:
            self._rest.drop()

    def pause_writing(self) -> None:
        """The client reads more slowly than the app writes."""
        self.blocked = True
        self.deadline = self._context.now + self._context.limits.body_seconds
        if self._exchange is not None:
            self._exchange.pause()

    def resume_writing(self) -> None:
        """It has caught up."""
        self.blocked = False
        self.touch()
        if self._exchange is not None:
            self._exchange.resume()
        elif self._buffer and not self._lingering:
            self.release(_NEXT_REQUEST)
            self._serve_safely()

    # The exchange's side

    def write(self, data: bytes) -> None:
        """Send. What can't be sent is nobody's loss: `connection_lost` is about to say so."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def end_writing(self) -> None:
        """Send no more; over TLS, which can't be half open, that is the end."""
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def touch(self) -> None:
        """Something moved: begin to count the patience anew."""
        exchange, limits = self._exchange, self._context.limits
        if exchange is None or exchange.answered:
            patience = limits.upstream_seconds
        elif not self._holds and exchange.waits_for_client:
            patience = limits.body_seconds
        else:
            patience = exchange.patience
        self.deadline = self._context.now + patience

    def hold(self, reason: int) -> None:
        """Read no more while this reason lasts."""
        if not self._holds and not self.transport.is_closing():
            self.transport.pause_reading()
        self._holds |= reason
        if self._exchange is not None:
            self.touch()

    def release(self, reason: int) -> None:
        """The reason is gone."""
        if self._holds & reason:
            self._holds &= ~reason
            self.touch()
            if not self._holds and not self.transport.is_closing():
                self.transport.resume_reading()

    def spill(self) -> bytes:
        """What the client has sent after the request."""
        early, self._buffer = self._buffer, b""
        self.release(_NEXT_REQUEST)
        return early

    def show(self, sheet: Sheet, request_id: bytes) -> int:
        """Answer with a page, and end the exchange; returns the size of the whole response."""
        head, whole = self._head, self._exchange is None or self._exchange.sent_all()
        assert head is not None  # noqa: S101 (only what asked is answered)
        keep = head.keep_alive and whole and not self._context.draining
        data = respond(sheet, head, request_id, keep=keep)
        self.write(data)
        self.finished(keep=keep)
        return len(data)

    def finished(self, *, keep: bool, rest: Rest | None = None) -> None:
        """The response has been sent whole: go on with the next request, or say good-bye."""
        exchange, self._exchange = self._exchange, None
        if not keep:
            uploads = exchange is not None and not exchange.sent_all()
            self._close(politely=bool(self._buffer) or uploads, patience=MOST_SECONDS if uploads else _LINGER)
            if rest is not None and self._lingering:
                self._rest = rest
                self.deadline = self._context.now + self._context.limits.body_seconds
                rest.begin(self)
            elif rest is not None:
                rest.drop()
            return
        self.deadline = self._context.now + self._context.limits.idle_seconds
        if self._holds:
            self.release(APP_IS_SLOW | CONNECTING | _NEXT_REQUEST)
        if self._buffer:
            self._serve_safely()
        if self._half_closed and self._exchange is None:
            self._close(politely=False)

    def cut(self) -> None:
        """Close with a reset, so that nobody takes what was sent for the whole."""
        self._exchange = None
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    # The side of what is left of a body

    def app_is_slow(self) -> None:
        """The app doesn't read on; if it is for good, it counts no more."""
        self.hold(APP_IS_SLOW)
        self.deadline = self._context.now + IDLE_SECONDS

    def app_has_caught_up(self) -> None:
        """It does."""
        self.release(APP_IS_SLOW)
        self.deadline = self._context.now + self._context.limits.body_seconds

    def app_reads_no_more(self) -> None:
        """From now on, what comes is thrown away."""
        self._rest = None
        self.release(APP_IS_SLOW)
        self._linger_end = self._context.now + MOST_SECONDS
        self.deadline = self._context.now + IDLE_SECONDS

    # The server's side

    @property
    def idle(self) -> bool:
        """Whether nothing is going on."""
        return self._exchange is None and not self._buffer

    def end(self) -> None:
        """Time is up: cut what is open."""
        if self._exchange is not None:
            self._exchange.cut()
        else:
            self.transport.abort()

    def sweep(self, now: float) -> None:
        """Called once a second: end what takes too long."""
        if now < self.deadline:
            return
        if self._drains():
            self.deadline = now + self._context.limits.body_seconds
        elif self._rest is not None and self._holds:
            self._rest.drop()
            self.deadline = now + IDLE_SECONDS
        elif self._lingering or self.transport.is_closing():
            self.transport.abort()
        elif self._exchange is not None:
            self._expire(self._exchange)
        elif self._buffer:
            self._refuse(408, "The request took too long to arrive.")
        else:
            self.transport.close()

    # Inside

    def _serve_safely(self) -> None:
        try:
            self._serve()
        except MessageError as wrong:
            self._blame(wrong)

    def _serve(self) -> None:
        """Begin with the next request, and with those after it as long as each is answered on the spot."""
        limits = self._context.limits
        while self._buffer and self._exchange is None and not self._lingering:
            if self.blocked:
                # It asks, and doesn't take the answers.
                self.hold(_NEXT_REQUEST)
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
            self._answer(head, self._buffer[end + 4 :])

    def _answer(self, head: RequestHead, rest: bytes) -> None:
        context = self._context
        target: Endpoint | Sheet | Notice
        target = context.lookup_door(self._door, head) if self._door else context.lookup(head.host)
        terms = context.table.policies.get(head.host)
        if (terms is not None or head.marked) and not context.table.is_home(head.host):
            target = context.gate.meet(head, terms, secure=self._forwarding.facts(head).secure) or target
        if not isinstance(target, Endpoint):
            self._buffer = rest
            self._show_page(target, head)
            return
        exchange = self._exchange = Exchange(context, self, head, self._forwarding, target)
        self._buffer = b""
        rest = exchange.begin(rest)
        self.touch()
        if rest:
            self._buffer = rest
            self.hold(_NEXT_REQUEST)

    def _show_page(self, sheet: Sheet | Notice, head: RequestHead) -> None:
        """Answer with a page. A body that comes with the request is left unread, so the connection ends."""
        started = time.perf_counter()
        request_id = request_id_of(head) or self._context.next_id()
        keep = head.keep_alive and head.length in {None, 0} and not self._context.draining
        data = respond(sheet, head, request_id, keep=keep)
        self.write(data)
        self._context.record(
            head,
            status=sheet.status,
            size=len(data),
            started=started,
            client=self._forwarding.facts(head).client,
            request_id=request_id,
            endpoint="",
            outcome="page" if isinstance(sheet, Sheet) else "private",
        )
        if keep:
            self.deadline = self._context.now + self._context.limits.idle_seconds
        else:
            uploads = head.length not in {None, 0}
            self._close(politely=uploads or bool(self._buffer), patience=MOST_SECONDS if uploads else _LINGER)

    def _expire(self, exchange: Exchange) -> None:
        if exchange.waits_for_client and not self._holds and not exchange.answered:
            exchange.refuse()
            self._exchange = None
            self._refuse(408, "The body took too long to arrive.")
        else:
            exchange.expire()

    def _drains(self) -> bool:
        """Whether something waits for a slow client, and it has taken a part since this was asked last."""
        before, self._backlog = self._backlog, self.transport.get_write_buffer_size()
        return self._backlog not in {0, before}

    def _blame(self, wrong: MessageError) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            self._context.outcomes["refused"] += 1
            self._refuse(wrong.status, wrong.words, patience=MOST_SECONDS)
        elif exchange.answered:
            exchange.refuse()
            self.cut()
        else:
            exchange.refuse()
            self._refuse(wrong.status, wrong.words, patience=MOST_SECONDS)

    def _refuse(self, status: int, words: str, *, patience: float = _LINGER) -> None:
        self._buffer = b""
        self.write(refuse(status, words))
        self._close(politely=True, patience=patience)

    def _close(self, *, politely: bool, patience: float = _LINGER) -> None:
        """Close; politely: once the client has, or after some patience with what it still sends."""
        self._buffer = b""
        if self.transport.is_closing():
            return
        now = self._context.now
        if not politely:
            self.deadline = now + self._context.limits.body_seconds
            self.transport.close()
            return
        self._lingering = True
        self._linger_end = now + patience
        self.deadline = now + min(patience, IDLE_SECONDS)
        self._holds = 0
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.transport.resume_reading()

    def _take_late(self, data: bytes) -> None:
        """More of a body whose request has been answered."""
        if self._rest is not None:
            self.deadline = self._context.now + self._context.limits.body_seconds
            self._rest.feed(data)
        else:
            self.deadline = min(self._context.now + IDLE_SECONDS, self._linger_end)


def _address(peer: object) -> str:
    """The address of a peer, as asyncio gives it; empty for a Unix socket or one that has gone already."""
    if not isinstance(peer, tuple) or not peer:
        return ""
    return canonical(str(peer[0]))
