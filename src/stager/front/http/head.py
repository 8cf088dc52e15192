"""Heads of HTTP/1.1 messages, parsed strictly: ambiguous messages are rejected.

Pure. If this parser and the app read a request differently, a second request could be smuggled past the
front, so ambiguous requests aren't repaired (RFC 9112, sections 2.2, 3, 5 and 6). A response is seen only by
the client of its request, so what those sections tolerate is accepted there: lines that end with LF alone,
folded headers, and a repeated Content-Length.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from stager.domain.route import normalise_host
from stager.front.http.lru_cache import LruCache

CHUNKED = -1
UNTIL_CLOSE = -2

_TEXT = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CRLF = b"\r\n"
_END = b"\r\n\r\n"
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_FOLD = re.compile(rb"[ \t]*\n[ \t]+")
_TAB = 0x09
_HOST = re.compile(rb"(?:[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"(https?)://([^/?#@]+)(/[^#]*|\?[^#]*|)", re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: .*)?", re.DOTALL)

Fields = tuple[list[bytes], dict[bytes, list[bytes]]]


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


@dataclass(slots=True)
class RequestHead:
    """The head of a request.

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

    method: bytes
    target: bytes
    minor: int
    host: str
    authority: bytes
    lines: list[bytes]
    special: dict[bytes, list[bytes]]
    length: int | None
    keep_alive: bool
    upgrade: bytes
    marked: bool = False

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


@dataclass(slots=True)
class ResponseHead:
    """The head of a response. `length` is that of its headers: None, `CHUNKED`, or a number; see `body`."""

    status: int
    status_line: bytes
    minor: int
    lines: list[bytes]
    special: dict[bytes, list[bytes]]
    length: int | None
    keep_alive: bool


def parse_request(block: bytes, max_headers: int = 200) -> RequestHead:
    """Parse the head of a request.

    Args:
        block: everything before the empty line, without the CRLF of the last header.
        max_headers: the maximum number of headers.

    Raises:
        MessageError: it is malformed, ambiguous, or too large.
    """
    lines = _split(block, max_headers)
    method, target, minor = _request_line(lines[0])
    plain, special = _fields(lines, _REQUEST_ROLES)
    authority, host = _authority(special, minor)
    if not target.startswith(b"/"):
        target = _unusual_target(method, target, authority)
    keep_alive, upgrade = minor == 1, b""
    if b"connection" in special:
        options = _options(special[b"connection"])
        keep_alive = b"close" not in options and (minor == 1 or b"keep-alive" in options)
        upgrade = _upgrade(special, options, minor)
        plain = _without(plain, options)
    length = None if _FRAMING.isdisjoint(special) else _length(special, minor)
    # `in` is several times slower: it first tests whether its operand is a number.
    marked = block.find(b"stager-access") >= 0 or target.find(b"stager_") >= 0
    return RequestHead(
        method, target, minor, host, authority, plain, special, length, keep_alive, upgrade, marked
    )


def read_response(
    data: bytes, max_bytes: int = 65_536, max_headers: int = 200
) -> tuple[ResponseHead, bytes] | None:
    """Parse the head of a response; returns it and the rest of the data, or None while it is incomplete.

    Args:
        data: everything from the first byte of the response.
        max_bytes: the maximum size of the head.
        max_headers: the maximum number of headers.

    Raises:
        MessageError: it is malformed, ambiguous, or too large.
    """
    end = data.find(_END)
    if 0 <= end <= max_bytes:
        try:
            return parse_response(data[:end], max_headers), data[end + 4 :]
        except MessageError:
            pass  # its lines may end with LF alone, or it may have folded headers
    blank = _BLANK_LINE.search(data)
    if (blank.start() if blank else len(data)) > max_bytes:
        raise MessageError(502, "The head is too long.")
    if blank is None:
        return None
    return parse_response(_normalised(data[: blank.start()]), max_headers), data[blank.end() :]


def _normalised(block: bytes) -> bytes:
    """Return the head of a response with CR LF line ends and without folding (RFC 9112, 2.2 and 5.2)."""
    status_line, *headers = block.replace(b"\r\n", b"\n").split(b"\n", 1)
    if not headers:
        return status_line
    if headers[0][:1] in {b" ", b"\t"}:
        raise MessageError(502, "There is a space before the first header.")
    return status_line + _CRLF + _FOLD.sub(b" ", headers[0]).replace(b"\n", _CRLF)


def parse_response(block: bytes, max_headers: int = 200) -> ResponseHead:
    """Parse the head of a response; `block` as for `parse_request`. Raises MessageError."""
    lines = _split(block, max_headers)
    match = _STATUS.fullmatch(lines[0])
    if match is None:
        raise MessageError(502, "The status line is malformed.")
    minor, status = int(match[1]), int(match[2])
    plain, special = _fields(lines, _RESPONSE_ROLES)
    keep_alive = minor == 1
    if b"connection" in special:
        options = _options(special[b"connection"])
        keep_alive = b"close" not in options and (minor == 1 or b"keep-alive" in options)
        plain = _without(plain, options)
    length = None if _FRAMING.isdisjoint(special) else _length(special, minor, may_repeat=True)
    return ResponseHead(status, lines[0], minor, plain, special, length, keep_alive)


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


def _split(block: bytes, max_headers: int) -> list[bytes]:
    lines = block.split(_CRLF)
    if len(lines) - 1 > max_headers:
        raise MessageError(431, "There are too many headers.")
    # Without the allowed characters, only the line ends may remain: no bare CR or LF, no NUL, no other
    # control character.
    if block.translate(None, _TEXT) != _CRLF * (len(lines) - 1):
        raise MessageError(400, "The head contains a control character.")
    return lines


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


def _fields(lines: list[bytes], roles: LruCache[bytes | None]) -> Fields:
    plain: list[bytes] = []
    special: dict[bytes, list[bytes]] = {}
    for line in islice(lines, 1, None):
        name, colon, value = line.partition(b":")
        if not colon:
            raise MessageError(400, "A header has no colon.")
        role = roles[name]
        if role is None:
            plain.append(line)
        elif role:
            special.setdefault(role, []).append(value.strip(b" \t"))
    return plain, special


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


def _options(values: list[bytes]) -> set[bytes]:
    return {option.strip(b" \t").lower() for value in values for option in value.split(b",")}


def _upgrade(special: dict[bytes, list[bytes]], options: set[bytes], minor: int) -> bytes:
    """Return the requested protocols, without HTTP/2: its requests would bypass all checks of the front."""
    if b"upgrade" not in options or minor == 0:
        return b""
    wanted = [name.strip(b" \t") for value in special.get(b"upgrade", ()) for name in value.split(b",")]
    return b", ".join(name for name in wanted if name and not name.lower().startswith(_HTTP_2))


def _without(lines: list[bytes], options: set[bytes]) -> list[bytes]:
    """Remove the headers that `Connection` lists: they are for this hop only."""
    listed = options - _EVERYDAY_OPTIONS
    if not listed:
        return lines
    return [line for line in lines if line.partition(b":")[0].lower() not in listed]


def _length(special: dict[bytes, list[bytes]], minor: int, *, may_repeat: bool = False) -> int | None:
    lengths, codings = special.get(b"content-length"), special.get(b"transfer-encoding")
    if codings is None:
        return _number(lengths, may_repeat=may_repeat) if lengths else None
    if lengths:
        raise MessageError(400, "There are both Content-Length and Transfer-Encoding.")
    if minor == 0:
        raise MessageError(400, "HTTP/1.0 has no Transfer-Encoding.")
    if len(codings) != 1 or codings[0].lower() != b"chunked":
        raise MessageError(400, "The only Transfer-Encoding that is understood is chunked.")
    return CHUNKED


def _number(lengths: list[bytes], *, may_repeat: bool) -> int:
    if may_repeat and (len(lengths) > 1 or b"," in lengths[0]):
        # RFC 9110, section 8.6: several equal values are one.
        lengths = [*{value.strip(b" \t") for line in lengths for value in line.split(b",")}]
    if len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > 18:
        raise MessageError(400, "The Content-Length should be one number.")
    return int(lengths[0])


def _check_method(method: bytes) -> None:
    if not method or method.translate(None, _TOKEN):
        raise MessageError(400, "The method is malformed.")


def is_authority(text: bytes) -> bool:
    """Whether it is a valid `Host` header: a name or an address, with or without a port."""
    return _HOST.fullmatch(text) is not None


def _read_host(authority: bytes) -> str:
    if not is_authority(authority):
        raise MessageError(400, "The Host header is malformed.")
    return normalise_host(authority.decode("ascii"))


def _role_in(special: frozenset[bytes], dropped: frozenset[bytes]) -> Callable[[bytes], bytes | None]:
    """Return a function that maps the name of a header to its role: None if it is forwarded unchanged, the
    lower-case name if the front interprets it, and an empty name if the front removes it.
    """

    def role(name: bytes) -> bytes | None:
        if not name or name.translate(None, _TOKEN):
            raise MessageError(400, "The name of a header is malformed.")
        lower = name.lower()
        if lower in special:
            return lower
        return b"" if lower in dropped or _is_lookalike(lower) else None

    return role


def _role_in_response(name: bytes) -> bytes | None:
    """The same for a response. Headers for proxies, or for the browser's whole storage, are set apart: they
    aren't accepted from a preview."""
    role = _plain_role_in_response(name)
    return name.lower() if role is None and is_for_intermediaries(name.lower()) else role


def is_for_intermediaries(lower: bytes) -> bool:
    """Whether a response header of this name is for a proxy in front of the front, or clears browser
    storage."""
    return lower == CLEARING or lower.startswith(TO_PROXY)


def _is_lookalike(lower: bytes) -> bool:
    """Whether an app could mistake it for a header that the front sets or interprets: CGI turns `-` into `_`.

    `Content_Length` is one: an app that accepts it would find another end of the body.
    """
    return b"_" in lower and lower.replace(b"_", b"-") in FORWARDING | _FRAMING | {b"x-request-id"}


FORWARDING = frozenset(
    {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-forwarded-scheme",
        b"x-forwarded-ssl",
        b"x-real-ip",
    }
)
CLEARING = b"clear-site-data"
"""Would delete the cookies of all previews and of Stager in the browser (Clear Site Data, section 3.1)."""
TO_PROXY = b"x-accel-"
"""An nginx in front of the front would obey them, such as `X-Accel-Redirect` (ngx_http_proxy_module)."""
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_HTTP_2 = (b"h2", b"http/2")
_EVERYDAY_OPTIONS = frozenset({b"", b"close", b"keep-alive", b"upgrade"})
_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})
_HOP_BY_HOP = frozenset(
    {
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"http2-settings",
    }
)
_METHODS = LruCache(_check_method)
_HOSTS = LruCache(_read_host)
_REQUEST_ROLES = LruCache(
    _role_in(
        _FRAMING
        | FORWARDING
        | {b"host", b"connection", b"upgrade", b"expect", b"x-request-id", b"x-stager-bypass"},
        _HOP_BY_HOP | {b"proxy"},  # CGI would pass it as the variable HTTP_PROXY
    )
)
_plain_role_in_response = _role_in(_FRAMING | {b"connection", b"upgrade", b"set-cookie"}, _HOP_BY_HOP)
_RESPONSE_ROLES = LruCache(_role_in_response)
