"""The rest of a request's body, when the app has answered before it came: passed on while the app reads it.

An app may answer an upload early and read on, as with a 202; or say no and read no more, as with a 413. What
it doesn't read any more is taken from the client all the same for a while: closing would make the kernel
throw away the answer that the client hasn't read yet.
"""

from __future__ import annotations

from typing import Protocol

from stager.front.http.body import Framing
from stager.front.http.head import MessageError
from stager.front.proxy.upstream import Upstream

IDLE_SECONDS = 5.0
"""How long a client that has its answer may send nothing before it is no longer listened to."""
MOST_SECONDS = 30.0
"""How long it is listened to at most, once nobody reads what it sends."""


class Sender(Protocol):
    """Who sends the body: what `downstream.Downstream` gives a rest to call."""

    def app_is_slow(self) -> None:
        """Read no more for a while."""

    def app_has_caught_up(self) -> None:
        """Read on."""

    def app_reads_no_more(self) -> None:
        """Nobody wants the rest any more."""


class Rest:
    """What is still to come of one body, and the connection to the app that it goes to.

    Args:
        framing: of the body; it knows how much has come.
        upstream: the connection, on which the response is complete.
    """

    __slots__ = ("_framing", "_sender", "_upstream")

    def __init__(self, framing: Framing, upstream: Upstream) -> None:
        self._framing = framing
        self._upstream = upstream
        self._sender: Sender | None = None

    def begin(self, sender: Sender) -> None:
        """Have this sender slowed down as the app needs it."""
        self._sender = sender
        self._upstream.trail(self)

    def feed(self, data: bytes) -> None:
        """Pass on more of it."""
        try:
            piece, _ = self._framing.feed(data)
        except MessageError:
            self.drop()
            return
        self._upstream.write(piece)
        if self._framing.done:
            self._upstream.transport.close()

    def drop(self) -> None:
        """Send no more of it."""
        self._upstream.discard()

    def hold(self) -> None:
        """The app reads too slowly."""
        if self._sender is not None:
            self._sender.app_is_slow()

    def release(self) -> None:
        """It has caught up."""
        if self._sender is not None:
            self._sender.app_has_caught_up()

    def gone(self) -> None:
        """The connection to the app has ended."""
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.app_reads_no_more()
