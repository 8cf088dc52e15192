"""What apps may send: the health check accepts what the front passes on, and both say why they don't."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from stager.domain.route import Endpoint
from stager.engines.probe import HttpProber
from tests.unit.front.harness import HOST, Reader, Rig, Writer, read_head, rig

OK = b"HTTP/1.1 200 OK\r\n"
END = b"Content-Length: 2\r\n\r\nhi"

ACCEPTED = {
    "plain": OK + END,
    "a header over 8 kB": OK + b"X: " + b"y" * 20_000 + b"\r\n" + END,
    "a 204 with chunks": b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "LF alone": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
    "folded": OK + b"X: a\r\n  b\r\n" + END,
    "equal lengths": OK + b"Content-Length: 2\r\n" + END,
    "equal lengths in one": OK + b"Content-Length: 2, 2\r\n\r\nhi",
    "until close": OK + b"\r\nhi",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\nhi",
    "after a 100": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + END,
    "bytes above ASCII": OK + b"X: \xe4\r\n" + END,
}
REFUSED = {
    "identity": (OK + b"Transfer-Encoding: identity\r\n\r\nhi", "Transfer-Encoding"),
    "a control character": (OK + b"X: a\x01\r\n" + END, "control character"),
    "CR alone": (OK + b"X: a\rb\r\n" + END, "control character"),
    "different lengths": (OK + b"Content-Length: 3\r\n" + END, "Content-Length"),
    "length and chunks": (OK + b"Transfer-Encoding: chunked\r\n" + END, "both"),
    "no colon": (OK + b"nonsense\r\n" + END, "no colon"),
    "too long": (OK + b"X: " + b"y" * 70_000 + b"\r\n" + END, "too long"),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "status line"),
    "bad chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\nhi\r\n", "size of a chunk"),
    "half a head": (OK, "closed the connection"),
    "another protocol unasked": (b"HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n", "switches protocols"),
}


@asynccontextmanager
async def saying(data: bytes) -> AsyncIterator[Endpoint]:
    """An app that answers every request with these bytes, and hangs up."""

    async def serve(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        writer.write(data)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as running:
        yield running


@pytest.mark.parametrize("name", ACCEPTED)
async def test_what_is_healthy_is_served(front: Rig, name: str) -> None:
    async with saying(ACCEPTED[name]) as endpoint:
        await front.serve({HOST: endpoint})
        answer, prober = await front.ask(), HttpProber()
        assert await prober.answers(endpoint, HOST, "/") == answer.status
        assert answer.status in {200, 204}
        assert answer.body == (b"" if answer.status == 204 else b"hi")
        assert prober.refusal(endpoint) == ""


@pytest.mark.parametrize("name", REFUSED)
async def test_what_can_t_be_served_isn_t_healthy_and_both_say_why(front: Rig, name: str) -> None:
    data, words = REFUSED[name]
    async with saying(data) as endpoint:
        await front.serve({HOST: endpoint})
        answer, prober = await front.ask(), HttpProber()
        assert (answer.status, answer.json["state"]) == (502, "bad-response")
        assert await prober.answers(endpoint, HOST, "/") is None
        why = prober.refusal(endpoint)
        assert words in why
        assert why in str(answer.json["detail"])
        log = front.state_dir / "access.log"
        async with asyncio.timeout(5):
            while not log.read_text():
                await asyncio.sleep(0.05)
        line = json.loads(log.read_text())
        assert (line["outcome"], line["why"]) == ("bad-response", why)


async def test_a_refusal_is_cleared_by_the_next_response() -> None:
    prober = HttpProber()
    async with saying(b"nonsense\n\n") as endpoint:
        assert await prober.answers(endpoint, HOST, "/") is None
        assert prober.refusal(endpoint)
    assert await prober.answers(endpoint, HOST, "/") is None
    assert prober.refusal(endpoint) == "", "nothing came"


async def test_the_check_sends_a_visitors_request() -> None:
    heads = []

    async def serve(reader: Reader, writer: Writer) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK + END)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        endpoint = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
        assert await HttpProber().answers(endpoint, HOST, "/a b/\r\nX: y?c=%20&d=ü") == 200
    assert heads[0].startswith(b"GET /a%20b/%0D%0AX:%20y?c=%20&d=%C3%BC HTTP/1.1\r\nHost: a.stage.test\r\n")
