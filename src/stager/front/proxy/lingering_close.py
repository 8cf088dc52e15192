"""The end of a client connection, after the last response.

If the connection were closed with unread data, the kernel would reset it, and the client could lose the
response. Therefore only the sending side is closed at first, and what the client still sends is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stager.front.proxy.context import Context
from stager.front.proxy.late_body import IDLE_SECONDS, MAX_SECONDS, LateBody
from stager.front.proxy.state import BACKPRESSURE

if TYPE_CHECKING:
    from stager.front.proxy.client_connection import ClientConnection


class LingeringClose:
    """Reads what the client still sends, until it closes its side: forwards it to the app, or discards it.

    Args:
        client: the connection, whose sending side is closed.
        max_seconds: the time limit for data that is discarded.
    """

    __slots__ = ("_client", "_context", "_end", "_late_body")

    def __init__(self, client: ClientConnection, context: Context, max_seconds: float) -> None:
        self._client = client
        self._context = context
        self._late_body: LateBody | None = None
        self._end = context.now + max_seconds
        client.deadline = context.now + min(max_seconds, IDLE_SECONDS)

    def forward(self, late_body: LateBody) -> None:
        """Forward the data to the app from now on, until it reads no more."""
        self._late_body = late_body
        self._client.deadline = self._context.now + self._context.limits.body_seconds
        late_body.begin(self)

    def receive(self, data: bytes) -> None:
        """Data arrived."""
        if self._late_body is not None:
            self._client.deadline = self._context.now + self._context.limits.body_seconds
            self._late_body.feed(data)
        else:
            self._client.deadline = min(self._context.now + IDLE_SECONDS, self._end)

    def time_out(self) -> None:
        """No data was transferred for too long."""
        if self._late_body is not None and self._client.is_paused:
            self._late_body.drop()
            self._client.deadline = self._context.now + IDLE_SECONDS
        else:
            self._client.transport.abort()

    def client_lost(self) -> None:
        """The client has disconnected."""
        if self._late_body is not None:
            self._late_body.drop()

    # Called by the late body, see `late_body.Sender`

    def pause_late_body(self) -> None:
        """The app reads too slowly, or no longer."""
        self._client.pause_reading(BACKPRESSURE)
        self._client.deadline = self._context.now + IDLE_SECONDS

    def resume_late_body(self) -> None:
        """The app has caught up."""
        self._client.resume_reading(BACKPRESSURE)
        self._client.deadline = self._context.now + self._context.limits.body_seconds

    def late_body_closed(self) -> None:
        """The app reads no more; data from the client is discarded from now on."""
        self._late_body = None
        self._client.resume_reading(BACKPRESSURE)
        self._end = self._context.now + MAX_SECONDS
        self._client.deadline = self._context.now + IDLE_SECONDS
