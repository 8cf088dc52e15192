"""A chat: everybody who has the page open sees what everybody says. There to show that a preview may speak
WebSocket. Nothing but Python's standard library.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from pathlib import Path

from websocket import ClosedError, WebSocket, accept

PORT = int(os.environ.get("PORT", "8080"))
REMEMBERED = 50
PATIENCE = 10.0
"""Seconds for a request's head."""

people: set[WebSocket] = set()
said: deque[str] = deque(maxlen=REMEMBERED)


def broadcast(**what: object) -> str:
    """Tell everybody. Returns what was told."""
    text = json.dumps(what)
    for person in people:
        person.send(text)
    return text


def heard(message: str) -> None:
    """Somebody says something: `{"name": ..., "text": ...}`. What isn't like that is dropped."""
    try:
        spoken = json.loads(message)
        name, text = str(spoken["name"]).strip()[:40], str(spoken["text"]).strip()
    except (ValueError, KeyError, TypeError):
        return
    if text:
        said.append(broadcast(name=name or "somebody", text=text))


async def talk(socket: WebSocket) -> None:
    """One person's stay."""
    people.add(socket)
    for line in said:
        socket.send(line)
    broadcast(people=len(people))
    try:
        while True:
            heard(await socket.receive())
    except ClosedError as closed:
        socket.close(closed.code)
    finally:
        people.discard(socket)
        broadcast(people=len(people))


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
    except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        writer.close()
        return
    request, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    path = [*request.split(), "", ""][1]
    if path == "/socket" and "sec-websocket-key" in headers:
        writer.write(upgrade(headers["sec-websocket-key"]))
        await talk(WebSocket(reader, writer))
    else:
        writer.write(ANSWERS.get(path) or response("404 Not Found", b"There is no such page.\n"))
        writer.close()


def upgrade(key: str) -> bytes:
    lines = "HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"
    return "\r\n".join([*lines, f"Sec-WebSocket-Accept: {accept(key)}", "", ""]).encode()


def response(status: str, body: bytes) -> bytes:
    lines = f"HTTP/1.1 {status}", "Content-Type: text/html; charset=utf-8", "Connection: close"
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


ANSWERS = {
    "/": response("200 OK", (Path(__file__).parent / "page.html").read_bytes()),
    "/healthz": response("200 OK", b"fine\n"),
}


async def main() -> None:
    server = await asyncio.start_server(serve, "0.0.0.0", PORT)  # noqa: S104 (it is in a container)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
