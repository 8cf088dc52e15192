"""Clients that ask without a pause, on kept connections and on new ones, and remember what went wrong."""

from __future__ import annotations

import asyncio
from collections import Counter

import aiohttp

from tests.integration.stager import PATIENCE

KEPT_ALIVE, FRESH = 6, 4
"""Clients that keep their connection, and clients that make a new one for each request."""

APP_PATHS = ("/slow/0.00", "/slow/0.01", "/slow/0.02", "/slow/0.03")
"""What is asked of the application under test: answers that take up to 30 ms."""


class Load:
    """Asks from the beginning of a block to its end.

    Args:
        url: where to ask.
        host: the Host to send; that of `url` if empty.
        paths: what to ask for, in turn.
        posts: whether every fifth request is a POST.

    Attributes:
        answers: how often each text was the answer.
        failures: what went wrong, in words.
    """

    def __init__(
        self, url: str, host: str = "", paths: tuple[str, ...] = APP_PATHS, *, posts: bool = True
    ) -> None:
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._url = url
        self._headers = {"Host": host} if host else {}
        self._paths = paths
        self._posts = posts
        self._stopped = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._client(force_close=False)) for _ in range(KEPT_ALIVE)]
        self._tasks += [asyncio.create_task(self._client(force_close=True)) for _ in range(FRESH)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopped = True
        await asyncio.gather(*self._tasks)

    @property
    def requests(self) -> int:
        """How many were answered, well or not."""
        return sum(self.answers.values())

    async def until_answered(self, text: str) -> None:
        """Go on until a client got this answer."""
        async with asyncio.timeout(PATIENCE):
            while not self.answers[text]:
                await asyncio.sleep(0.02)

    async def _client(self, *, force_close: bool) -> None:
        connector = aiohttp.TCPConnector(force_close=force_close, limit=1)
        async with aiohttp.ClientSession(connector=connector, headers=self._headers) as session:
            count = 0
            while not self._stopped:
                count += 1
                path = self._paths[count % len(self._paths)]
                await self._ask(session, "POST" if self._posts and count % 5 == 0 else "GET", path)

    async def _ask(self, session: aiohttp.ClientSession, method: str, path: str) -> None:
        url = self._url + path
        data = b"x" * 10_000 if method == "POST" else None
        try:
            async with session.request(method, url, data=data, allow_redirects=False) as answer:
                text = await answer.text()
                if answer.status != 200:
                    self.failures.append(f"{method} {answer.status} {text[:200]}")
                self.answers[text] += 1
        except (aiohttp.ClientError, OSError) as error:
            self.failures.append(f"{method} {error!r}")
