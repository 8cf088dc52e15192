"""Forwarding headers: `X-Forwarded-*`, `X-Real-IP` and `Forwarded` (RFC 7239), read and written.

Pure. Apps may read any of them, so all are sent and agree: what a trusted proxy left out is derived from what
it sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stager.front.http.head import RequestHead
from stager.front.http.lru_cache import LruCache
from stager.front.http.request_parser import is_authority

_DEFAULT_PORTS = {b"http": b"80", b"https": b"443"}

_SCHEMES = {b"http": b"http", b"https": b"https", b"ws": b"http", b"wss": b"https"}
_OTHER_DEFAULT = {b"http": b"443", b"https": b"80"}
_NAMES = (
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-real-ip",
    b"forwarded",
    b"x-forwarded-scheme",
    b"x-forwarded-ssl",
)
_PAIR = re.compile(
    rb"""[ \t]*(?:(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)=
    (?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<token>[!#$%&'*+.^_`|~0-9A-Za-z-]*)))?[ \t]*(?P<end>[;,]|\Z)""",
    re.VERBOSE | re.DOTALL,
)
_PLAIN_NODE = re.compile(rb"[0-9.]+|unknown|_[A-Za-z0-9._-]+")
_V6 = re.compile(rb"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_NODE = re.compile(rb"\[(?P<v6>[^\]]*)\](?::\w+)?|(?P<v4>[0-9.]+)(?::\w+)?")


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts about a client.

    Args:
        lines: the `Host` header and all forwarding headers, without the last line end.
        client: the client's address, for the log.
        secure: whether the client uses https to connect to the front or to a trusted proxy.
    """

    lines: bytes
    client: str
    secure: bool


@dataclass(frozen=True, slots=True)
class _Hop:
    """The last hop of a request: the peer's address, and the `Host` header."""

    address: bytes
    authority: bytes


def facts_from_proxy(peer: bytes, head: RequestHead) -> Facts:
    """Return the facts according to a trusted proxy's headers.

    Args:
        peer: address and scheme of its connection, separated by a line break.
    """
    special = head.special
    parts = [peer, head.authority]
    for name in _NAMES:
        values = special.get(name)
        parts.append(b"" if values is None else values[0] if len(values) == 1 else b", ".join(values))
    return _FROM_PROXY[b"\n".join(parts)]


def _read_own(key: bytes) -> Facts:
    """Return the facts from the connection: address, scheme and `Host`, separated by line breaks."""
    address, scheme, authority = key.split(b"\n")
    host, port = authority or b"localhost", _port_named(authority) or _DEFAULT_PORTS[scheme]
    return _facts_of(_Hop(address, authority), chain=(), scheme=scheme, host=host, port=port)


def _read_from_proxy(key: bytes) -> Facts:
    """Return the facts from the lines of `facts_from_proxy`. The first of several values counts: its proxy
    was the first one behind the client."""
    address, own_scheme, authority, *values = key.split(b"\n")
    headers = dict(zip(_NAMES, values, strict=True))
    elements = _elements(headers[b"forwarded"])
    scheme = _scheme_in(headers, elements) or own_scheme
    host = _host_in(headers, elements) or authority or b"localhost"
    return _facts_of(
        _Hop(address, authority),
        chain=_chain_in(headers, elements),
        scheme=scheme,
        host=host,
        port=_port_of(_forwarded_port(headers) or _port_named(host), scheme),
    )


def _facts_of(hop: _Hop, *, chain: Sequence[bytes], scheme: bytes, host: bytes, port: bytes) -> Facts:
    """Write the facts as headers.

    Args:
        hop: the last hop.
        chain: the addresses before the last hop, the client's first.
        scheme: `http` or `https`, as the client connected.
        host: the host of the client's URL, with the port if it has one.
        port: the port to which the client connected.
    """
    nodes = [*chain, hop.address] if hop.address else [*chain]
    first, *others = [b"for=" + _as_node(node) for node in nodes or [b"unknown"]]
    client = chain[-1] if chain else hop.address
    headers = {
        b"Host": hop.authority or b"localhost",
        b"X-Forwarded-For": b", ".join(nodes),
        b"X-Forwarded-Proto": scheme,
        b"X-Forwarded-Host": host,
        b"X-Forwarded-Port": port,
        b"X-Real-IP": client,
        # Only in the first element: some apps read the first scheme, others the last.
        b"Forwarded": b", ".join([b'%b;host="%b";proto=%b' % (first, host, scheme), *others]),
    }
    lines = b"\r\n".join([b"%b: %b" % (name, value) for name, value in headers.items() if value])
    return Facts(lines, client.decode("ascii", "replace"), secure=scheme == b"https")


def _port_named(authority: bytes) -> bytes:
    """Return the port of a `Host` header; empty if it has none."""
    _, colon, port = authority.rpartition(b":")
    return port if colon and port.isdigit() else b""


def _chain_in(headers: Mapping[bytes, bytes], elements: Sequence[Mapping[bytes, bytes]]) -> list[bytes]:
    """Return the addresses of the clients; the last one is the peer of the trusted proxy.

    An unreadable address is `unknown`; it is never replaced by the proxy's own, which may be this machine's.
    """
    chain = [part.strip(b" \t") for part in headers[b"x-forwarded-for"].split(b",")]
    chain = [part for part in chain if part] or [
        _address_in(element[b"for"]) for element in elements if element.get(b"for")
    ]
    if chain:
        return chain
    real = _first(headers[b"x-real-ip"])
    return [real or b"unknown"] if real or (headers[b"forwarded"] and not elements) else []


def _scheme_in(headers: Mapping[bytes, bytes], elements: Sequence[Mapping[bytes, bytes]]) -> bytes:
    named = [
        _first(headers[b"x-forwarded-proto"]),
        *(element.get(b"proto", b"") for element in elements),
        _first(headers[b"x-forwarded-scheme"]),
        b"https" if headers[b"x-forwarded-ssl"].lower() == b"on" else b"",
        b"https" if _forwarded_port(headers) == b"443" else b"",
    ]
    return next((_SCHEMES[name.lower()] for name in named if name.lower() in _SCHEMES), b"")


def _host_in(headers: Mapping[bytes, bytes], elements: Sequence[Mapping[bytes, bytes]]) -> bytes:
    named = [_first(headers[b"x-forwarded-host"]), *(element.get(b"host", b"") for element in elements)]
    return next((name for name in named if is_authority(name)), b"")


def _forwarded_port(headers: Mapping[bytes, bytes]) -> bytes:
    port = _first(headers[b"x-forwarded-port"])
    return port if port.isdigit() and len(port) <= 5 else b""


def _port_of(named: bytes, scheme: bytes) -> bytes:
    """Return the port to forward. Port 80 with https is the port of a hop behind the one that terminates TLS,
    not the client's."""
    return named if named not in {b"", _OTHER_DEFAULT[scheme]} else _DEFAULT_PORTS[scheme]


def _first(values: bytes) -> bytes:
    return values.partition(b",")[0].strip(b" \t")


def _elements(forwarded: bytes) -> list[dict[bytes, bytes]]:
    """Return the elements of a `Forwarded` header (RFC 7239, section 4); none if it is malformed."""
    elements: list[dict[bytes, bytes]] = [{}]
    position = 0
    while position < len(forwarded):
        match = _PAIR.match(forwarded, position)
        if match is None:
            return []
        position = match.end()
        if match["name"]:
            quoted = match["quoted"]
            value = match["token"] if quoted is None else re.sub(rb"\\(.)", rb"\1", quoted)
            elements[-1].setdefault(match["name"].lower(), value)
        if match["end"] == b",":
            elements.append({})
    return elements


def _address_in(node: bytes) -> bytes:
    """Return the address of a node without brackets and port; a valid identifier is returned unchanged."""
    match = _NODE.fullmatch(node)
    if match is not None:
        return match["v6"] or match["v4"] or b"unknown"
    return node if _PLAIN_NODE.fullmatch(node) else b"unknown"


def _as_node(address: bytes) -> bytes:
    """Format an address as a node (RFC 7239, section 6)."""
    if _PLAIN_NODE.fullmatch(address):
        return address
    if _V6.fullmatch(address):
        return b'"[%b]"' % address
    return b"unknown" if re.search(rb'["\\\x00-\x1f\x7f-\xff]', address) else b'"%b"' % address


OWN = LruCache(_read_own, max_key_bytes=512)
"""The facts about a client without a trusted proxy; see `_read_own`."""
_FROM_PROXY = LruCache(_read_from_proxy, max_key_bytes=1024)
