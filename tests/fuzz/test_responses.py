"""Whatever an application answers: a client gets what an independent reader would have got, or an end."""

from __future__ import annotations

from itertools import pairwise

import h11
from hypothesis import given
from hypothesis import strategies as st

from stager.front.http.body import response_framing, response_length
from stager.front.http.head import UNTIL_CLOSE, MessageError
from stager.front.http.headers import response_head
from stager.front.http.response_parser import parse_response
from tests.fuzz.streams import CUTS, RESPONSES
from tests.length import length

LENGTH = length(500)
METHODS = st.sampled_from([b"GET", b"HEAD", b"POST"])


def passed_on(data: bytes, method: bytes, minor: int, cuts: list[int]) -> tuple[bytes, bool]:
    """What the client gets of one answer that comes in pieces, and whether it is whole."""
    wire, waiting, framing = b"", b"", None
    edges = sorted({0, *(cut % (len(data) + 1) for cut in cuts), len(data)})
    try:
        for begin, end in pairwise(edges):
            waiting += data[begin:end]
            if framing is None:
                block, found, rest = waiting.partition(b"\r\n\r\n")
                if not found:
                    continue
                head = parse_response(block)
                if head.status < 200:
                    return b"", False
                length = response_length(method, head)
                wire += response_head(head, minor, keep=length != UNTIL_CLOSE)
                framing, waiting = response_framing(length, unwrap=minor == 0), rest
            if framing.done:
                break
            piece, _ = framing.feed(waiting)
            wire, waiting = wire + piece, b""
    except MessageError:
        return wire, False
    return wire, framing is not None and (framing.done or length == UNTIL_CLOSE)


def read(data: bytes, method: bytes) -> tuple[int, bytes, bool] | None:
    """Status, body and whether it is whole, as h11 reads them; None for what is no response."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "x.test")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    client.receive_data(b"")
    status, body = 0, b""
    try:
        while True:
            match client.next_event():
                case h11.Response(status_code=code):
                    status = code
                case h11.Data(data=piece):
                    body += piece
                case h11.EndOfMessage():
                    return status, body, True
                case _:
                    return None
    except h11.RemoteProtocolError:
        return (status, body, False) if status else None


@LENGTH
@given(RESPONSES, METHODS, CUTS)
def test_the_client_reads_what_the_app_sent(data: bytes, method: bytes, cuts: list[int]) -> None:
    wire, whole = passed_on(data, method, 1, cuts)
    said, got = read(data, method), read(wire, method)
    if not wire:
        return
    assert got is not None, "what the front lets pass is a response"
    assert got[2] == whole, "half an answer is never taken for a whole one"
    if said is not None and whole:
        assert got == said


@LENGTH
@given(RESPONSES, CUTS)
def test_a_client_of_http_1_0_never_gets_a_chunk(data: bytes, cuts: list[int]) -> None:
    wire, _ = passed_on(data, b"GET", 0, cuts)
    head, _, _ = wire.partition(b"\r\n\r\n")
    assert not any(line.startswith(b"transfer-encoding:") for line in head.lower().split(b"\r\n"))


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=5), CUTS)
def test_chunks_become_a_body_for_http_1_0(chunks: list[bytes], cuts: list[int]) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    wire, whole = passed_on(data, b"GET", 0, cuts)
    assert whole
    assert wire.partition(b"\r\n\r\n")[2] == b"".join(chunks)
