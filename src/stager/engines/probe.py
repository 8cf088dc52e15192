"""Asks an instance over HTTP whether it serves, by its address and with the Host that visitors will use."""

from __future__ import annotations

import aiohttp

from stager.domain.route import Endpoint

ANSWER_TIMEOUT = 10.0
"""Seconds for one answer; an application that is still warming up is asked again."""


class HttpProber:
    """See `ports.engine.Prober`. Redirects aren't followed: they would lead away from the instance."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def answers(self, endpoint: Endpoint, host: str, path: str) -> int | None:
        """See `ports.engine.Prober.answers`."""
        if self._session is None:
            connector = aiohttp.TCPConnector(force_close=True, limit=0)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT)
            )
        headers = {"Host": host, "User-Agent": "stager-health-check"}
        try:
            async with self._session.get(
                f"http://{endpoint}{path}", headers=headers, allow_redirects=False
            ) as response:
                return response.status
        except (TimeoutError, aiohttp.ClientError, OSError):
            return None

    async def close(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()
