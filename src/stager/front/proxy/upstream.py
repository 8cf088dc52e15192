"""Connections to apps: sends requests, and reads what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Protocol

from stager.front.http.body import Framing, UntilClose, response_framing, response_length
from stager.front.http.head import UNTIL_CLOSE, MessageError, ResponseHead, read_response
from stager.front.http.limits import Limits


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
        """The response is complete. The upstream has already gone back to its pool, or away; unless the app
        hasn't got the whole request."""

    def lost(self, *, reused: bool, heard: bool) -> None:
        """The app hung up before that."""

    def ended(self) -> None:
        """The app's side of a tunnel has ended."""

    def garbled(self, words: str) -> None:
        """What came isn't HTTP/1.1; the words say why."""

    def hold(self) -> None:
        """The app reads too slowly: send less."""

    def release(self) -> None:
        """Go on sending."""

    def cut(self) -> None:
        """Time is up: end this now, whatever is missing."""


class Trailer(Protocol):
    """Who sends more of a request after its response: what `lateness.Rest` gives an upstream to call."""

    def hold(self) -> None:
        """The app reads too slowly: send less."""

    def release(self) -> None:
        """Go on sending."""

    def gone(self) -> None:
        """The connection has ended."""


class Pool(Protocol):
    """Where an upstream belongs: what `backends.Backend` gives it to call."""

    limits: Limits

    def put(self, upstream: Upstream) -> None:
        """Keep it for the next request."""

    def forget(self, upstream: Upstream) -> None:
        """It is gone."""


class Upstream(asyncio.Protocol):
    """One connection to an app, used by one exchange at a time."""

    transport: asyncio.Transport

    def __init__(self, pool: Pool) -> None:
        self.idle_since = 0.0
        self._pool = pool
        self._asker: Asker | None = None
        self._trailer: Trailer | None = None
        self._full = False
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

    def trail(self, trailer: Trailer) -> None:
        """The response is complete, and `trailer` sends what is left of the request."""
        self._trailer = trailer
        if self._full:
            trailer.hold()

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
        except MessageError as wrong:
            self.discard()
            asker.garbled(wrong.words)

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
        self._pool.forget(self)
        if error is not None:
            self._hear_last_words()
        trailer, self._trailer = self._trailer, None
        if trailer is not None:
            trailer.gone()
        asker, self._asker = self._asker, None
        if asker is not None:
            asker.lost(reused=self._used > 1, heard=self._heard)

    def pause_writing(self) -> None:
        """The app reads too slowly."""
        self._full = True
        if self._asker is not None:
            self._asker.hold()
        elif self._trailer is not None:
            self._trailer.hold()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._full = False
        if self._asker is not None:
            self._asker.release()
        elif self._trailer is not None:
            self._trailer.release()

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
        limits = self._pool.limits
        while True:
            read = read_response(data, limits.head_bytes, limits.headers)
            if read is None:
                self._start = data
                return
            self._start = b""
            head, data = read
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
        sent_all = asker.sent_all()
        if self._keep_alive and not rest and sent_all:
            self._pool.put(self)
        elif rest or sent_all:
            self.transport.abort()
        # Otherwise the app may want to read on.
        asker.complete()
