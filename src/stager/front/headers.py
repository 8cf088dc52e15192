"""What becomes of headers on their way: hop-by-hop ones go, the ones that tell the app about the client are
ours.

Pure. Everything that is the same for all requests of a connection is made once and kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from stager.front.head import CHUNKED, FORWARDING, UNTIL_CLOSE, RequestHead, ResponseHead

_LINE = b"\r\n"
_DEFAULT_PORTS = {b"http": b"80", b"https": b"443"}


class Forwarding:
    """What an app is told about one client.

    Args:
        address: of the peer; empty when it isn't known.
        scheme: `http` or `https`, as the client speaks with the front.
        trusted: whether the peer is a proxy of ours, whose own word about its client counts.
    """

    __slots__ = ("_address", "_authority", "_lines", "_scheme", "_trusted")

    def __init__(self, address: str, scheme: str, *, trusted: bool) -> None:
        self._address = address.encode("ascii", "replace")
        self._scheme = scheme.encode("ascii")
        self._trusted = trusted
        self._authority: bytes | None = None
        self._lines = b""

    def lines(self, head: RequestHead) -> bytes:
        """The `Host` header, as sent, and the ones about the client."""
        if self._trusted and not FORWARDING.isdisjoint(head.special):
            return self._write(head.authority, self._told(head.special))
        if head.authority != self._authority:
            self._authority = head.authority
            self._lines = self._write(head.authority, self._own(head.authority))
        return self._lines

    def is_secure(self, head: RequestHead) -> bool:
        """Whether the client came over https: with us, or with a trusted proxy that says so."""
        told = head.special.get(b"x-forwarded-proto")
        scheme = told[-1].rpartition(b",")[2].strip().lower() if told and self._trusted else self._scheme
        return scheme == b"https"

    def client(self, head: RequestHead) -> str:
        """The address to log: that of the peer, or the one that a trusted proxy saw last."""
        told = head.special.get(b"x-forwarded-for")
        address = told[-1].rpartition(b",")[2].strip() if told and self._trusted else self._address
        return address.decode("ascii", "replace")

    def _own(self, authority: bytes) -> dict[bytes, bytes]:
        host = authority or b"localhost"
        node = b'"[%b]"' % self._address if b":" in self._address else self._address or b"unknown"
        return {
            b"X-Forwarded-For": self._address,
            b"X-Forwarded-Proto": self._scheme,
            b"X-Forwarded-Host": host,
            b"X-Forwarded-Port": _port(authority) or _DEFAULT_PORTS[self._scheme],
            b"X-Real-IP": self._address,
            b"Forwarded": b'for=%b;host="%b";proto=%b' % (node, host, self._scheme),
        }

    def _told(self, special: dict[bytes, list[bytes]]) -> dict[bytes, bytes]:
        """Our own headers, with what the trusted proxy said before ours, or in place of ours."""
        headers = self._own(special[b"host"][0] if b"host" in special else b"")
        for name, own in headers.items():
            told = b", ".join(special.get(name.lower(), ()))
            if told:
                headers[name] = told + b", " + own if name in {b"X-Forwarded-For", b"Forwarded"} else told
        return headers

    def _write(self, authority: bytes, headers: dict[bytes, bytes]) -> bytes:
        lines = [b"%b: %b" % (name, value) for name, value in headers.items() if value]
        return _LINE.join([b"Host: " + (authority or b"localhost"), *lines])


def request_head(head: RequestHead, forwarding: Forwarding, request_id: bytes) -> bytes:
    """The head of the request as the app gets it."""
    lines = [
        b"%b %b HTTP/1.1" % (head.method, head.target),
        forwarding.lines(head),
        b"X-Request-Id: " + request_id,
        *head.lines,
    ]
    if head.length is not None:
        lines.append(_body_line(head.length))
    if head.upgrade:
        lines.append(b"Connection: Upgrade\r\nUpgrade: " + head.upgrade)
    if head.expects_continue:
        lines.append(b"Expect: " + b", ".join(head.special[b"expect"]))
    lines.append(_LINE)
    return _LINE.join(lines)


def request_id_of(head: RequestHead) -> bytes:
    """The id that the client gave its request, when it is one that may be passed on; else nothing."""
    values = head.special.get(b"x-request-id", ())
    return values[0] if len(values) == 1 and 0 < len(values[0]) <= 128 and values[0].isascii() else b""


def response_head(head: ResponseHead, minor: int, *, keep: bool, more: Sequence[bytes] = ()) -> bytes:
    """The head of the response as the client gets it.

    Args:
        head: the app's.
        minor: of the client's HTTP/1.x.
        keep: whether the connection to the client stays open.
        more: further lines.
    """
    lines = [b"HTTP/1.1" + head.status_line[8:], *head.lines, *more]
    # HTTP/1.0 isn't told of chunks, not even where no body follows (RFC 9112, section 6.1).
    unwrapped = head.length == CHUNKED and minor == 0
    if head.length is not None and head.status >= 200 and head.status != 204 and not unwrapped:
        lines.append(_body_line(head.length))
    if not keep:
        lines.append(b"Connection: close")
    elif minor == 0:
        lines.append(b"Connection: keep-alive")
    lines.append(_LINE)
    return _LINE.join(lines)


def interim_head(head: ResponseHead) -> bytes:
    """A 1xx response other than 101, as the client gets it."""
    return _LINE.join([b"HTTP/1.1" + head.status_line[8:], *head.lines, _LINE])


def switching_head(head: ResponseHead, more: Sequence[bytes] = ()) -> bytes:
    """A 101 response, as the client gets it, with further lines."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: " + b", ".join(head.special.get(b"upgrade", (b"websocket",)))
    return _LINE.join([b"HTTP/1.1" + head.status_line[8:], *head.lines, *more, upgrade, _LINE])


def stays_open(request: RequestHead, length: int) -> bool:
    """Whether the client's connection can be used again after a response of this length."""
    return request.keep_alive and length != UNTIL_CLOSE and not (length == CHUNKED and request.minor == 0)


def _body_line(length: int) -> bytes:
    return b"Transfer-Encoding: chunked" if length == CHUNKED else b"Content-Length: %d" % length


def _port(authority: bytes) -> bytes:
    port = authority.rpartition(b":")[2]
    return port if port.isdigit() and b":" in authority else b""
