"""What the front knows of the endpoints: connections that can be used again, and who waits for an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from stager.domain.route import Endpoint
from stager.front.http.limits import Limits
from stager.front.proxy.upstream import Asker, Upstream

_MOST_IDLE = 256


class Backend:
    """What the front knows of one endpoint: unused connections to it, and who waits for it."""

    def __init__(self, endpoint: Endpoint, limits: Limits) -> None:
        self.endpoint = endpoint
        self.limits = limits
        self.name = str(endpoint)
        self.busy: set[Asker] = set()
        self._idle: list[Upstream] = []
        self._draining = 0
        self._quiet: asyncio.Event = asyncio.Event()

    def take(self, youngest: float) -> Upstream | None:
        """The connection that was used last, if that is at most `youngest` seconds ago."""
        while self._idle:
            upstream = self._idle[-1]
            if upstream.usable:
                if time.monotonic() - upstream.idle_since > youngest:
                    return None
                return self._idle.pop()
            self._idle.pop()
        return None

    def put(self, upstream: Upstream) -> None:
        """Keep a connection for the next request."""
        if self._draining or len(self._idle) >= _MOST_IDLE:
            upstream.transport.close()
            return
        upstream.resume()
        upstream.idle_since = time.monotonic()
        self._idle.append(upstream)

    def forget(self, upstream: Upstream) -> None:
        """A connection is gone."""
        if upstream in self._idle:
            self._idle.remove(upstream)

    async def connect(self) -> Upstream:
        """A new connection. Raises OSError or TimeoutError."""
        loop, endpoint = asyncio.get_running_loop(), self.endpoint
        async with asyncio.timeout(self.limits.connect_seconds):
            if endpoint.path:
                _, upstream = await loop.create_unix_connection(lambda: Upstream(self), endpoint.path)
            else:
                _, upstream = await loop.create_connection(
                    lambda: Upstream(self), endpoint.address, endpoint.port
                )
        return upstream

    def leave(self, asker: Asker) -> None:
        """`asker` no longer waits."""
        self.busy.discard(asker)
        if not self.busy:
            self._quiet.set()

    async def drain(self, timeout: float) -> int:
        """Wait until nobody waits, then cut the rest; see `stager.ports.router.Router.drain`."""
        self._draining += 1
        try:
            self.close_idle(0.0)
            await self._wait_until_quiet(timeout)
            late = list(self.busy)
            for asker in late:
                asker.cut()
            self.close_idle(0.0)
        finally:
            self._draining -= 1
        return len(late)

    def close_idle(self, older_than: float) -> None:
        """Close the connections that nobody has used for so many seconds."""
        since = time.monotonic() - older_than
        old = [upstream for upstream in self._idle if upstream.idle_since <= since]
        self._idle = [upstream for upstream in self._idle if upstream.idle_since > since]
        for upstream in old:
            upstream.transport.close()

    @property
    def unused(self) -> bool:
        """Whether it may be forgotten."""
        return not self.busy and not self._idle and not self._draining

    async def _wait_until_quiet(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while self.busy and (left := deadline - time.monotonic()) > 0:
            self._quiet.clear()
            try:
                await asyncio.wait_for(self._quiet.wait(), left)
            except TimeoutError:
                return


class Backends:
    """All endpoints that have been asked lately."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_endpoint: dict[Endpoint, Backend] = {}

    def __iter__(self) -> Iterator[Backend]:
        return iter(list(self._by_endpoint.values()))

    def of(self, endpoint: Endpoint) -> Backend:
        """The backend of an endpoint, made when it isn't there."""
        backend = self._by_endpoint.get(endpoint)
        if backend is None:
            backend = self._by_endpoint[endpoint] = Backend(endpoint, self._limits)
        return backend

    def sweep(self) -> None:
        """Close what nobody has used for long, and forget what is empty."""
        for backend in self:
            backend.close_idle(self._limits.upstream_idle_seconds)
            if backend.unused:
                del self._by_endpoint[backend.endpoint]
