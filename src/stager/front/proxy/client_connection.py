"""The transport of a client connection: backpressure, timeouts, and how it is closed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from stager.domain.identity.client_addresses import canonical
from stager.front.proxy.context import Context
from stager.front.proxy.lingering_close import LingeringClose

LINGER_SECONDS = 3.0
"""How long to read from a client after the last response, if no body is expected."""
_RESET = struct.pack("ii", 1, 0)


class ClientConnection(asyncio.Protocol):
    """The part of `Downstream` that is independent of requests.

    Attributes:
        blocked: whether the client reads more slowly than the app sends.
        deadline: when the timeout expires, by the clock of the context.
    """

    transport: asyncio.Transport

    def __init__(self, context: Context) -> None:
        self.blocked = False
        self.deadline = 0.0
        self._context = context
        self._pauses = 0
        self._lingering: LingeringClose | None = None
        self._unsent = 0

    def write(self, data: bytes) -> None:
        """Send data. On a closed connection it has no effect; `connection_lost` follows."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def end_writing(self) -> None:
        """Close the sending side of the connection; with TLS, which has no half-closed state, both sides."""
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    @property
    def is_paused(self) -> bool:
        """Whether there is a reason not to read from the client."""
        return self._pauses != 0

    def pause_reading(self, reason: int) -> None:
        """Stop reading from the client until `resume_reading` is called with the same reason."""
        if not self._pauses and not self.transport.is_closing():
            self.transport.pause_reading()
        self._pauses |= reason

    def resume_reading(self, reason: int) -> None:
        """Remove one reason for the pause."""
        if self._pauses & reason:
            self._pauses &= ~reason
            if not self._pauses and not self.transport.is_closing():
                self.transport.resume_reading()

    def close(self, *, linger: bool, max_seconds: float = LINGER_SECONDS) -> None:
        """Close the connection.

        Args:
            linger: close only the sending side, and read and discard what the client sends until it closes.
            max_seconds: the maximum duration of that.
        """
        if self.transport.is_closing():
            return
        if not linger:
            self.deadline = self._context.now + self._context.limits.body_seconds
            self.transport.close()
            return
        self._lingering = LingeringClose(self, self._context, max_seconds)
        self._pauses = 0
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.transport.resume_reading()

    def reset(self) -> None:
        """Reset the connection, so that the client doesn't take an incomplete response for a complete one."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def has_sent(self) -> bool:
        """Whether a slow client has read a part of the unsent data since the last call."""
        before, self._unsent = self._unsent, self.transport.get_write_buffer_size()
        return self._unsent not in {0, before}


def address_of(peer: object) -> str:
    """The address of a peer, as asyncio gives it; empty for a Unix socket or a closed connection."""
    if not isinstance(peer, tuple) or not peer:
        return ""
    return canonical(str(peer[0]))
