"""How the control plane talks to the front. Satisfies the port `stager.ports.router.Router`."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stager.domain.errors import Fault, Retry
from stager.domain.route import (
    Endpoint,
    Health,
    RouteDiff,
    RouteTable,
    ports_from_wire,
    table_from_wire,
    table_to_wire,
    target_to_wire,
)
from stager.front.process.control_socket import LONGEST_LINE
from stager.front.table.live_table import diff_to_wire

_REDIAL_SECONDS = 0.1
_ABOUT_HOSTS = frozenset({"unreachable", "unresponsive", "responsive"})


@dataclass(frozen=True, slots=True)
class Hello:
    """How a running front introduces itself."""

    protocol: int
    version: str
    pid: int
    listen: str
    settings: tuple[str, ...]


class FrontClient:
    """One connection to the front's control socket, made again when it breaks.

    Every call raises `Retry` with the reason `front-away` while the front can't be reached, and `Fault` with
    the reason `front-refused` when it doesn't understand.

    Args:
        state_dir: where the front keeps its sockets.
        answer_seconds: how long it may take to answer anything but a drain.
    """

    def __init__(self, state_dir: Path, *, answer_seconds: float = 10.0) -> None:
        self.hello: Hello | None = None
        self._path = state_dir / "front.sock"
        self._answer_seconds = answer_seconds
        self._line: _Line | None = None
        self._dialling = asyncio.Lock()

    async def connect(self) -> Hello:
        """Be connected; returns how the front introduced itself."""
        return (await self._connected()).hello

    async def current(self) -> RouteTable:
        """See `Router.current`."""
        return table_from_wire((await self._ask("table"))["table"])

    async def apply(self, table: RouteTable) -> Mapping[int, str]:
        """See `Router.apply`."""
        reply = await self._ask("apply", table=table_to_wire(table))
        return ports_from_wire(reply["closed"])

    async def update(self, diff: RouteDiff, table: RouteTable) -> Mapping[int, str]:
        """See `Router.update`."""
        reply = await self._ask("update", **diff_to_wire(diff, table))
        return ports_from_wire(reply["closed"])

    async def drain(self, endpoint: Endpoint, timeout: float) -> int:
        """See `Router.drain`."""
        reply = await self._ask("drain", timeout, endpoint=target_to_wire(endpoint), timeout=timeout)
        return int(reply["cut"])

    async def stats(self) -> dict[str, Any]:
        """Figures: uptime, connections, requests by outcome, open requests by endpoint, routes."""
        stats: dict[str, Any] = (await self._ask("stats"))["stats"]
        return stats

    async def health(self) -> Health:
        """See `Router.health`."""
        stats = await self.stats()
        return Health(frozenset(stats["unresponsive"]), stats["trouble"])

    async def stop(self, timeout: float | None = None) -> None:
        """Have the front stop: it accepts nothing more, drains for so many seconds, and exits."""
        await self._ask("stop", timeout=timeout)

    async def until_gone(self) -> None:
        """Returns when the front hangs up; at once when it can't be reached."""
        with contextlib.suppress(Retry):
            await (await self._connected()).until_broken()

    async def events(self) -> AsyncGenerator[dict[str, Any], None]:
        """What the front has to tell, for ever, over a connection of its own.

        Besides the front's own events (`unreachable`, `garbled`, `silent`, `unresponsive` and `responsive`,
        each with the `host`), there are `connected` each time it is reached, which is the moment to apply the
        table again, and `away` each time it is lost.
        """
        while True:
            with contextlib.suppress(OSError):
                line = await _Line.dial(self._path)
                try:
                    line.send({"id": 0, "do": "watch"})
                    yield {"event": "connected", "pid": line.hello.pid}
                    async for event in line.events():
                        yield event
                finally:
                    line.close()
                yield {"event": "away"}
            await asyncio.sleep(_REDIAL_SECONDS)

    async def unreachable(self) -> AsyncIterator[str]:
        """See `Router.unreachable`."""
        async with contextlib.aclosing(self.events()) as events:
            async for event in events:
                if event["event"] == "connected":
                    yield ""
                elif event["event"] in _ABOUT_HOSTS:
                    yield event["host"]

    async def close(self) -> None:
        """Hang up. The front goes on."""
        if self._line:
            self._line.close()
            self._line = None

    async def _connected(self) -> _Line:
        async with self._dialling:
            if self._line is None or self._line.broken:
                try:
                    self._line = await asyncio.wait_for(_Line.dial(self._path), self._answer_seconds)
                except OSError as error:
                    raise _away() from error
                self.hello = self._line.hello
            return self._line

    async def _ask(self, verb: str, patience: float = 0.0, /, **arguments: Any) -> dict[str, Any]:
        line = await self._connected()
        try:
            async with asyncio.timeout(self._answer_seconds + patience):
                reply = await line.ask({"do": verb, **arguments})
        except OSError as error:  # TimeoutError is one
            line.close()
            raise _away() from error
        if "error" in reply:
            if reply.get("away"):
                raise _away()
            raise Fault(f"The front refused {verb}: {reply['error']}.", reason="front-refused")
        return reply


class _Line:
    """One connection: sends requests, and gives each its reply."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hello: Hello) -> None:
        self.hello = hello
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    @classmethod
    async def dial(cls, path: Path) -> _Line:
        """Connect, and be introduced. Raises OSError."""
        reader, writer = await asyncio.open_unix_connection(path, limit=LONGEST_LINE)
        try:
            hello = _hello_from(json.loads(await asyncio.wait_for(reader.readline(), 5) or b"{}"))
        except (ValueError, KeyError, TypeError) as error:
            writer.close()
            raise ConnectionError(f"{path} is no front") from error
        except BaseException:
            writer.close()
            raise
        return cls(reader, writer, hello)

    @property
    def broken(self) -> bool:
        """Whether the other side has hung up."""
        return self._listening.done()

    async def until_broken(self) -> None:
        """Returns when the other side has hung up."""
        await asyncio.wait([self._listening])

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one line."""
        self._writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    async def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request, and wait for its reply. Raises ConnectionError when the line breaks."""
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            if self.broken:
                raise ConnectionError("the front hung up")
            self.send({"id": number, **request})
            reply: dict[str, Any] = await future
            return reply
        finally:
            self._waiting.pop(number, None)

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Events, until the line breaks."""
        while (event := await self._events.get()) is not None:
            yield event

    def close(self) -> None:
        """Hang up."""
        self._listening.cancel()
        self._writer.close()

    async def _listen(self) -> None:
        try:
            while data := await self._reader.readline():
                self._take(json.loads(data))
        except (OSError, ValueError):
            pass
        finally:
            self._writer.close()
            self._events.put_nowait(None)
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(ConnectionError("the front hung up"))

    def _take(self, message: dict[str, Any]) -> None:
        if "event" in message:
            self._events.put_nowait(message)
            return
        future = self._waiting.get(message.get("id", 0))
        if future is not None and not future.done():
            future.set_result(message)


def _hello_from(wire: Mapping[str, Any]) -> Hello:
    if wire["hello"] != "stager-front":
        raise ValueError("that is something else")
    return Hello(wire["protocol"], wire["version"], wire["pid"], wire["listen"], tuple(wire["settings"]))


def _away() -> Retry:
    return Retry(
        "The front, through which previews are reached, doesn't answer.",
        hint="It is started again by itself.",
        reason="front-away",
    )
