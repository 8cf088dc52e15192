"""Parses Docker's log streams with timestamps into messages: a message is a line or a piece of a long one."""

from __future__ import annotations

import struct
from collections.abc import Iterator

HEADER = 8
"""Bytes before each message of a container without a terminal (Docker API, "Attach to a container")."""
TIME = 30
"""Characters of a time: RFC 3339 with nanoseconds, UTC."""


class Frames:
    """The messages of a container without a terminal, which have a header with their length."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> Iterator[tuple[str, bytes]]:
        """The messages that this part of the stream completes, with their times."""
        self._buffer += chunk
        start = 0
        while len(self._buffer) >= start + HEADER:
            (length,) = struct.unpack_from(">4xL", self._buffer, start)
            end = start + HEADER + length
            if len(self._buffer) < end:
                break
            if length:
                yield _split(bytes(self._buffer[start + HEADER : end]))
            start = end
        del self._buffer[:start]

    def rest(self) -> Iterator[tuple[str, bytes]]:
        """What is left at the end: an incomplete message isn't shown."""
        return iter(())


class Lines:
    """The lines of a container with a terminal. Within a line of more than 16 kB, the times of its pieces
    remain."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, chunk: bytes) -> Iterator[tuple[str, bytes]]:
        """The lines that this part of the stream completes, with their times."""
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        for line in lines:
            yield _split(line + b"\n")

    def rest(self) -> Iterator[tuple[str, bytes]]:
        """What is left at the end: a line without an end."""
        if self._buffer:
            yield _split(self._buffer)


def _split(message: bytes) -> tuple[str, bytes]:
    return message[:TIME].decode("ascii", "replace"), message[TIME + 1 :]
