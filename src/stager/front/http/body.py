"""Message bodies: three framings that find the end of a body in the data as it arrives.

Pure. A framing stores a number or a short line, never the body: data is returned immediately.
"""

from __future__ import annotations

import re

from stager.front.http.head import CHUNKED, UNTIL_CLOSE, MessageError, RequestHead, ResponseHead

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[\t\x20-\x7e\x80-\xff]*")
_NOT_IN_TRAILERS = frozenset({b"content-length", b"transfer-encoding", b"host", b"connection"})
_MAX_SIZE_LINE = 256
"""Bytes of a line with the size of a chunk."""
_MAX_TRAILERS = 16_384
"""Bytes of all trailers."""


class Framing:
    """The framing of one message body. A class and not a protocol, whose methods compiled code would look up
    by name."""

    __slots__ = ("done",)

    done: bool

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Split `data` into the part to forward and the part after the body. Raises MessageError."""
        raise NotImplementedError


class Length(Framing):
    """A body with a Content-Length."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left
        self.done = left == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See `Framing`."""
        expected = self.left
        left = expected - len(data)
        if left > 0:
            self.left = left
            return data, b""
        self.left = 0
        self.done = True
        return (data, b"") if left == 0 else (data[:expected], data[expected:])


class UntilClose(Framing):
    """A body that ends when the connection is closed, and each direction of a tunnel."""

    __slots__ = ()

    def __init__(self) -> None:
        self.done = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See `Framing`."""
        return data, b""


class Chunked(Framing):
    """A chunked body with its trailers, forwarded unchanged after validation.

    Args:
        unwrap: forward only the content, for HTTP/1.0 clients, which don't support chunks.
    """

    __slots__ = ("_expect", "_left", "_line", "_trailers", "_unwrap")

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
        forwarded = b"".join(content) if self._unwrap else data[:position]
        return forwarded, data[position:]

    def _read_line(self, data: bytes, position: int) -> int:
        end = data.find(b"\n", position) + 1
        self._line += data[position : end or len(data)]
        if len(self._line) > (_MAX_TRAILERS if self._expect == self._trailer else _MAX_SIZE_LINE):
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
            raise MessageError(400, "A chunk is longer than its size says.")
        self._expect = self._size

    def _trailer(self, line: bytes) -> None:
        if not line:
            self.done = True
            return
        self._trailers += len(line)
        match = _TRAILER.fullmatch(line)
        if match is None or match[1].lower() in _NOT_IN_TRAILERS or self._trailers > _MAX_TRAILERS:
            raise MessageError(400, "The trailers are malformed.")


NOTHING: Framing = Length(0)


def request_framing(head: RequestHead) -> Framing:
    """Return the framing of this request's body."""
    if head.length is None:
        return NOTHING
    return Chunked() if head.length == CHUNKED else Length(head.length)


def response_length(method: bytes, head: ResponseHead) -> int:
    """Return the length of the body of a response to `method`: a number, `CHUNKED` or `UNTIL_CLOSE`."""
    if method == b"HEAD" or head.status in {204, 304} or head.status < 200:
        return 0
    return UNTIL_CLOSE if head.length is None else head.length


def response_framing(length: int, *, unwrap: bool) -> Framing:
    """Return the framing for a result of `response_length`; `unwrap` as for `Chunked`."""
    if length == CHUNKED:
        return Chunked(unwrap=unwrap)
    if length == UNTIL_CLOSE:
        return UntilClose()
    return Length(length) if length else NOTHING
