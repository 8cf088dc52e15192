"""Heads of HTTP/1.1 messages, read strictly: whatever two servers could read differently is refused.

Pure: bytes in, values out. A request that this parser and the app behind it understood differently could be
used to smuggle a second one past the front, so nothing doubtful in one is repaired (RFC 9112, sections 2.2,
3, 5 and 6). In responses, which nobody but the client of that request gets, the few liberties that those
sections allow are taken: lines that end with LF alone, folded headers, and a Content-Length that is repeated.
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
    """A message that is refused.

    Args:
        status: the answer to a client that sent it.
        message: what is wrong, one sentence.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(slots=True)
class RequestHead:
    """What a client asked.

    Args:
        method: as sent; always a token.
        target: in origin form (`/path?query`), or `*`.
        minor: 0 or 1, of HTTP/1.x.
        host: as route tables know it; empty only for HTTP/1.0 without one.
        authority: the `Host` header as sent.
        lines: the headers that the front doesn't have to understand, as sent, in order.
        special: the values of those that it does, by lower-case name.
        length: of the body: None when there is none, or `CHUNKED`.
        keep_alive: whether the client wants the connection to stay.
        upgrade: the protocol that it wants to change to; empty when none.
        marked: whether there may be something in it that is meant for the front alone; see `gate`.
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
        """Whether sending it twice does no harm: an idempotent method, and no body to send again."""
        return self.length is None and self.method in _IDEMPOTENT and not self.upgrade

    @property
    def expects_continue(self) -> bool:
        """Whether the client may wait for a `100 Continue` before it sends the body."""
        return self.minor == 1 and b"expect" in self.special

    def readdress(self, host: str) -> None:
        """Make it a request for `host`. A `Host` header that says so already stays as sent, with its port."""
        if self.host != host:
            self.host, self.authority = host, host.encode("ascii")
            self.special[b"host"] = [self.authority]

    def value(self, name: bytes) -> bytes:
        """The first value among `lines` of the header `name` (lower case); empty when there is none."""
        for line in self.lines:
            if line[: len(name) + 1].lower() == name + b":":
                return line[len(name) + 1 :].strip(b" \t")
        return b""


@dataclass(slots=True)
class ResponseHead:
    """What an app answered. `length` is that of its header: None, `CHUNKED`, or a number; see `body`."""

    status: int
    status_line: bytes
    minor: int
    lines: list[bytes]
    special: dict[bytes, list[bytes]]
    length: int | None
    keep_alive: bool


def parse_request(block: bytes, most_headers: int = 200) -> RequestHead:
    """Read the head of a request.

    Args:
        block: everything before the empty line, without the CRLF of the last header.
        most_headers: more are refused.

    Raises:
        MessageError: it is malformed, ambiguous, or too much.
    """
    lines = _split(block, most_headers)
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
    # `in` would take several times as long: it tries first whether what is looked for is a number.
    marked = block.find(b"stager-pass") >= 0 or target.find(b"stager_") >= 0
    return RequestHead(
        method, target, minor, host, authority, plain, special, length, keep_alive, upgrade, marked
    )


def read_response(
    data: bytes, most_bytes: int = 65_536, most_headers: int = 200
) -> tuple[ResponseHead, bytes] | None:
    """Take the head of a response off what has come; with it comes the rest. None while the head isn't whole.

    Args:
        data: everything from the first byte of the response.
        most_bytes: a longer head is refused, and so are more headers than `most_headers`.

    Raises:
        MessageError: it is malformed, ambiguous, or too much.
    """
    end = data.find(_END)
    if 0 <= end <= most_bytes:
        try:
            return parse_response(data[:end], most_headers), data[end + 4 :]
        except MessageError:
            pass  # it may be one of which the lines end with LF alone, or a folded one
    blank = _BLANK_LINE.search(data)
    if (blank.start() if blank else len(data)) > most_bytes:
        raise MessageError(502, "The head is too long.")
    if blank is None:
        return None
    return parse_response(_mended(data[: blank.start()]), most_headers), data[blank.end() :]


def _mended(block: bytes) -> bytes:
    """The head of a response with CR LF at the end of each line, and unfolded (RFC 9112, 2.2 and 5.2)."""
    status_line, *headers = block.replace(b"\r\n", b"\n").split(b"\n", 1)
    if not headers:
        return status_line
    if headers[0][:1] in {b" ", b"\t"}:
        raise MessageError(502, "A blank stands before the first header.")
    return status_line + _CRLF + _FOLD.sub(b" ", headers[0]).replace(b"\n", _CRLF)


def parse_response(block: bytes, most_headers: int = 200) -> ResponseHead:
    """Read the head of a response; `block` as for `parse_request`. Raises MessageError."""
    lines = _split(block, most_headers)
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


def check_incomplete(start: bytes, most_bytes: int, most_line: int) -> None:
    """Refuse the beginning of a head that can no longer become a good one. Raises MessageError."""
    if start.startswith(b"PRI * HTTP/2"):
        raise MessageError(505, "This is HTTP/2 without TLS; please use HTTP/1.1.")
    if b"\r\n" not in start[: most_line + 2] and len(start) > most_line:
        raise MessageError(414, "The request line is too long.")
    if len(start) > most_bytes:
        raise MessageError(431, "The headers are too long.")
    if start.count(b"\n") != start.count(b"\r\n"):
        raise MessageError(400, "Lines have to end with CR LF.")


def _split(block: bytes, most_headers: int) -> list[bytes]:
    lines = block.split(_CRLF)
    if len(lines) - 1 > most_headers:
        raise MessageError(431, "There are too many headers.")
    # All that may remain of a head without its text is the line ends: no bare CR or LF, no NUL, no control
    # character.
    if block.translate(None, _TEXT) != _CRLF * (len(lines) - 1):
        raise MessageError(400, "The head has a control character in it.")
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
    """An authority in lower case, without a port that says nothing (RFC 9110, section 4.2.3)."""
    return authority.lower().removesuffix(default).removesuffix(b":")


def _options(values: list[bytes]) -> set[bytes]:
    return {option.strip(b" \t").lower() for value in values for option in value.split(b",")}


def _upgrade(special: dict[bytes, list[bytes]], options: set[bytes], minor: int) -> bytes:
    """What to upgrade to. Not to HTTP/2: it would carry requests past everything that is checked here."""
    if b"upgrade" not in options or minor == 0:
        return b""
    wanted = [name.strip(b" \t") for value in special.get(b"upgrade", ()) for name in value.split(b",")]
    return b", ".join(name for name in wanted if name and not name.lower().startswith(_HTTP_2))


def _without(lines: list[bytes], options: set[bytes]) -> list[bytes]:
    """The headers that `Connection` doesn't name: those it names are meant for us and go no further."""
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
        # RFC 9110, section 8.6: several that agree are one.
        lengths = [*{value.strip(b" \t") for line in lengths for value in line.split(b",")}]
    if len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > 18:
        raise MessageError(400, "The Content-Length should be one number.")
    return int(lengths[0])


def _check_method(method: bytes) -> None:
    if not method or method.translate(None, _TOKEN):
        raise MessageError(400, "The method is malformed.")


def is_authority(text: bytes) -> bool:
    """Whether it may stand in a `Host` header: a name or an address, with or without a port."""
    return _HOST.fullmatch(text) is not None


def _read_host(authority: bytes) -> str:
    if not is_authority(authority):
        raise MessageError(400, "The Host header is malformed.")
    return normalise_host(authority.decode("ascii"))


def _role_in(special: frozenset[bytes], dropped: frozenset[bytes]) -> Callable[[bytes], bytes | None]:
    """A function that tells what a header is for, by its name as sent.

    That is None for what passes as it is, the lower-case name for what the front has to understand, and an
    empty name for what it removes.
    """

    def role(name: bytes) -> bytes | None:
        if not name or name.translate(None, _TOKEN):
            raise MessageError(400, "The name of a header is malformed.")
        lower = name.lower()
        if lower in special:
            return lower
        return b"" if lower in dropped or _is_impostor(lower) else None

    return role


def _role_in_response(name: bytes) -> bytes | None:
    """The same for a response. What speaks to a proxy or to a browser's whole storage is set aside: of a
    preview nobody takes it."""
    role = _plain_role_in_response(name)
    return name.lower() if role is None and is_for_intermediaries(name.lower()) else role


def is_for_intermediaries(lower: bytes) -> bool:
    """Whether a response's header of this name is for a proxy before us, or for a browser's whole storage."""
    return lower == CLEARING or lower.startswith(TO_PROXY)


def _is_impostor(lower: bytes) -> bool:
    """Whether an app could take it for a header that the front vouches for: CGI turns `-` into `_`.

    `Content_Length` is one: to whoever reads it so, the body would end elsewhere.
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
"""Would have a browser forget the cookies of all previews and of Stager (Clear Site Data, section 3.1)."""
TO_PROXY = b"x-accel-"
"""What an nginx before us would obey, such as `X-Accel-Redirect` (nginx docs, ngx_http_proxy_module)."""
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
        _HOP_BY_HOP | {b"proxy"},  # CGI would read it as the variable HTTP_PROXY
    )
)
_plain_role_in_response = _role_in(_FRAMING | {b"connection", b"upgrade", b"set-cookie"}, _HOP_BY_HOP)
_RESPONSE_ROLES = LruCache(_role_in_response)
