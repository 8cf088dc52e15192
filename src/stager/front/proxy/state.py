"""The states of a client connection."""

from __future__ import annotations

import enum


class State(enum.Enum):
    """What a client connection is doing. An exchange is in one of the last four states."""

    IDLE = "idle"
    """Between requests."""
    READING = "reading"
    """A part of the head of a request has arrived."""
    CONNECTING = "connecting"
    """There is a request, but no connection to the app yet."""
    PROXYING = "proxying"
    """The app has at least the head of the request; its response is awaited or forwarded."""
    TUNNELLING = "tunnelling"
    """The app has switched protocols, for example to WebSocket."""
    CLOSING = "closing"
    """The last response has been sent, or the exchange was aborted."""
