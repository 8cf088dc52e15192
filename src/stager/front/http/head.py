"""The heads of HTTP/1.1 messages, as values."""

from __future__ import annotations

CHUNKED = -1
UNTIL_CLOSE = -2

_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})


class MessageError(Exception):
    """A message that is rejected.

    Args:
        status: the status of the response to a client that sent it.
        message: what is wrong, one sentence.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class RequestHead:
    """The head of a request. Not a dataclass, whose `__init__` mypyc doesn't compile.

    Args:
        method: as sent; always a token.
        target: in origin form (`/path?query`), or `*`.
        minor: 0 or 1, of HTTP/1.x.
        host: in the form of route tables; empty only for HTTP/1.0 without a `Host` header.
        authority: the `Host` header as sent.
        lines: the headers that the front doesn't interpret, as sent, in order.
        special: the values of the headers that it interprets, by lower-case name.
        length: the length of the body: None if there is none, or `CHUNKED`.
        keep_alive: whether the client wants the connection to stay open.
        upgrade: the protocol of a requested upgrade; empty if there is none.
        marked: whether it may contain access cookies or parameters of the front; see `access_gate`.
    """

    __slots__ = (
        "authority",
        "host",
        "keep_alive",
        "length",
        "lines",
        "marked",
        "method",
        "minor",
        "special",
        "target",
        "upgrade",
    )

    def __init__(  # noqa: PLR0913, PLR0917 (the parts of a head)
        self,
        method: bytes,
        target: bytes,
        minor: int,
        host: str,
        authority: bytes,
        lines: list[bytes],
        special: dict[bytes, list[bytes]],
        length: int | None,
        *,
        keep_alive: bool,
        upgrade: bytes = b"",
        marked: bool = False,
    ) -> None:
        self.method = method
        self.target = target
        self.minor = minor
        self.host = host
        self.authority = authority
        self.lines = lines
        self.special = special
        self.length = length
        self.keep_alive = keep_alive
        self.upgrade = upgrade
        self.marked = marked

    @property
    def replayable(self) -> bool:
        """Whether it can be sent twice: the method is idempotent, and there is no body."""
        return self.length is None and self.method in _IDEMPOTENT and not self.upgrade

    @property
    def expects_continue(self) -> bool:
        """Whether the client may wait for a `100 Continue` before it sends the body."""
        return self.minor == 1 and b"expect" in self.special

    def readdress(self, host: str) -> None:
        """Change the request's host. A `Host` header with the same host stays as sent, with its port."""
        if self.host != host:
            self.host, self.authority = host, host.encode("ascii")
            self.special[b"host"] = [self.authority]

    def value(self, name: bytes) -> bytes:
        """Return the first value among `lines` of the header `name` (lower case); empty if there is none."""
        for line in self.lines:
            if line[: len(name) + 1].lower() == name + b":":
                return line[len(name) + 1 :].strip(b" \t")
        return b""


class ResponseHead:
    """The head of a response. `length` is that of its headers: None, `CHUNKED`, or a number; see `body`."""

    __slots__ = ("keep_alive", "length", "lines", "minor", "special", "status", "status_line")

    def __init__(
        self,
        status: int,
        status_line: bytes,
        minor: int,
        lines: list[bytes],
        special: dict[bytes, list[bytes]],
        *,
        length: int | None,
        keep_alive: bool,
    ) -> None:
        self.status = status
        self.status_line = status_line
        self.minor = minor
        self.lines = lines
        self.special = special
        self.length = length
        self.keep_alive = keep_alive
