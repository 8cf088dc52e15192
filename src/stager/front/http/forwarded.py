"""What proxies say about a client: `X-Forwarded-*`, `X-Real-IP` and `Forwarded` (RFC 7239), read and written.

Pure. Apps read any of these, so what they get is always the same facts in each form: whatever a trusted proxy
left out is derived from what it did send.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stager.front.http.head import RequestHead, is_authority
from stager.front.http.lru_cache import LruCache

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
    """What is known of a client.

    Args:
        lines: the `Host` header, and all that tell an app about the client, without the last line end.
        client: its address, for the log.
        secure: whether it came over https: with us, or with a trusted proxy.
    """

    lines: bytes
    client: str
    secure: bool


@dataclass(frozen=True, slots=True)
class _Hop:
    """How a request came to the front: from which address, with which `Host` header."""

    address: bytes
    authority: bytes


def told(peer: bytes, head: RequestHead) -> Facts:
    """The facts by a trusted proxy's word.

    Args:
        peer: address and scheme of its connection, with a line break between them.
    """
    special = head.special
    parts = [peer, head.authority]
    for name in _NAMES:
        values = special.get(name)
        parts.append(b"" if values is None else values[0] if len(values) == 1 else b", ".join(values))
    return _TOLD[b"\n".join(parts)]


def _read_own(key: bytes) -> Facts:
    """The facts as the front sees them, by address, scheme and `Host` with line breaks between them."""
    address, scheme, authority = key.split(b"\n")
    host, port = authority or b"localhost", _port_named(authority) or _DEFAULT_PORTS[scheme]
    return _facts_of(_Hop(address, authority), chain=(), scheme=scheme, host=host, port=port)


def _read_told(key: bytes) -> Facts:
    """The facts by the lines of `told`. Of several values the first counts: that proxy saw the client."""
    address, own_scheme, authority, *values = key.split(b"\n")
    said = dict(zip(_NAMES, values, strict=True))
    elements = _elements(said[b"forwarded"])
    scheme = _scheme_in(said, elements) or own_scheme
    host = _host_in(said, elements) or authority or b"localhost"
    return _facts_of(
        _Hop(address, authority),
        chain=_chain_in(said, elements),
        scheme=scheme,
        host=host,
        port=_port_of(_port_told(said) or _port_named(host), scheme),
    )


def _facts_of(hop: _Hop, *, chain: Sequence[bytes], scheme: bytes, host: bytes, port: bytes) -> Facts:
    """The facts in each form.

    Args:
        hop: how the request came to the front.
        chain: addresses before that of the hop, the client's first.
        scheme: `http` or `https`, as the client used it.
        host: as the client asked for it, with its port if it named one.
        port: that the client asked.
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
        # Once each, in the first element: some apps read the first scheme, others the last.
        b"Forwarded": b", ".join([b'%b;host="%b";proto=%b' % (first, host, scheme), *others]),
    }
    lines = b"\r\n".join([b"%b: %b" % (name, value) for name, value in headers.items() if value])
    return Facts(lines, client.decode("ascii", "replace"), secure=scheme == b"https")


def _port_named(authority: bytes) -> bytes:
    """The port that a `Host` header names; empty when it names none."""
    _, colon, port = authority.rpartition(b":")
    return port if colon and port.isdigit() else b""


def _chain_in(said: Mapping[bytes, bytes], elements: Sequence[Mapping[bytes, bytes]]) -> list[bytes]:
    """The addresses of the clients, the last one of which the trusted proxy saw itself.

    One that can't be read is unknown, and never taken for the proxy's own, which may be that of this machine.
    """
    chain = [part.strip(b" \t") for part in said[b"x-forwarded-for"].split(b",")]
    chain = [part for part in chain if part] or [
        _address_in(element[b"for"]) for element in elements if element.get(b"for")
    ]
    if chain:
        return chain
    real = _first(said[b"x-real-ip"])
    return [real or b"unknown"] if real or (said[b"forwarded"] and not elements) else []


def _scheme_in(said: Mapping[bytes, bytes], elements: Sequence[Mapping[bytes, bytes]]) -> bytes:
    named = [
        _first(said[b"x-forwarded-proto"]),
        *(element.get(b"proto", b"") for element in elements),
        _first(said[b"x-forwarded-scheme"]),
        b"https" if said[b"x-forwarded-ssl"].lower() == b"on" else b"",
        b"https" if _port_told(said) == b"443" else b"",
    ]
    return next((_SCHEMES[name.lower()] for name in named if name.lower() in _SCHEMES), b"")


def _host_in(said: Mapping[bytes, bytes], elements: Sequence[Mapping[bytes, bytes]]) -> bytes:
    named = [_first(said[b"x-forwarded-host"]), *(element.get(b"host", b"") for element in elements)]
    return next((name for name in named if is_authority(name)), b"")


def _port_told(said: Mapping[bytes, bytes]) -> bytes:
    port = _first(said[b"x-forwarded-port"])
    return port if port.isdigit() and len(port) <= 5 else b""


def _port_of(named: bytes, scheme: bytes) -> bytes:
    """The port to tell. Port 80 of https is that of a hop behind the one that did TLS, not the client's."""
    return named if named not in {b"", _OTHER_DEFAULT[scheme]} else _DEFAULT_PORTS[scheme]


def _first(values: bytes) -> bytes:
    return values.partition(b",")[0].strip(b" \t")


def _elements(forwarded: bytes) -> list[dict[bytes, bytes]]:
    """The elements of a `Forwarded` header (RFC 7239, section 4); none when it is malformed."""
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
    """The address of a node, without brackets and port; what isn't one stays as it is, if it may."""
    match = _NODE.fullmatch(node)
    if match is not None:
        return match["v6"] or match["v4"] or b"unknown"
    return node if _PLAIN_NODE.fullmatch(node) else b"unknown"


def _as_node(address: bytes) -> bytes:
    """An address as RFC 7239 (section 6) writes it."""
    if _PLAIN_NODE.fullmatch(address):
        return address
    if _V6.fullmatch(address):
        return b'"[%b]"' % address
    return b"unknown" if re.search(rb'["\\\x00-\x1f\x7f-\xff]', address) else b'"%b"' % address


OWN = LruCache(_read_own, longest=512)
"""The facts of a client by whom no trusted proxy speaks; see `_read_own`."""
_TOLD = LruCache(_read_told, longest=1024)
