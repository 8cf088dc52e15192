"""Header fields, parsed strictly: ambiguous messages are rejected.

Pure. If this parser and the app read a request differently, a second request could be smuggled past the
front, so ambiguous requests aren't repaired (RFC 9112, sections 2.2, 3, 5 and 6). A response is seen only by
the client of its request, so what those sections tolerate is accepted there: lines that end with LF alone,
folded headers, and a repeated Content-Length.
"""

from __future__ import annotations

from collections.abc import Callable

from stager.front.http.head import CHUNKED, MessageError
from stager.front.http.lru_cache import LruCache

CRLF = b"\r\n"
TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FRAMING = frozenset({b"content-length", b"transfer-encoding"})
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
HOP_BY_HOP = frozenset(
    {
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"http2-settings",
    }
)
_TEXT = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
_EVERYDAY_OPTIONS = frozenset({b"", b"close", b"keep-alive", b"upgrade"})

Fields = tuple[list[bytes], dict[bytes, list[bytes]]]


def split_lines(block: bytes, max_headers: int) -> list[bytes]:
    """Split a head into its first line and its fields. Raises MessageError."""
    lines = block.split(CRLF)
    if len(lines) - 1 > max_headers:
        raise MessageError(431, "There are too many headers.")
    # Without the allowed characters, only the line ends may remain: no bare CR or LF, no NUL, no other
    # control character.
    if block.translate(None, _TEXT) != CRLF * (len(lines) - 1):
        raise MessageError(400, "The head contains a control character.")
    return lines


def parse_fields(lines: list[bytes], roles: LruCache[bytes | None]) -> Fields:
    """Parse the fields of a head.

    Args:
        lines: the first line of the head, which is skipped, and the fields.
        roles: the role of each name; see `role_in`.

    Returns:
        The lines to forward as they are, and the values of the fields that the front interprets, by
        lower-case name.
    """
    plain: list[bytes] = []
    special: dict[bytes, list[bytes]] = {}
    for number in range(1, len(lines)):  # compiled, it is faster than an iterator
        line = lines[number]
        name, colon, value = line.partition(b":")
        if not colon:
            raise MessageError(400, "A header has no colon.")
        role = roles[name]
        if role is None:
            plain.append(line)
        elif role:
            special.setdefault(role, []).append(value.strip(b" \t"))
    return plain, special


def connection_options(values: list[bytes]) -> set[bytes]:
    """The options of the `Connection` fields, in lower case."""
    return {option.strip(b" \t").lower() for value in values for option in value.split(b",")}


def without(lines: list[bytes], options: set[bytes]) -> list[bytes]:
    """Remove the fields that `Connection` lists: they are for this hop only."""
    listed = options - _EVERYDAY_OPTIONS
    if not listed:
        return lines
    return [line for line in lines if line.partition(b":")[0].lower() not in listed]


def body_length(special: dict[bytes, list[bytes]], minor: int, *, may_repeat: bool = False) -> int | None:
    """The length of the body by its fields, or `CHUNKED`; None without such fields.

    Args:
        may_repeat: whether several equal lengths are accepted.

    Raises:
        MessageError: the fields are ambiguous.
    """
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


def role_in(special: frozenset[bytes], dropped: frozenset[bytes]) -> Callable[[bytes], bytes | None]:
    """Return a function that maps the name of a field to its role: None if it is forwarded unchanged, the
    lower-case name if the front interprets it, and an empty name if the front removes it.
    """

    def role(name: bytes) -> bytes | None:
        if not name or name.translate(None, TOKEN):
            raise MessageError(400, "The name of a header is malformed.")
        lower = name.lower()
        if lower in special:
            return lower
        return b"" if lower in dropped or _is_lookalike(lower) else None

    return role


def _is_lookalike(lower: bytes) -> bool:
    """Whether an app could mistake it for a header that the front sets or interprets: CGI turns `-` into `_`.

    `Content_Length` is one: an app that accepts it would find another end of the body.
    """
    return b"_" in lower and lower.replace(b"_", b"-") in FORWARDING | FRAMING | {b"x-request-id"}
