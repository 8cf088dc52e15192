"""The control socket: JSON lines by which the control plane tells the front what to serve, and asks how it
goes.

A request is `{"id": 1, "do": "apply", ...}`, its reply `{"id": 1, "ok": true, ...}` or `{"id": 1, "error":
"..."}`; replies come as they are ready. The first line of all is the front's `hello`. Whoever sent `watch`
also gets events: `{"event": "unreachable", "host": "..."}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from stager.domain.route import (
    Endpoint,
    ports_to_wire,
    table_from_wire,
    table_to_wire,
    target_from_wire,
)
from stager.front.proxy.context import Context, Event
from stager.front.table.live_table import TableFile
from stager.version import __version__

PROTOCOL = 5
LONGEST_LINE = 256 << 20

Wire = dict[str, Any]
Verb = Callable[[Mapping[str, Any]], Awaitable[Wire]]


class Process(Protocol):
    """What the control socket may ask of the process: what `server.Front` does."""

    frozen: bool

    async def open_doors(self) -> dict[int, str]:
        """Listen on the table's ports; returns those on which that can't be done, each with why."""

    def stop(self, timeout: float | None = None) -> None:
        """Drain and exit."""

    def retire(self, timeout: float | None = None) -> None:
        """Drain and exit, without hurry: a successor has taken over."""


class Control:
    """Serves the control socket.

    Args:
        process: whose end may be asked for.
        context: for figures, events and backends.
        table: what is changed.
        listen: the address, and `settings` the command line, by which the front is recognised.
    """

    def __init__(
        self, process: Process, context: Context, table: TableFile, *, listen: str, settings: list[str]
    ) -> None:
        self._process = process
        self._context = context
        self._table = table
        self._hello: Wire = {
            "hello": "stager-front",
            "protocol": PROTOCOL,
            "version": __version__,
            "pid": os.getpid(),
            "listen": listen,
            "settings": settings,
        }
        self._verbs: dict[str, Verb] = {
            "apply": self._apply,
            "update": self._update,
            "table": self._whole_table,
            "drain": self._drain,
            "stats": self._stats,
            "retire": self._retire,
            "stop": self._stop,
        }
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._conversations: set[asyncio.Task[None]] = set()

    async def start(self, sock: socket.socket) -> None:
        """Begin to listen."""
        self._server = await asyncio.start_unix_server(self._begin, sock=sock, limit=LONGEST_LINE)

    async def close(self) -> None:
        """Hang up on everybody: the front that serves from now on is another one, or none."""
        if self._server:
            self._server.close()
        for writer in self._writers:
            writer.close()
        if self._conversations:
            await asyncio.wait(self._conversations, timeout=1)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = asyncio.get_running_loop().create_task(self._converse(reader, writer))
        self._conversations.add(conversation)
        conversation.add_done_callback(self._conversations.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak with one caller until it hangs up."""
        self._writers.add(writer)
        tasks: set[asyncio.Task[None]] = set()

        def tell(event: Event) -> None:
            _send(writer, event)

        try:
            _send(writer, self._hello)
            while line := await reader.readline():
                # A task each, because a drain takes its time; they begin in order, and changes are made at
                # once.
                task = asyncio.create_task(self._serve(line, writer, tell))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        except (OSError, ValueError):  # ValueError: a line beyond all measure
            pass
        finally:
            self._context.watchers.discard(tell)
            self._writers.discard(writer)
            writer.close()

    async def _serve(self, line: bytes, writer: asyncio.StreamWriter, tell: Callable[[Event], None]) -> None:
        number: Any = None
        try:
            request = _object(line)
            number = request.get("id")
            if request.get("do") == "watch":
                self._context.watchers.add(tell)
                reply: Wire = {}
            else:
                reply = await self._verb(request)(request)
        except KeyError as error:
            _send(writer, {"id": number, "error": f"{error} is missing"})
        except (ValueError, TypeError, AttributeError, OSError) as error:
            away = isinstance(error, OSError)
            _send(writer, {"id": number, "error": str(error), "away": away})
        else:
            _send(writer, {"id": number, "ok": True, **reply})
            # A caller that doesn't read is not waited for; its replies are small.
            with contextlib.suppress(OSError):
                await writer.drain()

    def _verb(self, request: Mapping[str, Any]) -> Verb:
        verb = self._verbs.get(str(request.get("do")))
        if verb is None:
            raise ValueError(
                f"there is no {request.get('do')!r}; there are {', '.join(self._verbs)} and watch"
            )
        if self._process.frozen and request["do"] in {"apply", "update"}:
            raise OSError("another front is taking over; ask that one")
        return verb

    async def _apply(self, request: Mapping[str, Any]) -> Wire:
        self._table.apply(table_from_wire(request["table"]))
        return await self._open_doors()

    async def _update(self, request: Mapping[str, Any]) -> Wire:
        wanted = ("upserts", "deletes", "domain", "home", "ports", "policies")
        self._table.change({key: request[key] for key in wanted if key in request})
        return await self._open_doors()

    async def _open_doors(self) -> Wire:
        return {"closed": ports_to_wire(await self._process.open_doors())}

    async def _whole_table(self, _: Mapping[str, Any]) -> Wire:
        return {"table": table_to_wire(self._table.live.value())}

    async def _drain(self, request: Mapping[str, Any]) -> Wire:
        endpoint = target_from_wire(request["endpoint"])
        if not isinstance(endpoint, Endpoint):
            raise TypeError("only an endpoint can be drained")
        return {"cut": await self._context.backends.of(endpoint).drain(float(request["timeout"]))}

    async def _stats(self, _: Mapping[str, Any]) -> Wire:
        return {"stats": {**self._context.stats(), "trouble": self._table.trouble}}

    async def _retire(self, request: Mapping[str, Any]) -> Wire:
        self._process.retire(request.get("timeout"))
        return {}

    async def _stop(self, request: Mapping[str, Any]) -> Wire:
        self._process.stop(request.get("timeout"))
        return {}


def _object(line: bytes) -> Wire:
    request = json.loads(line)
    if not isinstance(request, dict):
        raise TypeError("a request should be an object")
    return request


def _send(writer: asyncio.StreamWriter, message: Wire) -> None:
    if not writer.is_closing():
        writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
