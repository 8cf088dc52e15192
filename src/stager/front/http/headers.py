"""What becomes of headers on their way: hop-by-hop ones go, the ones that tell the app about the client are
ours.

Pure. Everything that is the same for all requests of a connection is made once and kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from stager.front.http.forwarded import OWN, Facts, told
from stager.front.http.head import CHUNKED, FORWARDING, UNTIL_CLOSE, RequestHead, ResponseHead

_LINE = b"\r\n"


class Forwarding:
    """What an app is told about one client.

    Args:
        address: of the peer; empty when it isn't known.
        scheme: `http` or `https`, as the client speaks with the front.
        trusted: whether the peer is a proxy of ours, whose own word about its client counts.
    """

    __slots__ = ("_peer", "_trusted")

    def __init__(self, address: str, scheme: str, *, trusted: bool) -> None:
        self._trusted = trusted
        self._peer = f"{address}\n{scheme}".encode("ascii", "replace")

    def facts(self, head: RequestHead) -> Facts:
        """What is known of the client that sent this request."""
        if self._trusted and not FORWARDING.isdisjoint(head.special):
            return told(self._peer, head)
        return OWN[self._peer + b"\n" + head.authority]


def request_head(head: RequestHead, facts: Facts, request_id: bytes) -> bytes:
    """The head of the request as the app gets it."""
    lines = [
        b"%b %b HTTP/1.1" % (head.method, head.target),
        facts.lines,
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


def response_head(head: ResponseHead, minor: int, *, keep: bool, extra: Sequence[bytes] = ()) -> bytes:
    """The head of the response as the client gets it.

    Args:
        head: the app's.
        minor: of the client's HTTP/1.x.
        keep: whether the connection to the client stays open.
        extra: further lines.
    """
    lines = [b"HTTP/1.1" + head.status_line[8:], *head.lines, *extra]
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


def switching_head(head: ResponseHead, extra: Sequence[bytes] = ()) -> bytes:
    """A 101 response, as the client gets it, with further lines."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: " + b", ".join(head.special.get(b"upgrade", (b"websocket",)))
    return _LINE.join([b"HTTP/1.1" + head.status_line[8:], *head.lines, *extra, upgrade, _LINE])


def stays_open(request: RequestHead, length: int) -> bool:
    """Whether the client's connection can be used again after a response of this length."""
    return request.keep_alive and length != UNTIL_CLOSE and not (length == CHUNKED and request.minor == 0)


def _body_line(length: int) -> bytes:
    return b"Transfer-Encoding: chunked" if length == CHUNKED else b"Content-Length: %d" % length
