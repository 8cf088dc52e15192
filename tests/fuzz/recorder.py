"""An application that keeps everything that it was sent, and answers what h11 finds in it."""

from __future__ import annotations

import asyncio
import contextlib

import h11

from stager.domain.route import Endpoint
from tests.unit.front.harness import Reader, Writer


class Recorder:
    """One application.

    Attributes:
        connections: what it was sent, on each connection.
    """

    def __init__(self) -> None:
        self.connections: list[bytes] = []
        self._server: asyncio.Server | None = None
        self._writers: set[Writer] = set()

    async def start(self) -> Endpoint:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return Endpoint("127.0.0.1", self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        while self._writers:
            await asyncio.sleep(0.01)

    async def _serve(self, reader: Reader, writer: Writer) -> None:
        number = len(self.connections)
        self.connections.append(b"")
        self._writers.add(writer)
        server = h11.Connection(h11.SERVER)
        with contextlib.suppress(OSError, h11.RemoteProtocolError):
            while data := await reader.read(1 << 16):
                self.connections[number] += data
                server.receive_data(data)
                if not self._answer(server, writer):
                    break
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        self._writers.discard(writer)

    def _answer(self, server: h11.Connection, writer: Writer) -> bool:
        """Whether the connection may go on."""
        while (event := server.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.ConnectionClosed):
                return False
            if isinstance(event, h11.EndOfMessage):
                head = h11.Response(status_code=200, headers=[("Content-Length", "0")])
                writer.write((server.send(head) or b"") + (server.send(h11.EndOfMessage()) or b""))
                if server.our_state is not h11.DONE or server.their_state is not h11.DONE:
                    return False
                server.start_next_cycle()
        return True
