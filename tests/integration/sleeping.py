"""What holds for a sleeping preview however it is reached: directly, or by a proxy before the front."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections import Counter

import aiohttp

from tests.integration.load import Load
from tests.integration.stager import StagerUnderTest, until
from tests.integration.test_sleep import count, states
from tests.unit.front.harness import read_head, request

MANY, SIZE, ROUNDS = 500, 10 << 20, 10
SLEEPERS = {"shop": {"pids": 4 * MANY}}
"""The application has a thread for each request."""
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


async def check_sleep(stager: StagerUnderTest, url: str) -> None:
    """Put the preview `test` to sleep again and again, and wake it by all kinds of requests.

    Args:
        url: where visitors reach it. The name needn't resolve: we set the Host.
    """
    host = url.removeprefix("http://")
    port = host.rpartition(":")[2]
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{port}", connector=connector, headers={"Host": host}
    ) as session:
        await _many_at_once(stager, session)
        await _large_body(stager, session)
    await _websocket(stager, host, port)
    await _under_traffic(stager, f"http://127.0.0.1:{port}", host)


async def _asleep(stager: StagerUnderTest) -> None:
    def sleep() -> None:
        environment = stager.environment("test")["id"]
        stager.api(f"/environments/{environment}/sleep", "POST")
        until(lambda: states(stager) == {"paused"}, "it is paused")

    await asyncio.to_thread(sleep)


async def _many_at_once(stager: StagerUnderTest, session: aiohttp.ClientSession) -> None:
    async def ask() -> tuple[int, str]:
        async with session.get("/") as answer:
            return answer.status, await answer.text()

    await _asleep(stager)
    before = count(stager, "wake")
    answers = Counter(await asyncio.gather(*(ask() for _ in range(MANY))))
    assert answers == {(200, "test 1"): MANY}, answers
    assert count(stager, "wake") == before + 1


async def _large_body(stager: StagerUnderTest, session: aiohttp.ClientSession) -> None:
    await _asleep(stager)
    body = os.urandom(SIZE)
    async with session.post("/digest", data=io.BytesIO(body)) as answer:
        assert (answer.status, await answer.text()) == (200, hashlib.sha256(body).hexdigest())


async def _websocket(stager: StagerUnderTest, host: str, port: str) -> None:
    """The application returns each message as it comes, masked, which clients refuse; so it is read raw."""
    await _asleep(stager)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    writer.write(request("/ws", *UPGRADE, host=host))
    first, _ = await asyncio.wait_for(read_head(reader), 20)
    assert " 101 " in first, first
    message = bytes([0x81, 0x85, 1, 2, 3, 4]) + b"hello"
    writer.write(message)
    assert await asyncio.wait_for(reader.readexactly(len(message)), 20) == message
    writer.close()


async def _under_traffic(stager: StagerUnderTest, url: str, host: str) -> None:
    environment = (await asyncio.to_thread(stager.environment, "test"))["id"]
    async with Load(url, host, ("/",)) as load:
        for _ in range(ROUNDS):
            await asyncio.to_thread(stager.api, f"/environments/{environment}/sleep", "POST")
            await asyncio.sleep(0.1)
    assert load.failures == []
    assert load.answers["test 1"] > 0
