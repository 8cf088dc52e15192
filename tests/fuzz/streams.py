"""What strangers send: requests and responses that are well-formed, nearly so, or not at all."""

from __future__ import annotations

from hypothesis import strategies as st

METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"M-SEARCH"])
TARGETS = st.sampled_from(
    [b"/", b"/a?b=c", b"/%00%0d%0a", b"/a//../b", b"*", b"http://x.test/a", b"/\xc3\xa4"]
)
STATUSES = st.sampled_from([b"200 OK", b"204 No Content", b"304 Not Modified", b"404 ", b"500", b"301 \xe9"])
TOKENS = st.text("abcXYZ019-_!#$%&'*+.^`|~", min_size=1, max_size=8).map(str.encode)
VALUES = st.binary(max_size=20).map(lambda value: bytes(byte for byte in value if byte > 31 and byte != 127))
SUBTLE = st.sampled_from(
    [
        b"Content-Length: 5",
        b"Content-Length: 0",
        b"Content-Length:\t7 ",
        b"Content-Length: 005",
        b"Content-Length: +5",
        b"Content-Length: 5, 6",
        b"Content-Length: 0x5",
        b"Content-Length : 5",
        b"Content_Length: 5",
        b"content-length: 3",
        b"Content-Length: \xb2",
        b"Transfer-Encoding: chunked",
        b"transfer-encoding:chunked",
        b"Transfer-Encoding: ChUnKeD ",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding\t: chunked",
        b"Transfer_Encoding: chunked",
        b"Transfer-Encoding: chunked\r",
        b"X: y\nTransfer-Encoding: chunked",
        b"X: y\rTransfer-Encoding: chunked",
        b"X: y\r\n Transfer-Encoding: chunked",
        b" Transfer-Encoding: chunked",
        b"\0Transfer-Encoding: chunked",
        b"X: y\0",
        b"X: y\n\nGET /inner HTTP/1.1",
        b"Connection: close",
        b"Connection: keep-alive, x",
        b"Connection: content-length, transfer-encoding, host",
        b"Connection: upgrade\r\nUpgrade: websocket",
        b"Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AA",
        b"Expect: 100-continue",
        b"TE: trailers",
        b"Trailer: X",
        b"Host: other.test",
        b"X-Forwarded-For: 6.6.6.6",
        b"X_Forwarded_For: 6.6.6.6",
        b"Proxy: http://other.test",
        b"X-Request-Id: 1",
    ]
)
LINES = st.lists(SUBTLE | st.builds(lambda name, value: name + b": " + value, TOKENS, VALUES), max_size=4)
INNER = b"GET /inner HTTP/1.1\r\nHost: x.test\r\n\r\n"
CHUNKS = st.sampled_from(
    [
        b"5\r\nhello\r\n0\r\n\r\n",
        b"3;x=y\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
        b"26\r\n" + INNER + b"\r\n0\r\n\r\n",
        b"0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5;\na\r\nhello\r\n0\r\n\r\n",
        b"100000000000000005\r\nhello\r\n0\r\n\r\n",
        b"0\r\nContent-Length: 9\r\n\r\n",
        b"0\r\n\n",
        b"00\r\n\r\n",
        b"-1\r\n\r\n",
    ]
)
BODIES = st.just(b"") | st.sampled_from([b"hello", INNER]) | CHUNKS


def _request(method: bytes, target: bytes, lines: list[bytes], minor: bytes) -> bytes:
    return b"\r\n".join([method + b" " + target + b" HTTP/1." + minor, b"Host: x.test", *lines, b"", b""])


def _framed(block: bytes, body: bytes) -> bytes:
    """The request with this body and its Content-Length."""
    return block[:-2] + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _chunked(block: bytes, chunks: list[bytes]) -> bytes:
    """The same with chunks."""
    pieces = (b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return block[:-2] + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(pieces) + b"0\r\n\r\n"


PLAIN_LINES = st.lists(
    st.builds(lambda name, value: b"X-" + name + b": " + value.strip(), TOKENS, VALUES), max_size=3
)
PLAIN_HEADS = st.builds(_request, METHODS, TARGETS.filter(bytes.isascii), PLAIN_LINES, st.just(b"1")).filter(
    lambda block: not (b" * " in block or b"http:" in block)
)
GOOD = st.lists(
    PLAIN_HEADS
    | st.builds(_framed, PLAIN_HEADS, st.binary(max_size=40))
    | st.builds(_chunked, PLAIN_HEADS, st.lists(st.binary(min_size=1, max_size=20), max_size=3)),
    min_size=1,
    max_size=4,
)
"""Requests that every reader must understand, on one connection."""

DOUBTFUL = st.lists(
    st.builds(
        lambda head, body: head + body,
        st.builds(_request, METHODS, TARGETS, LINES, st.sampled_from([b"1", b"1", b"1", b"0"])),
        BODIES,
    ),
    min_size=1,
    max_size=4,
).map(b"".join)
"""What may be requests, on one connection."""

DAMAGE = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.integers(0, 3),
        st.sampled_from([b"", b"\0", b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"0", b"5", b",", b";"]),
    ),
    max_size=3,
)


@st.composite
def damaged(draw: st.DrawFn, streams: st.SearchStrategy[bytes]) -> bytes:
    """One of these with a few bytes lost, or replaced by others."""
    data = bytearray(draw(streams))
    for place, width, instead in draw(DAMAGE):
        start = place % (len(data) + 1)
        data[start : start + width] = instead
    return bytes(data)


ANYTHING = damaged(DOUBTFUL)
CUTS = st.lists(st.integers(0, 600), max_size=6)
"""Where what is sent is cut into pieces."""

RESPONSES = damaged(
    st.lists(
        st.builds(
            lambda first, lines, body: b"\r\n".join([first, *lines, b"", b""]) + body,
            st.builds(bytes.__add__, st.sampled_from([b"HTTP/1.1 ", b"HTTP/1.0 "]), STATUSES),
            LINES,
            BODIES,
        ),
        min_size=1,
        max_size=3,
    ).map(b"".join)
)
"""What an application may answer, whatever it was asked."""
