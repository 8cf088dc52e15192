"""The framings: the end of a body doesn't depend on how the data is split."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stager.front.http.body import Chunked, Framing, Length, UntilClose, response_length
from stager.front.http.head import MessageError
from stager.front.http.response_parser import parse_response

GOOD = b"5\r\nhello\r\n6;name=value\r\n world\r\n0\r\nX-Sum: abc\r\n\r\n"


def feed(framing: Framing, data: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
    """What a framing passes on, and what it leaves, when `data` arrives in pieces that end at `cuts`."""
    passed, rest = b"", b""
    edges = sorted({0, *(cut % (len(data) + 1) for cut in cuts), len(data)})
    for begin, end in pairwise(edges):
        if framing.done:
            rest += data[begin:end]
            continue
        piece, left = framing.feed(data[begin:end])
        passed += piece
        rest += left
    return passed, rest


@given(st.lists(st.integers(0, 200)), st.binary(max_size=20))
def test_chunks_end_at_the_same_byte_however_they_are_cut(cuts: list[int], after: bytes) -> None:
    framing = Chunked()
    assert feed(framing, GOOD + after, cuts) == (GOOD, after)
    assert framing.done


@given(st.lists(st.integers(0, 200)), st.lists(st.binary(min_size=1, max_size=50), max_size=5))
def test_content_is_unwrapped(cuts: list[int], chunks: list[bytes]) -> None:
    data = b"".join(b"%X\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    framing = Chunked(unwrap=True)
    assert feed(framing, data + b"next", cuts) == (b"".join(chunks), b"next")


@given(st.lists(st.integers(0, 60)), st.integers(1, 40))
def test_a_length_ends_at_the_same_byte_however_it_is_cut(cuts: list[int], length: int) -> None:
    data = bytes(range(50))
    framing = Length(length)
    assert feed(framing, data, cuts) == (data[:length], data[length:])
    assert framing.done


def test_nothing_ends_a_body_until_close() -> None:
    framing = UntilClose()
    assert framing.feed(b"abc") == (b"abc", b"")
    assert not framing.done


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"g\r\n",
        b"-5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5\nhello\r\n",
        b"5\rhello\r\n",
        b"5\r\nhelloX\r\n",
        b"5\r\nhello\n",
        b"5\r\nhelloworld\r\n",
        b"5;a\nb\r\nhello\r\n",
        b"5;a\rb\r\nhello\r\n",
        b"5;a\0\r\nhello\r\n",
        b"5;" + b"a" * 300 + b"\r\nhello\r\n",
        b"fffffffffffffffff\r\n",
        b"1_0\r\n",
        b"0\r\nbad trailer\r\n\r\n",
        b"0\r\nX : 1\r\n\r\n",
        b"0\r\nX: 1\n\r\n",
        b"0\r\nContent-Length: 5\r\n\r\n",
        b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"0\r\n" + b"X: 1\r\n" * 5000 + b"\r\n",
        b"0\r\n\n",
    ],
)
@pytest.mark.parametrize("step", [1, 3, 1_000_000])
def test_malformed_chunks_are_refused(data: bytes, step: int) -> None:
    framing = Chunked()
    with pytest.raises(MessageError):
        feed(framing, data, list(range(0, len(data), step)))


def test_an_endless_size_line_is_not_collected() -> None:
    with pytest.raises(MessageError):
        feed(Chunked(), b"0" * 1000, list(range(1000)))


@pytest.mark.parametrize(
    ("method", "block", "length"),
    [
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5", 5),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5", 0),
        (b"GET", b"HTTP/1.1 204 No Content", 0),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5", 0),
        (b"GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", -1),
        (b"GET", b"HTTP/1.1 200 OK", -2),
    ],
)
def test_length_of_a_response(method: bytes, block: bytes, length: int) -> None:
    assert response_length(method, parse_response(block)) == length
