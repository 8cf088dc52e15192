"""The data plane as control sees it: what holds the route table and serves by it, and what stands before
that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from stager.domain.route import Endpoint, Health, RouteDiff, RouteTable


class Router(Protocol):
    """Holds one route table. Every method may be repeated, and raises `Retry` while it is away."""

    async def current(self) -> RouteTable:
        """The table that is being served now. A data plane that was restarted still has it."""

    async def apply(self, table: RouteTable) -> Mapping[int, str]:
        """Serve by `table`, whole; returns when every new request follows it.

        Returns:
            Those of the table's ports on which it can't listen, each with why. All else is done.
        """

    async def update(self, diff: RouteDiff, table: RouteTable) -> Mapping[int, str]:
        """Make these changes; returns when every new request follows them.

        Args:
            diff: the changes.
            table: the result, for a data plane that can only take it whole, and for `home` and `domain`.

        Returns:
            As `apply`.
        """

    async def drain(self, endpoint: Endpoint, timeout: float) -> int:
        """Wait until no request to `endpoint` is open, for `timeout` seconds at most, then cut what is left.

        Ends at once when nothing is open. The endpoint must no longer be a target in the table.

        Returns:
            How many requests and WebSockets had to be cut.
        """

    async def health(self) -> Health:
        """How it is now."""

    def unreachable(self) -> AsyncIterator[str]:
        """The hosts whose endpoint refused a connection, or began or ceased to be unresponsive; an empty one
        when the data plane was (re)connected to, first of all at the start: then send it the table. Never
        ends."""


class EdgeProxy(Protocol):
    """What stands before the data plane, such as nginx, and leads to it by the doors of the route table."""

    name: str
    """What people call it."""

    async def apply(self, table: RouteTable) -> Mapping[str, str]:
        """Route each host of `table.ingress_ports()` to its port on the loopback interface, and no other
        host of ours anywhere. Idempotent.

        Returns:
            The hosts to which it can't lead, each with why, in a sentence that names none. They don't keep it
            from leading to the others.

        Raises:
            Retry: it can't be told anything at the moment.
            Fault: it can't be told anything before somebody puts something right.
        """
