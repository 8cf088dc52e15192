"""Probes an instance over HTTP, at its address and with the Host header of visitors.

The front's parser reads the responses, so that the health check passes exactly if visitors get the response.
"""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import structlog

from stager.domain.route import Endpoint
from stager.front.http.limits import Limits
from stager.front.proxy.probe_request import Answer, ask

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT = 3.0
"""Seconds until an attempt to connect is given up."""
_MOST_REFUSALS = 1024
_REQUEST = "GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: stager-health-check\r\nAccept: */*\r\n\r\n"


class HttpProber:
    """See `ports.engine.Prober`. It doesn't follow redirects, which may lead to another server."""

    def __init__(self) -> None:
        self._refusals: dict[Endpoint, str] = {}

    async def answers(self, endpoint: Endpoint, host: str, path: str, timeout: float = 10.0) -> int | None:
        """See `ports.engine.Prober.answers`."""
        target = quote(path.partition("#")[0], safe="/?%:@!$&'()*+,;=~-._[]")
        head = _REQUEST.format(target=target, host=host).encode()
        try:
            async with asyncio.timeout(timeout):
                answer = await ask(endpoint, head, Limits(connect_seconds=timeout))
        except OSError:  # TimeoutError is one
            answer = Answer()
        self._remember(endpoint, host, answer)
        return answer.status

    def refusal(self, endpoint: Endpoint) -> str:
        """See `ports.engine.Prober.refusal`."""
        return self._refusals.get(endpoint, "")

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
        """No effect: no connection is kept open."""

    def _remember(self, endpoint: Endpoint, host: str, answer: Answer) -> None:
        before = self._refusals.pop(endpoint, "")
        if not answer.refusal:
            return
        if len(self._refusals) >= _MOST_REFUSALS:
            self._refusals.clear()
        self._refusals[endpoint] = answer.refusal
        if answer.refusal != before:
            log.warning("health_check_refused", host=host, error=answer.refusal)
