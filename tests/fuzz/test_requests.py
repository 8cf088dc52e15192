"""Whatever a client sends: what the front passes on means the same to every reader, and to itself."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given

from stager.front.http.body import request_framing
from stager.front.http.head import MessageError, RequestHead
from stager.front.http.headers import Forwarding, request_head
from stager.front.http.request_parser import parse_request
from tests.fuzz.readers import Seen, panel, read_strictly
from tests.fuzz.streams import ANYTHING, CUTS, GOOD
from tests.length import length

PANEL = list(panel())
FORWARDING = Forwarding("192.0.2.1", "http", trusted=False)
LENGTH = length(500)


def passed_on(data: bytes, cuts: list[int]) -> tuple[list[RequestHead], bytes]:
    """The requests that the front finds in what comes in pieces, and what an application gets of them."""
    heads: list[RequestHead] = []
    wire, waiting, framing = b"", b"", None
    edges = sorted({0, *(cut % (len(data) + 1) for cut in cuts), len(data)})
    for begin, end in pairwise(edges):
        waiting += data[begin:end]
        try:
            while waiting:
                if framing is None:
                    waiting = waiting.removeprefix(b"\r\n")
                    block, found, rest = waiting.partition(b"\r\n\r\n")
                    if not found:
                        break
                    head = parse_request(block)
                    heads.append(head)
                    wire += request_head(head, FORWARDING.facts(head), b"id")
                    waiting, framing = rest, request_framing(head)
                if not framing.done:
                    piece, waiting = framing.feed(waiting)
                    wire += piece
                if not framing.done:
                    break
                framing = None
        except MessageError:
            break
    return heads, wire


@LENGTH
@given(ANYTHING, CUTS)
def test_every_reader_finds_the_same_requests(data: bytes, cuts: list[int]) -> None:
    heads, wire = passed_on(data, cuts)
    wanted = [(head.method, head.target) for head in heads]
    strict, refused = read_strictly(wire)
    assert [(seen.method, seen.target) for seen in strict] == wanted[: len(strict)]
    for reader in PANEL:
        found = reader.read(wire)
        assert [(seen.method, seen.target) for seen in found] == wanted, reader
        if not refused:
            assert found == strict, reader


def facts_of(head: RequestHead) -> list[object]:
    """Everything that the front knows of a request; a head has no equality of its own."""
    names = ("method", "target", "minor", "host", "authority", "lines", "special", "length")
    return [getattr(head, name) for name in (*names, "keep_alive", "upgrade", "marked")]


@LENGTH
@given(ANYTHING, CUTS)
def test_it_is_the_same_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    heads, wire = passed_on(data, cuts)
    heads_at_once, wire_at_once = passed_on(data, [])
    assert [facts_of(head) for head in heads] == [facts_of(head) for head in heads_at_once]
    # Of a chunk that turns out to be malformed, the beginning may be on its way already.
    assert wire.startswith(wire_at_once)


@LENGTH
@given(GOOD, CUTS)
def test_what_is_good_is_understood_as_it_was_sent(requests: list[bytes], cuts: list[int]) -> None:
    data = b"".join(requests)
    sent, refused = read_strictly(data)
    assert (len(sent), refused) == (len(requests), False)
    _, wire = passed_on(data, cuts)
    got, refused = read_strictly(wire)
    assert not refused
    assert got == sent
    assert all(seen.whole for seen in got)


def test_the_readers_are_as_careless_as_they_claim() -> None:
    """Each habit makes a difference, or this would prove little."""
    for lines in (
        b"Content-Length: 24\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"Content-Length: 0\r\nContent-Length: 24\r\n",
        b"Content_Length: 24\r\n",
        b"Content-Length : 24\r\n",
        b"X: y\n",
    ):
        shape = b"POST / HTTP/1.1\r\n" + lines + b"\r\nGET /inner HTTP/1.1\r\n\r\n"
        found: set[tuple[Seen, ...]] = {tuple(reader.read(shape)) for reader in PANEL}
        assert len(found) > 1, shape
