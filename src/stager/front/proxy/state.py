"""The states of a client connection, and the reasons not to read from it."""

from __future__ import annotations

import enum
from typing import Final


class State(enum.Enum):
    """What a client connection is doing. An exchange is in one of the last four states."""

    IDLE = "idle"
    """Between requests."""
    READING = "reading"
    """A part of the head of a request has arrived."""
    HELD = "held"
    """A request waits until its sleeping host is awake."""
    CONNECTING = "connecting"
    """There is a request, but no connection to the app yet."""
    PROXYING = "proxying"
    """The app has at least the head of the request; its response is awaited or forwarded."""
    TUNNELLING = "tunnelling"
    """The app has switched protocols, for example to WebSocket."""
    CLOSING = "closing"
    """The last response has been sent, or the exchange was aborted."""


# The reasons not to read from a client, as bits.
BACKPRESSURE: Final = 1
"""The app reads more slowly than the client sends."""
CONNECT_PENDING: Final = 2
"""The connection to the app isn't open yet."""
PIPELINED: Final = 4
"""The next request arrived before the response was sent."""
HELD: Final = 8
"""The request is held."""
