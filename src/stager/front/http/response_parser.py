"""The parser of response heads. See `fields` for what it tolerates."""

from __future__ import annotations

import re

from stager.front.http.fields import (
    CRLF,
    FRAMING,
    HOP_BY_HOP,
    body_length,
    connection_options,
    parse_fields,
    role_in,
    split_lines,
    without,
)
from stager.front.http.head import MessageError, ResponseHead
from stager.front.http.lru_cache import LruCache

CLEARING = b"clear-site-data"
"""Would delete the cookies of all previews and of Stager in the browser (Clear Site Data, section 3.1)."""
TO_PROXY = b"x-accel-"
"""An nginx in front of the front would obey them, such as `X-Accel-Redirect` (ngx_http_proxy_module)."""
_END = b"\r\n\r\n"
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_FOLD = re.compile(rb"[ \t]*\n[ \t]+")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: .*)?", re.DOTALL)


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
    return status_line + CRLF + _FOLD.sub(b" ", headers[0]).replace(b"\n", CRLF)


def parse_response(block: bytes, max_headers: int = 200) -> ResponseHead:
    """Parse the head of a response; `block` as for `parse_request`. Raises MessageError."""
    lines = split_lines(block, max_headers)
    minor, status = _STATUS_LINES[lines[0]]
    plain, special = parse_fields(lines, _ROLES)
    keep_alive = minor == 1
    if b"connection" in special:
        options = connection_options(special[b"connection"])
        keep_alive = b"close" not in options and (minor == 1 or b"keep-alive" in options)
        plain = without(plain, options)
    length = None if FRAMING.isdisjoint(special) else body_length(special, minor, may_repeat=True)
    return ResponseHead(status, lines[0], minor, plain, special, length=length, keep_alive=keep_alive)


def _read_status_line(line: bytes) -> tuple[int, int]:
    """The minor version and the status. Raises MessageError."""
    match = _STATUS.fullmatch(line)
    if match is None:
        raise MessageError(502, "The status line is malformed.")
    return int(match[1]), int(match[2])


def _role_in_response(name: bytes) -> bytes | None:
    """The same for a response. Headers for proxies, or for the browser's whole storage, are set apart: they
    aren't accepted from a preview."""
    role = _plain_role_in_response(name)
    return name.lower() if role is None and is_for_intermediaries(name.lower()) else role


def is_for_intermediaries(lower: bytes) -> bool:
    """Whether a response header of this name is for a proxy in front of the front, or clears browser
    storage."""
    return lower == CLEARING or lower.startswith(TO_PROXY)


_plain_role_in_response = role_in(FRAMING | {b"connection", b"upgrade", b"set-cookie"}, HOP_BY_HOP)
_ROLES = LruCache(_role_in_response)
_STATUS_LINES = LruCache(_read_status_line)
