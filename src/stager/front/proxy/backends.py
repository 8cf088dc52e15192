"""Backends: the idle connections and open requests of each endpoint."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from stager.domain.route import Endpoint
from stager.front.http.limits import Limits
from stager.front.proxy.upstream import Pool, ResponseHandler, Upstream

_MAX_IDLE = 256


class Backend(Pool):
    """The idle connections to one endpoint, and the requests that are open there."""

    def __init__(self, endpoint: Endpoint, limits: Limits) -> None:
        self.endpoint = endpoint
        self.limits = limits
        self.name = str(endpoint)
        self.busy: set[ResponseHandler] = set()
        self._idle: list[Upstream] = []
        self._draining = 0
        self._quiet: asyncio.Event = asyncio.Event()

    def take(self, max_idle_seconds: float) -> Upstream | None:
        """Return the connection that was used last, if it was used within this time."""
        while self._idle:
            upstream = self._idle[-1]
            if upstream.is_usable:
                if time.monotonic() - upstream.idle_since > max_idle_seconds:
                    return None
                return self._idle.pop()
            self._idle.pop()
        return None

    def put(self, upstream: Upstream) -> None:
        """Keep a connection for the next request."""
        if self._draining or len(self._idle) >= _MAX_IDLE:
            upstream.transport.close()
            return
        upstream.resume_reading()
        upstream.idle_since = time.monotonic()
        self._idle.append(upstream)

    def forget(self, upstream: Upstream) -> None:
        """Remove a closed connection."""
        if upstream in self._idle:
            self._idle.remove(upstream)

    async def connect(self) -> Upstream:
        """Open a new connection. Raises OSError, of which TimeoutError is one."""
        loop, endpoint = asyncio.get_running_loop(), self.endpoint
        async with asyncio.timeout(self.limits.connect_seconds):
            if endpoint.path:
                _, upstream = await loop.create_unix_connection(lambda: Upstream(self), endpoint.path)
            else:
                _, upstream = await loop.create_connection(
                    lambda: Upstream(self), endpoint.address, endpoint.port
                )
        return upstream

    def leave(self, handler: ResponseHandler) -> None:
        """Remove a request that has ended."""
        self.busy.discard(handler)
        if not self.busy:
            self._quiet.set()

    async def drain(self, timeout: float) -> int:
        """Wait for the open requests, then abort the rest; see `stager.ports.router.Router.drain`."""
        self._draining += 1
        try:
            self.close_idle(0.0)
            await self._wait_until_quiet(timeout)
            late = list(self.busy)
            for handler in late:
                handler.abort()
            self.close_idle(0.0)
        finally:
            self._draining -= 1
        return len(late)

    def close_idle(self, older_than: float) -> None:
        """Close the connections that have been idle for so many seconds."""
        since = time.monotonic() - older_than
        old = [upstream for upstream in self._idle if upstream.idle_since <= since]
        self._idle = [upstream for upstream in self._idle if upstream.idle_since > since]
        for upstream in old:
            upstream.transport.close()

    @property
    def is_unused(self) -> bool:
        """Whether the backend has no state and can be deleted."""
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
    """The backends of all endpoints in use."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_endpoint: dict[Endpoint, Backend] = {}
        self._known: dict[int, tuple[Endpoint, Backend]] = {}
        """By the `id` of an endpoint, whose own hash takes longer than the rest of a lookup. The table has
        one object for each route."""

    def __iter__(self) -> Iterator[Backend]:
        return iter(list(self._by_endpoint.values()))

    def of(self, endpoint: Endpoint) -> Backend:
        """Return the backend of an endpoint; creates it if necessary."""
        known = self._known.get(id(endpoint))
        if known is not None:
            return known[1]
        backend = self._by_endpoint.get(endpoint)
        if backend is None:
            backend = self._by_endpoint[endpoint] = Backend(endpoint, self._limits)
        self._known[id(endpoint)] = endpoint, backend
        return backend

    def is_busy(self, endpoint: Endpoint) -> bool:
        """Whether a request to this endpoint is open."""
        backend = self._by_endpoint.get(endpoint)
        return backend is not None and len(backend.busy) > 0

    def unanswered(self, endpoint: Endpoint) -> int:
        """The number of requests to this endpoint whose response hasn't begun."""
        backend = self._by_endpoint.get(endpoint)
        return 0 if backend is None else sum(not handler.is_responding for handler in backend.busy)

    def sweep(self) -> None:
        """Close connections that have been idle for too long, and delete unused backends."""
        for backend in self:
            backend.close_idle(self._limits.upstream_idle_seconds)
            if backend.is_unused:
                del self._by_endpoint[backend.endpoint]
        # Also drops endpoints that are no longer in the table.
        self._known = {}
