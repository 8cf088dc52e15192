"""The client of the front's control socket. Implements the port `stager.ports.router.Router`."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stager.domain.errors import Fault, Retry
from stager.domain.route import (
    Endpoint,
    Health,
    RouteTable,
    ports_from_wire,
    table_from_wire,
    table_to_wire,
    target_to_wire,
)
from stager.domain.traffic import Activity, FrontEvent, FrontEventKind
from stager.front.process.protocol import MAX_LINE_BYTES
from stager.front.table.live_table import changes_to_wire

_RECONNECT_SECONDS = 0.1
_KINDS = {
    "connected": FrontEventKind.CONNECTED,
    "unreachable": FrontEventKind.UNREACHABLE,
    "unresponsive": FrontEventKind.HEALTH,
    "responsive": FrontEventKind.HEALTH,
    "wake": FrontEventKind.WAKE,
}


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of a front: its versions, process id, address and configuration."""

    protocol: int
    version: str
    pid: int
    listen: str
    settings: tuple[str, ...]


class FrontClient:
    """One connection to the front's control socket, reopened when it breaks.

    Each call raises `Retry` with the reason `front-away` while the front isn't reachable, and `Fault` with
    the reason `front-refused` if it rejects the request.

    Args:
        state_dir: the directory of the front's sockets.
        reply_seconds: the timeout of all requests but a drain.
    """

    def __init__(self, state_dir: Path, *, reply_seconds: float = 10.0) -> None:
        self.hello: Hello | None = None
        self._path = state_dir / "front.sock"
        self._reply_seconds = reply_seconds
        self._connection: _Connection | None = None
        self._connect_lock = asyncio.Lock()

    async def connect(self) -> Hello:
        """Connect if necessary; returns the front's first message."""
        return (await self._open()).hello

    async def current(self) -> RouteTable:
        """See `Router.current`."""
        return table_from_wire((await self._ask("table"))["table"])

    async def apply(self, table: RouteTable) -> Mapping[int, str]:
        """See `Router.apply`."""
        reply = await self._ask("apply", table=table_to_wire(table))
        return ports_from_wire(reply["failed_ports"])

    async def update(self, before: RouteTable, after: RouteTable) -> Mapping[int, str]:
        """See `Router.update`."""
        reply = await self._ask("update", **changes_to_wire(before, after))
        return ports_from_wire(reply["failed_ports"])

    async def park(self, before: RouteTable, after: RouteTable, hosts: Collection[str], idle: float) -> bool:
        """See `Router.park`."""
        changes = changes_to_wire(before, after)
        return bool((await self._ask("park", **changes, hosts=sorted(hosts), idle=idle))["parked"])

    async def activity(self) -> Activity:
        """See `Router.activity`."""
        reply = await self._ask("activity")
        return Activity(reply["idle"], reply["uptime"])

    async def drain(self, endpoint: Endpoint, timeout: float) -> int:
        """See `Router.drain`."""
        reply = await self._ask("drain", timeout, endpoint=target_to_wire(endpoint), timeout=timeout)
        return int(reply["aborted"])

    async def stats(self) -> dict[str, Any]:
        """Return uptime, connections, requests by outcome, open requests by endpoint, routes."""
        stats: dict[str, Any] = (await self._ask("stats"))["stats"]
        return stats

    async def health(self) -> Health:
        """See `Router.health`."""
        stats = await self.stats()
        return Health(frozenset(stats["unresponsive"]), stats["problem"])

    async def stop(self, timeout: float | None = None) -> None:
        """Stop the front: it accepts no more connections, drains for up to `timeout` seconds, and exits."""
        await self._ask("stop", timeout=timeout)

    async def until_gone(self) -> None:
        """Wait until the front closes the connection; returns at once if it isn't reachable."""
        with contextlib.suppress(Retry):
            await (await self._open()).until_broken()

    async def messages(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the front's events, over a separate connection that is reopened when it breaks. Never ends.

        Besides the front's own events (`unreachable`, `bad-response`, `no-response`, `unresponsive`,
        `responsive`, `wake` and `certificate`, each with the `host`), there is `connected` after each
        connect, when the table must be applied again, and `away` after each loss of the connection.
        """
        while True:
            with contextlib.suppress(OSError):
                connection = await _Connection.open(self._path)
                try:
                    connection.send({"id": 0, "do": "watch"})
                    yield {"event": "connected", "pid": connection.hello.pid}
                    async for event in connection.events():
                        yield event
                finally:
                    connection.close()
                yield {"event": "away"}
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def events(self) -> AsyncIterator[FrontEvent]:
        """See `Router.events`."""
        async with contextlib.aclosing(self.messages()) as messages:
            async for message in messages:
                kind = _KINDS.get(message["event"])
                if kind is not None:
                    yield FrontEvent(kind, message.get("host", ""))

    async def certificate_requests(self) -> AsyncIterator[str]:
        """See `Router.certificate_requests`."""
        async with contextlib.aclosing(self.messages()) as messages:
            async for message in messages:
                if message["event"] == "certificate":
                    yield message["host"]

    async def close(self) -> None:
        """Close the connection. The front continues."""
        if self._connection:
            self._connection.close()
            self._connection = None

    async def _open(self) -> _Connection:
        async with self._connect_lock:
            if self._connection is None or self._connection.is_broken:
                try:
                    self._connection = await asyncio.wait_for(
                        _Connection.open(self._path), self._reply_seconds
                    )
                except OSError as error:
                    raise _away() from error
                self.hello = self._connection.hello
            return self._connection

    async def _ask(self, verb: str, extra_seconds: float = 0.0, /, **arguments: Any) -> dict[str, Any]:
        connection = await self._open()
        try:
            async with asyncio.timeout(self._reply_seconds + extra_seconds):
                reply = await connection.ask({"do": verb, **arguments})
        except OSError as error:  # TimeoutError is one
            connection.close()
            raise _away() from error
        if "error" in reply:
            if reply.get("away"):
                raise _away()
            raise Fault(f"The front rejected the request {verb!r}: {reply['error']}.", reason="front-refused")
        return reply


class _Connection:
    """One connection: sends requests and assigns the replies to them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hello: Hello) -> None:
        self.hello = hello
        self._reader = reader
        self._writer = writer
        self._ids = itertools.count(1)
        self._pending: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._reader_task = asyncio.get_running_loop().create_task(self._read())

    @classmethod
    async def open(cls, path: Path) -> _Connection:
        """Connect and read the first message. Raises OSError."""
        reader, writer = await asyncio.open_unix_connection(path, limit=MAX_LINE_BYTES)
        try:
            hello = _hello_from(json.loads(await asyncio.wait_for(reader.readline(), 5) or b"{}"))
        except (ValueError, KeyError, TypeError) as error:
            writer.close()
            raise ConnectionError(f"{path} isn't the socket of a front") from error
        except BaseException:
            writer.close()
            raise
        return cls(reader, writer, hello)

    @property
    def is_broken(self) -> bool:
        """Whether the front has closed the connection."""
        return self._reader_task.done()

    async def until_broken(self) -> None:
        """Wait until the front closes the connection."""
        await asyncio.wait([self._reader_task])

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one line."""
        self._writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    async def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and return its reply. Raises ConnectionError if the connection breaks."""
        number = next(self._ids)
        future = self._pending[number] = asyncio.get_running_loop().create_future()
        try:
            if self.is_broken:
                raise ConnectionError("the front closed the connection")
            self.send({"id": number, **request})
            reply: dict[str, Any] = await future
            return reply
        finally:
            self._pending.pop(number, None)

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield events until the connection breaks."""
        while (event := await self._events.get()) is not None:
            yield event

    def close(self) -> None:
        """Close the connection."""
        self._reader_task.cancel()
        self._writer.close()

    async def _read(self) -> None:
        try:
            while data := await self._reader.readline():
                self._receive(json.loads(data))
        except (OSError, ValueError):
            pass
        finally:
            self._writer.close()
            self._events.put_nowait(None)
            for future in self._pending.values():
                if not future.done():
                    future.set_exception(ConnectionError("the front closed the connection"))

    def _receive(self, message: dict[str, Any]) -> None:
        if "event" in message:
            self._events.put_nowait(message)
            return
        future = self._pending.get(message.get("id", 0))
        if future is not None and not future.done():
            future.set_result(message)


def _hello_from(wire: Mapping[str, Any]) -> Hello:
    if wire["hello"] != "stager-front":
        raise ValueError("not a front")
    return Hello(wire["protocol"], wire["version"], wire["pid"], wire["listen"], tuple(wire["settings"]))


def _away() -> Retry:
    return Retry(
        "The front, the proxy in front of the previews, doesn't respond.",
        hint="Stager restarts it automatically.",
        reason="front-away",
    )


async def hello_of(state_dir: Path) -> Hello | None:
    """Return the first message of the front with this state folder; None if none answers."""
    client = FrontClient(state_dir)
    try:
        return await client.connect()
    except Retry:
        return None
    finally:
        await client.close()
