"""The control socket: JSON lines with which the control plane changes the table and reads the front's state.

A request is `{"id": 1, "do": "apply", ...}`, its reply `{"id": 1, "ok": true, ...}` or `{"id": 1, "error":
"..."}`; replies are sent as they are ready. The first line of a connection is the front's `hello`. A client
that has sent `watch` also receives events: `{"event": "unreachable", "host": "..."}`.
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
from stager.front.process.protocol import MAX_LINE_BYTES, PROTOCOL
from stager.front.proxy.context import Context, Event
from stager.front.table.table_file import TableFile
from stager.version import __version__

Wire = dict[str, Any]
Verb = Callable[[Mapping[str, Any]], Awaitable[Wire]]


class Process(Protocol):
    """The front's process, implemented by `server.Front`."""

    frozen: bool
    is_alone: bool
    """Whether no predecessor may still have open requests."""

    async def open_ingress_ports(self) -> dict[int, str]:
        """Listen on the table's ports; returns the ports on which that fails, with the error."""

    def stop(self, timeout: float | None = None) -> None:
        """Drain and exit."""


class ControlSocket:
    """Serves the control socket.

    Args:
        process: the process that is controlled.
        context: provides figures, events and backends.
        table: the table that is changed.
        listen: the address of the plain listener.
        settings: the command line that identifies the front's configuration.
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
            "park": self._park,
            "activity": self._activity,
            "table": self._whole_table,
            "drain": self._drain,
            "stats": self._stats,
            "stop": self._stop,
        }
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._sessions: set[asyncio.Task[None]] = set()

    async def start(self, sock: socket.socket) -> None:
        """Start to accept connections."""
        self._server = await asyncio.start_unix_server(self._begin, sock=sock, limit=MAX_LINE_BYTES)

    async def close(self) -> None:
        """Close all connections, so that clients connect to the successor."""
        if self._server:
            self._server.close()
        for writer in self._writers:
            writer.close()
        if self._sessions:
            await asyncio.wait(self._sessions, timeout=1)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._sessions.add(session)
        session.add_done_callback(self._sessions.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until the client closes it."""
        self._writers.add(writer)
        tasks: set[asyncio.Task[None]] = set()

        def send_event(event: Event) -> None:
            _send(writer, event)

        try:
            _send(writer, self._hello)
            while line := await reader.readline():
                # One task per request, because a drain takes long. They start in order, and changes of the
                # table are made without waiting.
                task = asyncio.create_task(self._reply(line, writer, send_event))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        except (OSError, ValueError):  # ValueError: a line is longer than MAX_LINE_BYTES
            pass
        finally:
            self._context.watchers.discard(send_event)
            self._writers.discard(writer)
            writer.close()

    async def _reply(
        self, line: bytes, writer: asyncio.StreamWriter, send_event: Callable[[Event], None]
    ) -> None:
        number: Any = None
        try:
            request = _object(line)
            number = request.get("id")
            if request.get("do") == "watch":
                self._context.watchers.add(send_event)
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
            with contextlib.suppress(OSError):
                await writer.drain()

    def _verb(self, request: Mapping[str, Any]) -> Verb:
        verb = self._verbs.get(str(request.get("do")))
        if verb is None:
            raise ValueError(
                f"unknown request {request.get('do')!r}; known are {', '.join(self._verbs)} and watch"
            )
        if self._process.frozen and request["do"] in {"apply", "update", "park"}:
            raise OSError("another front is taking over")
        return verb

    async def _apply(self, request: Mapping[str, Any]) -> Wire:
        self._table.apply(table_from_wire(request["table"]))
        self._context.held.release()
        return await self._open_ingress_ports()

    async def _update(self, request: Mapping[str, Any]) -> Wire:
        self._change(request)
        return await self._open_ingress_ports()

    async def _park(self, request: Mapping[str, Any]) -> Wire:
        """Compare and set: nothing else happens between both."""
        idle, pages = float(request["idle"]), request["upserts"]
        if request.get("ports"):
            raise ValueError("ingress ports can't be changed by park")
        if not all(self._is_unused(host, pages.get(host), idle) for host in request["hosts"]):
            return {"parked": False}
        self._change(request)
        return {"parked": True}

    def _is_unused(self, host: str, page: Any, idle: float) -> bool:
        """Whether the host may be routed to this page; so may one that was already, if a reply was lost."""
        if page is not None and self._table.live.routes.get(host) == target_from_wire(page):
            return True
        # Requests that the predecessor still answers aren't known here.
        return self._process.is_alone and self._context.is_unused(host, idle)

    def _change(self, request: Mapping[str, Any]) -> None:
        known = ("upserts", "deletes", "domain", "home", "ports", "policies")
        self._table.change({key: request[key] for key in known if key in request})
        self._context.held.release()

    async def _activity(self, _: Mapping[str, Any]) -> Wire:
        return self._context.activity()

    async def _open_ingress_ports(self) -> Wire:
        return {"failed_ports": ports_to_wire(await self._process.open_ingress_ports())}

    async def _whole_table(self, _: Mapping[str, Any]) -> Wire:
        return {"table": table_to_wire(self._table.live.value())}

    async def _drain(self, request: Mapping[str, Any]) -> Wire:
        endpoint = target_from_wire(request["endpoint"])
        if not isinstance(endpoint, Endpoint):
            raise TypeError("only an endpoint can be drained")
        return {"aborted": await self._context.backends.of(endpoint).drain(float(request["timeout"]))}

    async def _stats(self, _: Mapping[str, Any]) -> Wire:
        return {"stats": {**self._context.stats(), "problem": self._table.problem}}

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
