"""A probe closes its connection in a way that no application logs as an error."""

from __future__ import annotations

import asyncio

from stager.domain.route import Endpoint
from stager.front.http.limits import Limits
from stager.front.proxy.probe_request import ask

HEAD = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


async def test_the_connection_ends_without_a_reset() -> None:
    seen: asyncio.Future[bytes | OSError] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        # More than is read at once, so that something is unread when the status is known.
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000)
        try:
            seen.set_result(await reader.read())
        except OSError as error:
            seen.set_result(error)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        answer = await ask(Endpoint("127.0.0.1", port), HEAD, Limits())
        assert answer.status == 200
        assert await asyncio.wait_for(seen, 5) == b""
