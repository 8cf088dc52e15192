"""The parser of request heads. See `fields` for what it rejects."""

from __future__ import annotations

import re

from stager.domain.route import normalise_host
from stager.front.http.fields import (
    FORWARDING,
    FRAMING,
    HOP_BY_HOP,
    TOKEN,
    body_length,
    connection_options,
    parse_fields,
    role_in,
    split_lines,
    without,
)
from stager.front.http.head import MessageError, RequestHead
from stager.front.http.limits import Limits
from stager.front.http.lru_cache import LruCache

_END = b"\r\n\r\n"
_TAB = 0x09
_HTTP_2 = (b"h2", b"http/2")
_HOST = re.compile(rb"(?:[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"(https?)://([^/?#@]+)(/[^#]*|\?[^#]*|)", re.IGNORECASE)


def read_request(data: bytes, limits: Limits) -> tuple[RequestHead, bytes] | None:
    """Parse the head of a request; returns it and the rest of the data, or None while it is incomplete.

    Args:
        data: everything from the first byte of the request.

    Raises:
        MessageError: it is malformed, ambiguous, or too large.
    """
    end = data.find(_END)
    if end < 0 or end > limits.head_bytes:
        check_incomplete(data, limits.head_bytes, limits.line_bytes)
        return None
    head = parse_request(data[:end], limits.headers)
    if end > limits.line_bytes and data.find(b"\r\n", 0, limits.line_bytes + 2) < 0:
        raise MessageError(414, "The request line is too long.")
    return head, data[end + 4 :]


def parse_request(block: bytes, max_headers: int = 200) -> RequestHead:
    """Parse the head of a request.

    Args:
        block: everything before the empty line, without the CRLF of the last header.
        max_headers: the maximum number of headers.

    Raises:
        MessageError: it is malformed, ambiguous, or too large.
    """
    lines = split_lines(block, max_headers)
    method, target, minor = _request_line(lines[0])
    plain, special = parse_fields(lines, _ROLES)
    authority, host = _authority(special, minor)
    if not target.startswith(b"/"):
        target = _unusual_target(method, target, authority)
    keep_alive, upgrade = minor == 1, b""
    if b"connection" in special:
        options = connection_options(special[b"connection"])
        keep_alive = b"close" not in options and (minor == 1 or b"keep-alive" in options)
        upgrade = _upgrade(special, options, minor)
        plain = without(plain, options)
    length = None if FRAMING.isdisjoint(special) else body_length(special, minor)
    # `in` is several times slower: it first tests whether its operand is a number.
    marked = block.find(b"stager-access") >= 0 or target.find(b"stager_") >= 0
    return RequestHead(
        method,
        target,
        minor,
        host,
        authority,
        plain,
        special,
        length,
        keep_alive=keep_alive,
        upgrade=upgrade,
        marked=marked,
    )


def check_incomplete(start: bytes, max_bytes: int, max_line: int) -> None:
    """Reject an incomplete head that can't become valid. Raises MessageError."""
    if start.startswith(b"PRI * HTTP/2"):
        raise MessageError(505, "HTTP/2 without TLS isn't supported; please use HTTP/1.1.")
    if b"\r\n" not in start[: max_line + 2] and len(start) > max_line:
        raise MessageError(414, "The request line is too long.")
    if len(start) > max_bytes:
        raise MessageError(431, "The headers are too long.")
    if start.count(b"\n") != start.count(b"\r\n"):
        raise MessageError(400, "Lines have to end with CR LF.")


def _request_line(line: bytes) -> tuple[bytes, bytes, int]:
    parts = line.split(b" ")
    if len(parts) != 3 or not parts[1] or _TAB in line:
        raise MessageError(400, "The request line is malformed.")
    method, target, version = parts
    _METHODS[method]
    if version == b"HTTP/1.1":
        return method, target, 1
    if version == b"HTTP/1.0":
        return method, target, 0
    if re.fullmatch(rb"HTTP/[0-9]\.[0-9]", version):
        raise MessageError(505, "Please use HTTP/1.1.")
    raise MessageError(400, "The request line is malformed.")


def _authority(special: dict[bytes, list[bytes]], minor: int) -> tuple[bytes, str]:
    values = special.get(b"host")
    if values is None:
        if minor == 1:
            raise MessageError(400, "There is no Host header.")
        return b"", ""
    if len(values) != 1:
        raise MessageError(400, "There is more than one Host header.")
    return values[0], _HOSTS[values[0]]


def _unusual_target(method: bytes, target: bytes, authority: bytes) -> bytes:
    if method == b"CONNECT":
        raise MessageError(405, "Stager is not a forward proxy.")
    if target == b"*" and method == b"OPTIONS":
        return target
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise MessageError(400, "The request target is malformed.")
    default = b":443" if match[1].lower() == b"https" else b":80"
    if _without_port(match[2], default) != _without_port(authority, default):
        raise MessageError(400, "The request target and the Host header name different hosts.")
    return match[3] if match[3].startswith(b"/") else b"/" + match[3]


def _without_port(authority: bytes, default: bytes) -> bytes:
    """Return an authority in lower case, without an empty or default port (RFC 9110, section 4.2.3)."""
    return authority.lower().removesuffix(default).removesuffix(b":")


def _upgrade(special: dict[bytes, list[bytes]], options: set[bytes], minor: int) -> bytes:
    """Return the requested protocols, without HTTP/2: its requests would bypass all checks of the front."""
    if b"upgrade" not in options or minor == 0:
        return b""
    wanted = [name.strip(b" \t") for value in special.get(b"upgrade", ()) for name in value.split(b",")]
    return b", ".join(name for name in wanted if name and not name.lower().startswith(_HTTP_2))


def _check_method(method: bytes) -> None:
    if not method or method.translate(None, TOKEN):
        raise MessageError(400, "The method is malformed.")


def is_authority(text: bytes) -> bool:
    """Whether it is a valid `Host` header: a name or an address, with or without a port."""
    return _HOST.fullmatch(text) is not None


def _read_host(authority: bytes) -> str:
    if not is_authority(authority):
        raise MessageError(400, "The Host header is malformed.")
    return normalise_host(authority.decode("ascii"))


_METHODS = LruCache(_check_method)
_HOSTS = LruCache(_read_host)
_ROLES = LruCache(
    role_in(
        FRAMING
        | FORWARDING
        | {b"host", b"connection", b"upgrade", b"expect", b"x-request-id", b"x-stager-bypass"},
        HOP_BY_HOP | {b"proxy"},  # CGI would pass it as the variable HTTP_PROXY
    )
)
