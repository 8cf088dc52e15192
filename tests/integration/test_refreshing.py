"""A push never drops a request: refreshes under load, with the control plane killed meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter

import aiohttp

from tests.integration.stager import PATIENCE, StagerUnderTest

REFRESHES = 6
KEPT_ALIVE, FRESH = 6, 4
"""Clients that keep their connection, and clients that make a new one for each request."""


class Load:
    """Clients that ask without a pause, and count what they get."""

    def __init__(self, stager: StagerUnderTest) -> None:
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._stager = stager
        self._stopped = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._client(force_close=False)) for _ in range(KEPT_ALIVE)]
        self._tasks += [asyncio.create_task(self._client(force_close=True)) for _ in range(FRESH)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopped = True
        await asyncio.gather(*self._tasks)

    async def until_answered(self, text: str) -> None:
        """Go on until somebody got this answer."""
        async with asyncio.timeout(PATIENCE):
            while not self.answers[text]:
                await asyncio.sleep(0.02)

    async def _client(self, *, force_close: bool) -> None:
        connector = aiohttp.TCPConnector(force_close=force_close, limit=1)
        host = {"Host": self._stager.host("test")}
        async with aiohttp.ClientSession(connector=connector, headers=host) as session:
            count = 0
            while not self._stopped:
                count += 1
                await self._ask(session, "POST" if count % 5 == 0 else "GET", f"/slow/0.0{count % 4}")

    async def _ask(self, session: aiohttp.ClientSession, method: str, path: str) -> None:
        url = self._stager.url + path
        data = b"x" * 10_000 if method == "POST" else None
        try:
            async with session.request(method, url, data=data) as answer:
                text = await answer.text()
                if answer.status != 200:
                    self.failures.append(f"{method} {answer.status} {text[:200]}")
                self.answers[text] += 1
        except (aiohttp.ClientError, OSError) as error:
            self.failures.append(f"{method} {error!r}")


async def test_no_request_fails_during_refreshes(stager: StagerUnderTest) -> None:
    await asyncio.to_thread(stager.launched, VERSION="0")
    async with Load(stager) as load:
        for version in range(1, REFRESHES + 1):
            await asyncio.to_thread(stager.launched, VERSION=str(version))
        await load.until_answered(f"test {REFRESHES}")
    assert load.failures == []
    assert {f"test {version}" for version in range(REFRESHES + 1)} <= set(load.answers)
    assert sum(load.answers.values()) > 100


async def test_no_request_fails_when_the_control_plane_is_killed(stager: StagerUnderTest) -> None:
    await asyncio.to_thread(stager.launched, VERSION="0")
    async with Load(stager) as load:
        for version in range(1, 4):
            await asyncio.to_thread(stager.launch, VERSION=str(version), wait="0")
            await asyncio.sleep(0.2 * version)
            await asyncio.to_thread(stager.restart)
        await asyncio.to_thread(stager.launched, VERSION="last")
        await load.until_answered("test last")
    assert load.failures == []
    assert load.answers["test last"]
