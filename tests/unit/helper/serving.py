"""A helper in this process, with verbs of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from stager.helper.server import Server
from stager.helper.verbs import Feature, Registry


@contextlib.asynccontextmanager
async def served(folder: Path, *features: Feature, user: int | None = None) -> AsyncIterator[Path]:
    """The path of a socket that is answered for as long as the block lasts."""
    folder.chmod(0o755)
    path, stopped = folder / "helper.sock", asyncio.Event()
    registry = Registry("1.2.3", features)
    owner = os.geteuid() if user is None else user
    running = asyncio.create_task(Server(path, owner, os.getegid(), registry, tick=0.05).run(stopped))
    while not path.exists() and not running.done():
        await asyncio.sleep(0.005)
    try:
        if running.done():
            await running
        yield path
    finally:
        stopped.set()
        await running


async def sent(path: Path, raw: bytes, *, eof: bool = False) -> dict[str, Any]:
    """What is answered to these very bytes."""
    reader, writer = await asyncio.open_unix_connection(str(path), limit=2**20)
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(raw)
            if eof:
                writer.write_eof()
        answer: dict[str, Any] = json.loads(await reader.readuntil(b"\n"))
    finally:
        writer.close()
    return answer


def line(verb: str, fields: Mapping[str, object] | None = None) -> bytes:
    """A well-formed request."""
    return json.dumps({"verb": verb, "fields": fields or {}}).encode() + b"\n"
