"""The rest of a request body that arrives after the response.

An app may respond to an upload early and read on, for example with a 202, or refuse it and stop reading, for
example with a 413. In both cases the client's data is still read for a while: if the connection were closed
with unread data, the kernel would reset it, and the client could lose the response.
"""

from __future__ import annotations

from typing import Protocol

from stager.front.http.body import Framing
from stager.front.http.head import MessageError
from stager.front.proxy.upstream import Upstream

IDLE_SECONDS = 5.0
"""How long a client that has its response may send nothing before the connection is closed."""
MAX_SECONDS = 30.0
"""How long data that the app doesn't read is read from the client and discarded."""


class Sender(Protocol):
    """The client that sends the body, implemented by `lingering_close.LingeringClose`."""

    def pause_late_body(self) -> None:
        """The app reads too slowly."""

    def resume_late_body(self) -> None:
        """The app has caught up."""

    def late_body_closed(self) -> None:
        """The app reads no more."""


class LateBody:
    """The rest of one request body, and the connection to the app on which it is forwarded.

    Args:
        framing: the framing of the body, fed up to here.
        upstream: the connection, on which the response is complete.
    """

    __slots__ = ("_framing", "_sender", "_upstream")

    def __init__(self, framing: Framing, upstream: Upstream) -> None:
        self._framing = framing
        self._upstream = upstream
        self._sender: Sender | None = None

    def begin(self, sender: Sender) -> None:
        """Apply the app's backpressure to this sender."""
        self._sender = sender
        self._upstream.send_late_body(self)

    def feed(self, data: bytes) -> None:
        """Forward more of the body."""
        try:
            piece, _ = self._framing.feed(data)
        except MessageError:
            self.drop()
            return
        self._upstream.write(piece)
        if self._framing.done:
            self._upstream.transport.close()

    def drop(self) -> None:
        """Close the connection to the app."""
        self._upstream.discard()

    # Called by the upstream, see `upstream.LateBodyHandler`

    def pause_sending(self) -> None:
        """The app reads too slowly."""
        if self._sender is not None:
            self._sender.pause_late_body()

    def resume_sending(self) -> None:
        """The app has caught up."""
        if self._sender is not None:
            self._sender.resume_late_body()

    def upstream_closed(self) -> None:
        """The connection to the app is closed."""
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.late_body_closed()
