"""Rewriting of heads: hop-by-hop headers are removed, and headers about the client are set.

Pure. What is the same for all requests of a connection is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence

from stager.front.http.fields import FORWARDING
from stager.front.http.forwarded import OWN, Facts, facts_from_proxy
from stager.front.http.head import CHUNKED, UNTIL_CLOSE, RequestHead, ResponseHead

_LINE = b"\r\n"


class Forwarding:
    """The forwarding headers of one client connection.

    Args:
        address: the peer's address; empty if it isn't known.
        scheme: `http` or `https`, as the peer connects to the front.
        trusted: whether the peer is a trusted proxy, whose own forwarding headers are used.
    """

    __slots__ = ("_peer", "_trusted")

    def __init__(self, address: str, scheme: str, *, trusted: bool) -> None:
        self._trusted = trusted
        self._peer = f"{address}\n{scheme}".encode("ascii", "replace")

    def facts(self, head: RequestHead) -> Facts:
        """Return the facts about the client that sent this request."""
        if self._trusted and not FORWARDING.isdisjoint(head.special):
            return facts_from_proxy(self._peer, head)
        return OWN[self._peer + b"\n" + head.authority]


def request_head(head: RequestHead, facts: Facts, request_id: bytes) -> bytes:
    """Return the head of the request for the app."""
    lines = [
        head.method + b" " + head.target + b" HTTP/1.1",
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
    """Return the request id that the client sent; empty if there is none that can be forwarded."""
    values = head.special.get(b"x-request-id", ())
    return values[0] if len(values) == 1 and 0 < len(values[0]) <= 128 and values[0].isascii() else b""


def response_head(head: ResponseHead, minor: int, *, keep: bool, extra: Sequence[bytes] = ()) -> bytes:
    """Return the head of the response for the client.

    Args:
        head: the app's.
        minor: the minor version of the client's HTTP/1.x.
        keep: whether the connection to the client stays open.
        extra: additional header lines.
    """
    lines = [b"HTTP/1.1" + head.status_line[8:], *head.lines, *extra]
    # HTTP/1.0 has no Transfer-Encoding, not even without a body (RFC 9112, section 6.1).
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
    """Return the head of a 1xx response other than 101 for the client."""
    return _LINE.join([b"HTTP/1.1" + head.status_line[8:], *head.lines, _LINE])


def switching_head(head: ResponseHead, extra: Sequence[bytes] = ()) -> bytes:
    """Return the head of a 101 response for the client, with additional header lines."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: " + b", ".join(head.special.get(b"upgrade", (b"websocket",)))
    return _LINE.join([b"HTTP/1.1" + head.status_line[8:], *head.lines, *extra, upgrade, _LINE])


def stays_open(request: RequestHead, length: int) -> bool:
    """Whether the client's connection can be reused after a response of this length."""
    return request.keep_alive and length != UNTIL_CLOSE and not (length == CHUNKED and request.minor == 0)


def _body_line(length: int) -> bytes:
    return b"Transfer-Encoding: chunked" if length == CHUNKED else b"Content-Length: " + str(length).encode()
