"""Connections to apps: send requests and read the responses."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Protocol

from stager.front.http.body import Framing, UntilClose, response_framing, response_length
from stager.front.http.head import UNTIL_CLOSE, MessageError, ResponseHead
from stager.front.http.limits import Limits
from stager.front.http.response_parser import read_response


class ResponseHandler:
    """The receiver of a response, such as `exchange.Exchange`. A class and not a protocol, whose methods
    compiled code would look up by name.

    Attributes:
        method: of the request.
        unwraps_chunks: whether only the content of a chunked body is passed on.
    """

    __slots__ = ("method", "unwraps_chunks")

    method: bytes
    unwraps_chunks: bool

    def interim_received(self, head: ResponseHead) -> None:
        """A 1xx response arrived."""
        raise NotImplementedError

    def upgrade_received(self, head: ResponseHead, rest: bytes) -> bool:
        """A 101 response arrived, followed by `rest`. Returns False if no upgrade was requested."""
        raise NotImplementedError

    def response_started(self, head: ResponseHead, length: int, piece: bytes) -> None:
        """The head of the response arrived, with the first piece of its body."""
        raise NotImplementedError

    def body_received(self, piece: bytes) -> None:
        """More of the body arrived."""
        raise NotImplementedError

    def is_request_complete(self) -> bool:
        """Whether the app has received the whole request."""
        raise NotImplementedError

    @property
    def is_responding(self) -> bool:
        """Whether the response has begun."""
        raise NotImplementedError

    def response_complete(self) -> None:
        """The response is complete. The connection is back in its pool or closed, unless the app hasn't
        received the whole request."""
        raise NotImplementedError

    def upstream_lost(self, *, reused: bool, has_responded: bool) -> None:
        """The app closed the connection before the response was complete."""
        raise NotImplementedError

    def upstream_eof(self) -> None:
        """The app closed its sending side of a tunnel."""
        raise NotImplementedError

    def response_malformed(self, why: str) -> None:
        """The response isn't valid HTTP/1.1; `why` is a sentence."""
        raise NotImplementedError

    def pause_sending(self) -> None:
        """The app reads too slowly."""
        raise NotImplementedError

    def resume_sending(self) -> None:
        """The app has caught up."""
        raise NotImplementedError

    def abort(self) -> None:
        """End the exchange now, complete or not."""
        raise NotImplementedError


class LateBodyHandler(Protocol):
    """The sender of a request body after its response, such as `late_body.LateBody`."""

    def pause_sending(self) -> None:
        """The app reads too slowly."""

    def resume_sending(self) -> None:
        """The app has caught up."""

    def upstream_closed(self) -> None:
        """The connection is closed."""


class Pool:
    """The pool of a connection, implemented by `backends.Backend`."""

    limits: Limits

    def put(self, upstream: Upstream) -> None:
        """Keep the connection for the next request."""
        raise NotImplementedError

    def forget(self, upstream: Upstream) -> None:
        """Remove a closed connection."""
        raise NotImplementedError


class Upstream(asyncio.Protocol):
    """One connection to an app, used by one exchange at a time."""

    transport: asyncio.Transport

    def __init__(self, pool: Pool) -> None:
        self.idle_since = 0.0
        self._pool = pool
        self._handler: ResponseHandler | None = None
        self._late_body: LateBodyHandler | None = None
        self._is_write_paused = False
        self._start = b""
        self._body: Framing | None = None
        self._keep_alive = True
        self._requests = 0
        self._has_responded = False
        self._is_tunnel = False
        self._is_read_paused = False

    def begin(self, handler: ResponseHandler, wire: bytes) -> None:
        """Send the beginning of a request; `handler` receives the response."""
        self._handler = handler
        self._body = None
        self._has_responded = False
        self._requests += 1
        self.transport.write(wire)

    def begin_tunnel(self) -> None:
        """Forward everything from now on without reading it as HTTP."""
        self._body = UntilClose()
        self._is_tunnel = True

    def send_late_body(self, late_body: LateBodyHandler) -> None:
        """Have `late_body` send the rest of the request, after the response is complete."""
        self._late_body = late_body
        if self._is_write_paused:
            late_body.pause_sending()

    def write(self, data: bytes) -> None:
        """Send data. On a closed connection it has no effect; `connection_lost` follows."""
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def end_writing(self) -> None:
        """Close the sending side of the connection."""
        if not self.transport.is_closing():
            self.transport.write_eof()

    def pause_reading(self) -> None:
        """Stop reading from the app."""
        if not self._is_read_paused and not self.transport.is_closing():
            self._is_read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Continue reading from the app."""
        if self._is_read_paused and not self.transport.is_closing():
            self._is_read_paused = False
            self.transport.resume_reading()

    def discard(self) -> None:
        """Close the connection immediately, without calling the handler."""
        self._handler = None
        self.transport.abort()

    @property
    def is_usable(self) -> bool:
        """Whether a request can be sent: no other is open, and the connection isn't closed."""
        return self._handler is None and not self.transport.is_closing()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Read more of the response."""
        handler = self._handler
        if handler is None:
            # An app that sends data without a request can't be trusted with the next one either.
            self.transport.abort()
            return
        self._has_responded = True
        try:
            if self._body is None:
                self._read_head(handler, data)
            else:
                piece, rest = self._body.feed(data)
                handler.body_received(piece)
                if self._body.done:
                    self._finish(handler, rest)
        except MessageError as error:
            self.discard()
            handler.response_malformed(error.message)

    def eof_received(self) -> bool:
        """The app sends no more."""
        handler = self._handler
        if handler is not None and self._is_tunnel:
            handler.upstream_eof()
            return True
        if handler is not None and isinstance(self._body, UntilClose):
            self._handler = None
            handler.response_complete()
        # asyncio would first wait until the app has read everything that was sent, which it may never do.
        self.transport.abort()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is closed."""
        self._pool.forget(self)
        if error is not None:
            self._read_remaining()
        late_body, self._late_body = self._late_body, None
        if late_body is not None:
            late_body.upstream_closed()
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.upstream_lost(reused=self._requests > 1, has_responded=self._has_responded)

    def pause_writing(self) -> None:
        """The app reads too slowly."""
        self._is_write_paused = True
        if self._handler is not None:
            self._handler.pause_sending()
        elif self._late_body is not None:
            self._late_body.pause_sending()

    def resume_writing(self) -> None:
        """The app has caught up."""
        self._is_write_paused = False
        if self._handler is not None:
            self._handler.resume_sending()
        elif self._late_body is not None:
            self._late_body.resume_sending()

    def _read_remaining(self) -> None:
        """Read the response of an app that closed the connection without reading the whole body.

        The app responds and closes, and writing the next piece of the body fails, which asyncio may detect
        before it reads the response.
        """
        sock = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            while self._handler is not None and (data := os.read(sock.fileno(), 1 << 16)):
                self.data_received(data)

    def _read_head(self, handler: ResponseHandler, data: bytes) -> None:
        data = self._start + data if self._start else data
        limits = self._pool.limits
        while True:
            read = read_response(data, limits.head_bytes, limits.headers)
            if read is None:
                self._start = data
                return
            self._start = b""
            head, data = read
            if head.status >= 200:
                self._read_response(handler, head, data)
                return
            if head.status == 101:
                if not handler.upgrade_received(head, data):
                    raise MessageError(502, "It switches protocols, which the request didn't ask for.")
                return
            handler.interim_received(head)

    def _read_response(self, handler: ResponseHandler, head: ResponseHead, data: bytes) -> None:
        length = response_length(handler.method, head)
        body = self._body = response_framing(length, unwrap=handler.unwraps_chunks)
        self._keep_alive = head.keep_alive and length != UNTIL_CLOSE
        piece, rest = (b"", data) if body.done else body.feed(data)
        handler.response_started(head, length, piece)
        if body.done:
            self._finish(handler, rest)

    def _finish(self, handler: ResponseHandler, rest: bytes) -> None:
        self._handler = None
        is_request_complete = handler.is_request_complete()
        if self._keep_alive and not rest and is_request_complete:
            self._pool.put(self)
        elif rest or is_request_complete:
            self.transport.abort()
        # Otherwise the app may still read the rest of the request.
        handler.response_complete()
