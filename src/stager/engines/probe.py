"""Asks an instance over HTTP whether it serves, by its address and with the Host that visitors will use."""

from __future__ import annotations

import asyncio

import aiohttp

from stager.domain.route import Endpoint

CONNECT_TIMEOUT = 3.0
"""Seconds in which a connection is accepted or refused."""


class HttpProber:
    """See `ports.engine.Prober`. Redirects aren't followed: they would lead away from the instance."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def answers(self, endpoint: Endpoint, host: str, path: str, timeout: float = 10.0) -> int | None:
        """See `ports.engine.Prober.answers`."""
        if self._session is None:
            connector = aiohttp.TCPConnector(force_close=True, limit=0)
            self._session = aiohttp.ClientSession(connector=connector)
        headers = {"Host": host, "User-Agent": "stager-health-check"}
        try:
            async with self._session.get(
                f"http://{endpoint}{path}",
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout),
            ) as response:
                return response.status
        except (TimeoutError, aiohttp.ClientError, OSError):
            return None

    async def accepts(self, endpoint: Endpoint) -> bool | None:
        """See `ports.engine.Prober.accepts`."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                _, writer = await asyncio.open_connection(endpoint.address, endpoint.port)
        except ConnectionRefusedError:
            return False
        except (TimeoutError, OSError):
            return None
        writer.close()
        return True

    async def close(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()
