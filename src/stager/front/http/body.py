"""Where bodies end: three framings that are fed whatever arrives and tell what belongs to the message.

Pure. Each keeps a number or a short line, never the body: what goes in comes out at once.
"""

from __future__ import annotations

import re
from typing import Protocol

from stager.front.http.head import CHUNKED, UNTIL_CLOSE, MessageError, RequestHead, ResponseHead

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[\t\x20-\x7e\x80-\xff]*")
_NOT_IN_TRAILERS = frozenset({b"content-length", b"transfer-encoding", b"host", b"connection"})
_LONGEST_SIZE_LINE = 256
_LONGEST_TRAILERS = 16_384


class Framing(Protocol):
    """The body of one message."""

    done: bool

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Split `data` into what to pass on and what comes after the body. Raises MessageError."""


class Length:
    """A body of so many bytes."""

    __slots__ = ("done", "left")

    def __init__(self, left: int) -> None:
        self.left = left
        self.done = left == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See `Framing`."""
        mine = self.left
        left = mine - len(data)
        if left > 0:
            self.left = left
            return data, b""
        self.left = 0
        self.done = True
        return (data, b"") if left == 0 else (data[:mine], data[mine:])


class UntilClose:
    """A body that ends with the connection, and each direction of a tunnel."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See `Framing`."""
        return data, b""


class Chunked:
    """A chunked body with its trailers, passed on as it came once it is known to be well-formed.

    Args:
        unwrap: pass on only the content, for a client of HTTP/1.0, which doesn't know chunks.
    """

    __slots__ = ("_expect", "_left", "_line", "_trailers", "_unwrap", "done")

    def __init__(self, *, unwrap: bool = False) -> None:
        self.done = False
        self._unwrap = unwrap
        self._left = 0
        self._line = b""
        self._trailers = 0
        self._expect = self._size

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See `Framing`."""
        position = 0
        content = []
        while position < len(data) and not self.done:
            if self._left:
                end = min(position + self._left, len(data))
                self._left -= end - position
                if self._unwrap:
                    content.append(data[position:end])
                position = end
            else:
                position = self._read_line(data, position)
        passed = b"".join(content) if self._unwrap else data[:position]
        return passed, data[position:]

    def _read_line(self, data: bytes, position: int) -> int:
        end = data.find(b"\n", position) + 1
        self._line += data[position : end or len(data)]
        if len(self._line) > (_LONGEST_TRAILERS if self._expect == self._trailer else _LONGEST_SIZE_LINE):
            raise MessageError(400, "A line between chunks is too long.")
        if not end:
            return len(data)
        line, self._line = self._line, b""
        if not line.endswith(b"\r\n"):
            raise MessageError(400, "A line between chunks should end with CR LF.")
        self._expect(line[:-2])
        return end

    def _size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise MessageError(400, "The size of a chunk is malformed.")
        self._left = int(match[1], 16)
        self._expect = self._gap if self._left else self._trailer

    def _gap(self, line: bytes) -> None:
        if line:
            raise MessageError(400, "A chunk is longer than it said.")
        self._expect = self._size

    def _trailer(self, line: bytes) -> None:
        if not line:
            self.done = True
            return
        self._trailers += len(line)
        match = _TRAILER.fullmatch(line)
        if match is None or match[1].lower() in _NOT_IN_TRAILERS or self._trailers > _LONGEST_TRAILERS:
            raise MessageError(400, "The trailers are malformed.")


NOTHING: Framing = Length(0)


def request_framing(head: RequestHead) -> Framing:
    """How the body of this request is framed."""
    if head.length is None:
        return NOTHING
    return Chunked() if head.length == CHUNKED else Length(head.length)


def response_length(method: bytes, head: ResponseHead) -> int:
    """How long the body of this response to `method` is: a number, `CHUNKED` or `UNTIL_CLOSE`."""
    if method == b"HEAD" or head.status in {204, 304} or head.status < 200:
        return 0
    return UNTIL_CLOSE if head.length is None else head.length


def response_framing(length: int, *, unwrap: bool) -> Framing:
    """The framing for what `response_length` said; `unwrap` as for `Chunked`."""
    if length == CHUNKED:
        return Chunked(unwrap=unwrap)
    if length == UNTIL_CLOSE:
        return UntilClose()
    return Length(length) if length else NOTHING
