"""A front of another process: waited for, used, and never replaced."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from stager.domain.errors import Fault
from stager.front.process.external_front import AWAY, ExternalFront
from stager.front.process.launcher import FrontOptions
from stager.front.process.protocol import PROTOCOL

OPTIONS = FrontOptions(listen="127.0.0.1:8000")


@asynccontextmanager
async def running(
    folder: Path, *, protocol: int = PROTOCOL, options: FrontOptions = OPTIONS
) -> AsyncIterator[None]:
    """A front's control socket that says hello and no more."""
    hello = {
        "hello": "stager-front", "protocol": protocol, "version": "9.9", "pid": 7,
        "listen": "127.0.0.1:8000", "settings": options.arguments(folder),
    }  # fmt: skip
    connections: list[asyncio.StreamWriter] = []

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        writer.write(json.dumps(hello).encode() + b"\n")
        await writer.drain()

    server = await asyncio.start_unix_server(greet, folder / "front.sock")
    try:
        yield
    finally:
        server.close()
        for writer in connections:
            writer.close()
        (folder / "front.sock").unlink()


def front(folder: Path, *, start_seconds: float = 0.0) -> ExternalFront:
    return ExternalFront(folder, OPTIONS, start_seconds=start_seconds)


async def test_one_that_starts_later_is_waited_for(tmp_path: Path) -> None:
    waiting = asyncio.create_task(front(tmp_path, start_seconds=30).ensure())
    await asyncio.sleep(0)
    async with running(tmp_path):
        assert (await waiting).pid == 7


async def test_none_within_the_time_is_a_fault_that_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="stager front") as raised:
        await front(tmp_path).ensure()
    assert (raised.value.reason, str(tmp_path) in raised.value.hint) == ("front-external", True)


async def test_one_of_another_protocol_is_not_used_and_left_alone(tmp_path: Path) -> None:
    async with running(tmp_path, protocol=PROTOCOL + 1):
        with pytest.raises(Fault, match=r"version 9\.9"):
            await front(tmp_path).ensure()
        assert (tmp_path / "front.sock").exists()


async def test_what_is_wrong_with_it_is_reported_until_it_is_right(tmp_path: Path) -> None:
    reports: asyncio.Queue[str] = asyncio.Queue()
    keeping = asyncio.create_task(front(tmp_path).keep(reports.put_nowait))
    assert await reports.get() == AWAY
    async with running(tmp_path, options=FrontOptions(listen="127.0.0.1:9000")):
        assert "Restart `stager front`" in await reports.get()
    assert await reports.get() == AWAY
    async with running(tmp_path):
        assert await reports.get() == ""
    keeping.cancel()
