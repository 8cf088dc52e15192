"""The data plane as control sees it: something that holds the route table and serves by it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from stager.domain.route import Changes, Endpoint, RouteTable


class Router(Protocol):
    """Holds one route table. Every method may be repeated, and raises `Retry` while it is away."""

    async def current(self) -> RouteTable:
        """The table that is being served now. A data plane that was restarted still has it."""

    async def apply(self, table: RouteTable) -> None:
        """Serve by `table`, whole; returns when every new request follows it."""

    async def update(self, changes: Changes, table: RouteTable) -> None:
        """Make these changes; returns when every new request follows them.

        Args:
            changes: what is different.
            table: the result, for a data plane that can only take it whole, and for `home` and `domain`.
        """

    async def drain(self, endpoint: Endpoint, timeout: float) -> int:
        """Wait until no request to `endpoint` is open, for `timeout` seconds at most, then cut what is left.

        Ends at once when nothing is open. The endpoint must no longer be a target in the table.

        Returns:
            How many requests and WebSockets had to be cut.
        """

    def unreachable(self) -> AsyncIterator[str]:
        """The hosts whose endpoint refused a connection; an empty one when the data plane was (re)connected
        to, first of all at the start: then send it the table. Never ends."""
