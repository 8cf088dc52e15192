"""Connections to apps: the protocol of one, and the pool of those to one endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from typing import Protocol

from stager.domain.route import Endpoint
from stager.front.body import Framing, UntilClose, response_framing, response_length
from stager.front.head import UNTIL_CLOSE, MessageError, ResponseHead, parse_response
from stager.front.limits import Limits

_MOST_IDLE = 256
_END = b"\r\n\r\n"


class Asker(Protocol):
    """Who waits for a response: what `exchange.Exchange` gives an upstream to call."""

    method: bytes
    unwraps: bool

    def interim(self, head: ResponseHead) -> None:
        """A 1xx came."""

    def switch(self, head: ResponseHead, rest: bytes) -> bool:
        """A 101 came, and `rest` after it. False if nobody asked for one."""

    def answer(self, head: ResponseHead, length: int, piece: bytes) -> None:
        """The head came, and the first piece of its body."""

    def receive(self, piece: bytes) -> None:
        """More of the body came."""

    def sent_all(self) -> bool:
        """Whether the app has got the whole request."""

    def complete(self) -> None:
        """The response is complete. The upstream has already gone back to its pool, or away."""

    def lost(self, *, reused: bool, heard: bool) -> None:
        """The app hung up before that."""

    def ended(self) -> None:
        """The app's side of a tunnel has ended."""

    def garbled(self) -> None:
        """What came isn't HTTP/1.1."""

    def hold(self) -> None:
        """The app reads too slowly: send less."""

    def release(self) -> None:
        """Go on sending."""

    def cut(self) -> None:
        """Time is up: end this now, whatever is missing."""


class Upstream(asyncio.Protocol):
    """One connection to an app, used by one exchange at a time."""

    transport: asyncio.Transport

    def __init__(self, backend: Backend) -> None:
        self.idle_since = 0.0
        self._backend = backend
        self._asker: Asker | None = None
        self._start = b""
        self._body: Framing | None = None
        self._keep_alive = True
        self._used = 0
        self._heard = False
        self._tunnel = False
        self._paused = False

    def begin(self, asker: Asker, wire: bytes) -> None:
        """Send the beginning of a request for `asker`, who gets whatever comes back."""
        self._asker = asker
        self._body = None
        self._heard = False
        self._used += 1
        self.transport.write(wire)

    def tunnel(self) -> None:
        """From now on everything that comes is passed on as it is."""
        self._body = UntilClose()
        self._tunnel = True

    def write(self, data: bytes) -> None:
        """Send more. What can't be sent is nobody's loss: `connection_lost` is about to say so."""
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def end_writing(self) -> None:
        """Send no more."""
        if not self.transport.is_closing():
            self.transport.write_eof()

    def pause(self) -> None:
        """Read no more for a while."""
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    def discard(self) -> None:
        """Close at once, and tell nobody."""
        self._asker = None
        self.transport.abort()

    @property
    def usable(self) -> bool:
        """Whether a request can be sent: nobody else waits, and neither side has closed it."""
        return self._asker is None and not self.transport.is_closing()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Part of asyncio's protocol, as is all below."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Read on in the response."""
        asker = self._asker
        if asker is None:
            # An app that speaks without being asked may not be believed the next time either.
            self.transport.abort()
            return
        self._heard = True
        try:
            if self._body is None:
                self._read_head(asker, data)
            else:
                piece, rest = self._body.feed(data)
                asker.receive(piece)
                if self._body.done:
                    self._finish(asker, rest)
        except MessageError:
            self.discard()
            asker.garbled()

    def eof_received(self) -> bool:
        """The app has said all that it will."""
        asker = self._asker
        if asker is not None and self._tunnel:
            asker.ended()
            return True
        if asker is not None and isinstance(self._body, UntilClose):
            self._asker = None
            asker.complete()
        # Not left to asyncio, which would first wait until the app has read what it will never read.
        self.transport.abort()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone, by whomever."""
        self._backend.forget(self)
        if error is not None:
            self._hear_last_words()
        asker, self._asker = self._asker, None
        if asker is not None:
            asker.lost(reused=self._used > 1, heard=self._heard)

    def pause_writing(self) -> None:
        """The app reads too slowly."""
        if self._asker is not None:
            self._asker.hold()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._asker is not None:
            self._asker.release()

    def _hear_last_words(self) -> None:
        """Read what the app said before it hung up on a body that it didn't want.

        It answers, closes, and our next piece of the body fails, which asyncio may notice before the answer.
        """
        sock = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            while self._asker is not None and (data := os.read(sock.fileno(), 1 << 16)):
                self.data_received(data)

    def _read_head(self, asker: Asker, data: bytes) -> None:
        data = self._start + data if self._start else data
        limits = self._backend.limits
        while True:
            end = data.find(_END)
            if end > limits.head_bytes or (end < 0 and len(data) > limits.head_bytes):
                raise MessageError(502, "The head is too long.")
            if end < 0:
                self._start = data
                return
            self._start = b""
            head = parse_response(data[:end], limits.headers)
            data = data[end + 4 :]
            if head.status >= 200:
                self._read_answer(asker, head, data)
                return
            if head.status == 101:
                if not asker.switch(head, data):
                    raise MessageError(502, "Nobody asked for another protocol.")
                return
            asker.interim(head)

    def _read_answer(self, asker: Asker, head: ResponseHead, data: bytes) -> None:
        length = response_length(asker.method, head)
        body = self._body = response_framing(length, unwrap=asker.unwraps)
        self._keep_alive = head.keep_alive and length != UNTIL_CLOSE
        piece, rest = (b"", data) if body.done else body.feed(data)
        asker.answer(head, length, piece)
        if body.done:
            self._finish(asker, rest)

    def _finish(self, asker: Asker, rest: bytes) -> None:
        self._asker = None
        if self._keep_alive and not rest and asker.sent_all():
            self._backend.put(self)
        else:
            self.transport.abort()
        asker.complete()


class Backend:
    """What the front knows of one endpoint: unused connections to it, and who waits for it."""

    def __init__(self, endpoint: Endpoint, limits: Limits) -> None:
        self.endpoint = endpoint
        self.limits = limits
        self.name = str(endpoint)
        self.busy: set[Asker] = set()
        self._idle: list[Upstream] = []
        self._draining = 0
        self._quiet: asyncio.Event = asyncio.Event()

    def take(self, youngest: float) -> Upstream | None:
        """The connection that was used last, if that is at most `youngest` seconds ago."""
        while self._idle:
            upstream = self._idle[-1]
            if upstream.usable:
                if time.monotonic() - upstream.idle_since > youngest:
                    return None
                return self._idle.pop()
            self._idle.pop()
        return None

    def put(self, upstream: Upstream) -> None:
        """Keep a connection for the next request."""
        if self._draining or len(self._idle) >= _MOST_IDLE:
            upstream.transport.close()
            return
        upstream.resume()
        upstream.idle_since = time.monotonic()
        self._idle.append(upstream)

    def forget(self, upstream: Upstream) -> None:
        """A connection is gone."""
        if upstream in self._idle:
            self._idle.remove(upstream)

    async def connect(self) -> Upstream:
        """A new connection. Raises OSError or TimeoutError."""
        loop, endpoint = asyncio.get_running_loop(), self.endpoint
        async with asyncio.timeout(self.limits.connect_seconds):
            if endpoint.path:
                _, upstream = await loop.create_unix_connection(lambda: Upstream(self), endpoint.path)
            else:
                _, upstream = await loop.create_connection(
                    lambda: Upstream(self), endpoint.address, endpoint.port
                )
        return upstream

    def leave(self, asker: Asker) -> None:
        """`asker` no longer waits."""
        self.busy.discard(asker)
        if not self.busy:
            self._quiet.set()

    async def drain(self, timeout: float) -> int:
        """Wait until nobody waits, then cut the rest; see `stager.ports.router.Router.drain`."""
        self._draining += 1
        try:
            self.close_idle(0.0)
            await self._wait_until_quiet(timeout)
            late = list(self.busy)
            for asker in late:
                asker.cut()
            self.close_idle(0.0)
        finally:
            self._draining -= 1
        return len(late)

    def close_idle(self, older_than: float) -> None:
        """Close the connections that nobody has used for so many seconds."""
        since = time.monotonic() - older_than
        old = [upstream for upstream in self._idle if upstream.idle_since <= since]
        self._idle = [upstream for upstream in self._idle if upstream.idle_since > since]
        for upstream in old:
            upstream.transport.close()

    @property
    def unused(self) -> bool:
        """Whether it may be forgotten."""
        return not self.busy and not self._idle and not self._draining

    async def _wait_until_quiet(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while self.busy and (left := deadline - time.monotonic()) > 0:
            self._quiet.clear()
            try:
                await asyncio.wait_for(self._quiet.wait(), left)
            except TimeoutError:
                return


class Backends:
    """All endpoints that have been asked lately."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_endpoint: dict[Endpoint, Backend] = {}

    def __iter__(self) -> Iterator[Backend]:
        return iter(list(self._by_endpoint.values()))

    def of(self, endpoint: Endpoint) -> Backend:
        """The backend of an endpoint, made when it isn't there."""
        backend = self._by_endpoint.get(endpoint)
        if backend is None:
            backend = self._by_endpoint[endpoint] = Backend(endpoint, self._limits)
        return backend

    def sweep(self) -> None:
        """Close what nobody has used for long, and forget what is empty."""
        for backend in self:
            backend.close_idle(self._limits.upstream_idle_seconds)
            if backend.unused:
                del self._by_endpoint[backend.endpoint]
