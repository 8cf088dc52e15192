"""A running front and strangers: whatever they send, nothing is smuggled, and it serves on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

from hypothesis import given

from tests.fuzz.readers import panel, read_strictly
from tests.fuzz.recorder import Recorder
from tests.fuzz.streams import ANYTHING, CUTS, INNER
from tests.length import length
from tests.unit.front.harness import Rig, rig

HOST = "x.test"
"""That of the streams."""
PANEL = list(panel())


@contextlib.asynccontextmanager
async def observed(folder: Path) -> AsyncIterator[tuple[Rig, Recorder]]:
    """A front, and all that it passes on."""
    recorder = Recorder()
    async with rig(folder) as front:
        await front.serve({HOST: await recorder.start()})
        yield front, recorder
        await recorder.stop()


async def send(front: Rig, data: bytes, cuts: list[int]) -> bytes:
    """Send it in pieces, and hang up; what was answered."""
    edges = sorted({0, *(cut % (len(data) + 1) for cut in cuts), len(data)})
    answer = b""
    async with front.dial() as (reader, writer):
        with contextlib.suppress(OSError, TimeoutError):
            for begin, end in pairwise(edges):
                writer.write(data[begin:end])
                await writer.drain()
                await asyncio.sleep(0)
            # Until the front has had time to read it: it drops what a client that has gone still wants.
            while piece := await asyncio.wait_for(reader.read(1 << 16), 0.02):
                answer += piece
    return answer


def assert_unanimous(connections: list[bytes]) -> list[bytes]:
    """All parsers find the same requests in what the application was sent; their targets."""
    targets: list[bytes] = []
    for wire in connections:
        strict, _ = read_strictly(wire)
        for reader in PANEL:
            found = [(seen.method, seen.target) for seen in reader.read(wire)]
            assert found[: len(strict)] == [(seen.method, seen.target) for seen in strict], (reader, wire)
            assert len(found) <= len(strict) + 1, (reader, wire)
        targets += [seen.target for seen in strict]
    return targets


def test_no_stream_is_read_in_two_ways(tmp_path: Path) -> None:
    """One front for all of them, whose connections to the application are kept from one to the next."""

    async def play() -> None:
        async with observed(tmp_path) as (front, recorder):
            loop = asyncio.get_running_loop()
            await asyncio.to_thread(many, loop, front, recorder)
            assert (await front.ask(host=HOST)).status == 200

    def many(loop: asyncio.AbstractEventLoop, front: Rig, recorder: Recorder) -> None:
        @length(300)
        @given(ANYTHING, CUTS)
        def one(data: bytes, cuts: list[int]) -> None:
            before = len(recorder.connections)
            asyncio.run_coroutine_threadsafe(send(front, data, cuts), loop).result(30)
            assert_unanimous(recorder.connections[max(0, before - 1) :])

        one()

    asyncio.run(play())


SHAPES = {
    "CL.TE": b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE.CL": b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n",
    "two lengths, the other way": b"Content-Length: %d\r\nContent-Length: 0\r\n\r\n",
    "two lengths in one": b"Content-Length: 0, %d\r\n\r\n",
    "a length with a sign": b"Content-Length: +%d\r\n\r\n",
    "a hexadecimal length": b"Content-Length: 0x26\r\n\r\n",
    "a length with a blank": b"Content-Length: 2 6\r\n\r\n",
    "a length in other digits": b"Content-Length: \xb2\r\n\r\n",
    "a blank before the colon": b"Content-Length : %d\r\n\r\n",
    "TE with a blank": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "TE with a tab": b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "TE twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "TE that isn't last": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "TE that is none": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "TE after a fold": b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE after a bare LF": b"X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE after a bare CR": b"X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE after a NUL": b"X: y\0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE that Connection names": b"Connection: transfer-encoding\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "the end of a head by LF": b"X: y\n\n",
    "the end of a head by LF and CR LF": b"X: y\n\r\n",
    "a head that ends in a header": b"X: y\r\n\n\r\n",
    "a chunk's size with a blank": b"Transfer-Encoding: chunked\r\n\r\n0 \r\n\r\n",
    "a chunk's size with a sign": b"Transfer-Encoding: chunked\r\n\r\n-0\r\n\r\n",
    "a chunk's size in C": b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
    "a chunk's size that is too big": b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n",
    "a chunk's end by LF": b"Transfer-Encoding: chunked\r\n\r\n0\n\r\n",
    "a chunk's extension with LF": b"Transfer-Encoding: chunked\r\n\r\n0;\nx\r\n\r\n",
    "a chunk's extension with CR": b"Transfer-Encoding: chunked\r\n\r\n0;\rx\r\n\r\n",
    "a chunk longer than it said": b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    "a trailer that frames": b"Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: %d\r\n\r\n",
    "a trailer with LF": b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n",
    "a length among another protocol": b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: x\r\n\r\n",
    "two hosts": b"Host: other.test\r\n\r\n",
    "a length for what has none": b"Content-Length:\r\n\r\n",
}
"""What follows the first lines of a request, before a second one. Sources: RFC 9112, sections 6.3 and 11.2;
the shapes are those that servers and proxies have published advisories about."""


async def test_shapes_that_smuggle_are_refused(tmp_path: Path) -> None:
    async with observed(tmp_path) as (front, recorder):
        for name, middle in SHAPES.items():
            shape = middle.replace(b"%d", b"%d" % len(INNER))
            answer = await front.say(b"POST /outer HTTP/1.1\r\nHost: x.test\r\n" + shape + INNER)
            assert answer.startswith(b"HTTP/1.1 400 "), name
            assert answer.count(b"HTTP/1.1 ") == 1, name
            assert b"Connection: close" in answer, name
            assert not any(b"/inner" in wire for wire in recorder.connections), name
        assert_unanimous(recorder.connections)
        assert (await front.ask(host=HOST)).status == 200


async def test_a_body_that_is_a_request_stays_a_body(tmp_path: Path) -> None:
    length = b"Content-Length: %d\r\n\r\n%b" % (len(INNER), INNER)
    chunks = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(INNER), INNER)
    async with observed(tmp_path) as (front, recorder):
        for framed in (length, chunks):
            await send(front, b"POST /outer HTTP/1.1\r\nHost: x.test\r\n" + framed, [])
        assert assert_unanimous(recorder.connections) == [b"/outer", b"/outer"]
