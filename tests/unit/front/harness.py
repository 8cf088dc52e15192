"""The harness of the front's tests: an app with many behaviours, a raw client, and a running front."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from stager.domain.route import Endpoint, RouteTable, Target
from stager.front.process.client import FrontClient, Hello
from stager.front.process.launcher import FrontLauncher, FrontOptions

DOMAIN = "stage.test"
HOST = f"a.{DOMAIN}"
_PORTS = iter(random.Random(os.getpid()).sample(range(10_000, 20_000), 10_000))

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


@dataclass
class Request:
    """What an app received."""

    method: str
    target: str
    headers: dict[str, str]
    size: int = 0
    digest: str = ""


@dataclass
class Response:
    """What a client received."""

    status: int
    headers: dict[str, str]
    body: bytes
    interim: list[int] = field(default_factory=list)

    @property
    def json(self) -> dict[str, object]:
        data: dict[str, object] = json.loads(self.body)
        return data


def free_port() -> int:
    """An unused port. It is one of those that no system assigns by itself, and each is returned
    only once, so that no other test gets it before it is used."""
    for port in _PORTS:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no ports are left")


async def read_head(reader: Reader) -> tuple[str, dict[str, str]]:
    """First line and headers, by lower-case name; `,`-joined when there are several."""
    block = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = block[:-4].split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        known = headers.get(name.lower())
        headers[name.lower()] = value.strip() if known is None else f"{known}, {value.strip()}"
    return first, headers


async def read_chunks(reader: Reader) -> AsyncIterator[bytes]:
    """The content of a chunked body, chunk by chunk."""
    while size := int((await reader.readline()).split(b";")[0], 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
    while line := await reader.readline():
        if line == b"\r\n":
            return
    raise asyncio.IncompleteReadError(b"", None)


async def read_response(reader: Reader, method: str = "GET") -> Response:
    """One response, whole."""
    interim = []
    while True:
        first, headers = await read_head(reader)
        status = int(first.split()[1])
        if status >= 200 or status == 101:
            break
        interim.append(status)
    if method == "HEAD" or status in {101, 204, 304}:
        body = b""
    elif headers.get("transfer-encoding") == "chunked":
        body = b"".join([chunk async for chunk in read_chunks(reader)])
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = await reader.read()
    return Response(status, headers, body, interim)


class App:
    """An app that answers by path; see the methods. `name` is in every answer."""

    def __init__(self, name: str = "app") -> None:
        self.name = name
        self.connections = 0
        self.open = 0
        self.hung_up = asyncio.Event()
        self.go = asyncio.Event()
        self.late = Request("", "", {})
        self.endpoint = Endpoint()
        self._server: asyncio.Server | None = None
        self._writers: set[Writer] = set()
        self._faces: dict[str, Callable[[Request, Reader, Writer], Awaitable[bool]]] = {
            "/ws": self._websocket,
            "/ws-unasked": self._websocket,
            "/sse": self._events,
            "/early": self._early,
            "/early-and-reads": self._early_and_reads,
            "/early-and-deaf": self._early_and_deaf,
            "/half": self._half,
            "/half-chunk": self._half,
            "/until-close": self._until_close,
            "/garbage": self._garbage,
            "/continue": self._continue,
            "/chunks": self._chunks,
            "/big": self._big,
            "/wait": self._wait,
            "/slow": self._slow,
            "/silence": self._silence,
            "/empty": self._empty,
            "/beyond": self._beyond,
            "/deaf": self._deaf,
            "/count": self._count,
        }

    async def start(self, path: Path | None = None, *, backlog: int = 1024) -> Endpoint:
        if path:
            self._server = await asyncio.start_unix_server(self._serve, path)
            self.endpoint = Endpoint(path=str(path))
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=backlog)
            self.endpoint = Endpoint("127.0.0.1", self._server.sockets[0].getsockname()[1])
        return self.endpoint

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        for writer in list(self._writers):
            writer.close()
        await asyncio.sleep(0)

    async def _serve(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        self.open += 1
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError):
                while await self._answer(reader, writer):
                    await writer.drain()
        finally:
            self.open -= 1
            self.hung_up.set()
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, reader: Reader, writer: Writer) -> bool:
        first, headers = await read_head(reader)
        method, target, _ = first.split(" ")
        request = Request(method, target, headers)
        face = self._faces.get(target.partition("?")[0], self._echo)
        return await face(request, reader, writer)

    async def _echo(self, request: Request, reader: Reader, writer: Writer) -> bool:
        """Returns what it received, with the digest of the body."""
        digest = hashlib.sha256()
        async for piece in _body(request, reader):
            request.size += len(piece)
            digest.update(piece)
        request.digest = digest.hexdigest()
        body = json.dumps({"app": self.name, **request.__dict__}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + (b"" if request.method == "HEAD" else body))
        return True

    async def _websocket(self, request: Request, reader: Reader, writer: Writer) -> bool:
        """Switches, and echoes whatever comes until the other side has ended; then says so, and ends."""
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi"
        )
        while data := await reader.read(65536):
            writer.write(data)
        writer.write(b"bye")
        return False

    async def _events(self, request: Request, reader: Reader, writer: Writer) -> bool:
        """Sends an event at once, and one more each time that `go` is set."""
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        number = 0
        while True:
            data = b"data: %d\n\n" % number
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
            await writer.drain()
            number += 1
            going = asyncio.create_task(self.go.wait())
            gone = asyncio.create_task(reader.read(1))
            await asyncio.wait({going, gone}, return_when=asyncio.FIRST_COMPLETED)
            going.cancel()
            if gone.done():
                return False
            gone.cancel()
            self.go.clear()

    async def _early(self, request: Request, reader: Reader, writer: Writer) -> bool:
        """Refuses a body without reading it."""
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        await writer.drain()
        return False

    async def _early_and_reads(self, request: Request, reader: Reader, writer: Writer) -> bool:
        """Answers before it reads the body, and notes what it then got."""
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok")
        self.late = request
        digest = hashlib.sha256()
        async for piece in _body(request, reader):
            request.size += len(piece)
            digest.update(piece)
        request.digest = digest.hexdigest()
        return True

    async def _early_and_deaf(self, request: Request, reader: Reader, writer: Writer) -> bool:
        """Answers, reads nothing, and doesn't hang up."""
        writer.write(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno")
        await self.go.wait()
        return False

    async def _half(self, request: Request, reader: Reader, writer: Writer) -> bool:
        """Promises more than it sends."""
        framing = (
            b"Transfer-Encoding: chunked\r\n\r\n50\r\n"
            if "chunk" in request.target
            else b"Content-Length: 80\r\n\r\n"
        )
        writer.write(b"HTTP/1.1 200 OK\r\n" + framing + b"half")
        await writer.drain()
        await asyncio.sleep(0.1)
        return False

    async def _until_close(self, request: Request, reader: Reader, writer: Writer) -> bool:
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nuntil ")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"close")
        return False

    async def _garbage(self, request: Request, reader: Reader, writer: Writer) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent Length: 1\r\n\r\nx")
        return True

    async def _continue(self, request: Request, reader: Reader, writer: Writer) -> bool:
        assert request.headers["expect"] == "100-continue"
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await self._echo(request, reader, writer)

    async def _chunks(self, request: Request, reader: Reader, writer: Writer) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n")
        await writer.drain()
        writer.write(b"2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n")
        return True

    async def _big(self, request: Request, reader: Reader, writer: Writer) -> bool:
        """As many megabytes as the query says."""
        count = int(request.target.partition("?")[2])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (count << 20))
        for _ in range(count):
            writer.write(bytes(1 << 20))
            await writer.drain()
        return True

    async def _wait(self, request: Request, reader: Reader, writer: Writer) -> bool:
        await self.go.wait()
        return await self._echo(request, reader, writer)

    async def _slow(self, request: Request, reader: Reader, writer: Writer) -> bool:
        """Begins its response at once, and ends it when `go` is set."""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegun")
        await self.go.wait()
        writer.write(b"ended")
        return True

    async def _silence(self, request: Request, reader: Reader, writer: Writer) -> bool:
        await reader.read()
        return False

    async def _deaf(self, request: Request, reader: Reader, writer: Writer) -> bool:
        """Doesn't read the body until it is released."""
        await self.go.wait()
        return await self._echo(request, reader, writer)

    async def _count(self, request: Request, reader: Reader, writer: Writer) -> bool:
        """Returns the length of the body, and does nothing with it."""
        async for piece in _body(request, reader):
            request.size += len(piece)
        body = json.dumps({"size": request.size}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        return True

    async def _beyond(self, request: Request, reader: Reader, writer: Writer) -> bool:
        """Speaks to a proxy before the front, and to the browser about other hosts."""
        writer.write(
            b"HTTP/1.1 103 Early Hints\r\nX-Accel-Redirect: /early\r\nX-Mine: 1\r\n\r\n"
            b'HTTP/1.1 200 OK\r\nClear-Site-Data: "cookies", "storage"\r\nX-Accel-Redirect: /secret\r\n'
            b"x-accel-BUFFERING: no\r\nX-Accel-Expires: 9\r\nX-Acceleration: yes\r\nContent-Length: 0\r\n\r\n"
        )
        return True

    async def _empty(self, request: Request, reader: Reader, writer: Writer) -> bool:
        status = request.target.partition("?")[2]
        writer.write(f"HTTP/1.1 {status} Empty\r\nX-Empty: yes\r\n\r\n".encode())
        return True


async def _body(request: Request, reader: Reader) -> AsyncIterator[bytes]:
    if request.headers.get("transfer-encoding") == "chunked":
        async for chunk in read_chunks(reader):
            yield chunk
        return
    left = int(request.headers.get("content-length", 0))
    while left:
        piece = await reader.read(min(left, 1 << 18))
        if not piece:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(piece)
        yield piece


@dataclass
class Rig:
    """A front of one's own, and how to reach it."""

    state_dir: Path
    port: int
    client: FrontClient
    launcher: FrontLauncher
    hello: Hello
    options: FrontOptions

    async def serve(self, routes: dict[str, Target], home: Endpoint | None = None) -> RouteTable:
        table = RouteTable(routes, DOMAIN, home)
        await self.client.apply(table)
        return table

    @contextlib.asynccontextmanager
    async def dial(self) -> AsyncIterator[tuple[Reader, Writer]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def ask(
        self, target: str = "/", *lines: str, method: str = "GET", host: str = HOST, body: bytes = b""
    ) -> Response:
        async with self.dial() as (reader, writer):
            writer.write(request(target, *lines, method=method, host=host, body=body))
            return await asyncio.wait_for(read_response(reader, method), 10)

    async def say(self, data: bytes) -> bytes:
        """Everything that comes back until the front hangs up."""
        async with self.dial() as (reader, writer):
            writer.write(data)
            return await asyncio.wait_for(reader.read(), 10)


def request(
    target: str = "/", *lines: str, method: str = "GET", host: str = HOST, body: bytes = b"", minor: int = 1
) -> bytes:
    """A request as bytes."""
    every = [f"{method} {target} HTTP/1.{minor}", f"Host: {host}", *lines]
    if body:
        every.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*every, "", ""]).encode() + body


@contextlib.asynccontextmanager
async def rig(state_dir: Path, options: FrontOptions | None = None, port: int = 0) -> AsyncIterator[Rig]:
    """A running front, ended at the end."""
    port = port or free_port()
    chosen = options or FrontOptions(listen=f"127.0.0.1:{port}")
    launcher = FrontLauncher(state_dir, chosen)
    client = FrontClient(state_dir)
    try:
        hello = await launcher.ensure()
        yield Rig(state_dir, port, client, launcher, hello, chosen)
    finally:
        await client.close()
        await launcher.stop(0.0)
    assert "Traceback" not in (log := (state_dir / "front.log").read_text()), log


def certificate_in(directory: Path) -> tuple[Path, Path]:
    """A certificate of its own signing for `HOST`, and its key."""
    certificate, key = directory / "tls.pem", directory / "tls.key"
    subprocess.run(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={HOST}"
        f" -keyout {key} -out {certificate}".split(),
        check=True,
        capture_output=True,
    )
    return certificate, key


def trusting() -> ssl.SSLContext:
    """For a client that accepts any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def resident(pid: int) -> int:
    """The memory of a process, in bytes."""
    return _memory(pid, "VmRSS")


def peak(pid: int) -> int:
    """The most memory that a process ever had, in bytes."""
    return _memory(pid, "VmHWM")


def _memory(pid: int, which: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(which):
            return int(line.split()[1]) << 10
    raise AssertionError("no such process")
