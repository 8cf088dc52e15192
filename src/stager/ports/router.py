"""The data plane: the front, which serves by the route table, and the edge proxy before it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from stager.domain.route import Endpoint, Health, RouteTable


class Router(Protocol):
    """Serves by one route table. Every method is idempotent, and raises `Retry` while the data plane is
    unreachable."""

    async def current(self) -> RouteTable:
        """The current table. A restarted data plane still has it."""

    async def apply(self, table: RouteTable) -> Mapping[int, str]:
        """Replace the table. Returns once every new request follows it.

        Returns:
            The ingress ports on which it can't listen, each with the reason. Everything else is applied.
        """

    async def update(self, before: RouteTable, after: RouteTable) -> Mapping[int, str]:
        """Change the table; only the difference is sent. Returns once every new request follows it.

        Args:
            before: the table that was applied last.
            after: the table that replaces it.

        Returns:
            As `apply`.
        """

    async def drain(self, endpoint: Endpoint, timeout: float) -> int:
        """Wait at most `timeout` seconds until no request to `endpoint` is open, then close the remaining
        ones.

        Returns at once when nothing is open. The endpoint must no longer be in the table.

        Returns:
            The number of closed requests and WebSockets.
        """

    async def health(self) -> Health:
        """Its current state."""

    def unreachable(self) -> AsyncIterator[str]:
        """The hosts whose endpoint refused a connection, or became responsive or unresponsive; an empty one,
        first at the start, after each (re)connection, when the table must be sent. Never ends."""

    def certificate_requests(self) -> AsyncIterator[str]:
        """The hosts of the table for which a client waits that have no certificate yet, repeatedly as long as
        it waits. Never ends."""


class EdgeProxy(Protocol):
    """A proxy before the data plane, such as nginx, which forwards to it by the table's ingress ports."""

    name: str
    """Its display name."""

    async def apply(self, table: RouteTable) -> Mapping[str, str]:
        """Route each host of `table.ingress_ports()` to its port on the loopback interface, and remove
        Stager's other hosts. Idempotent.

        Returns:
            The hosts that can't be routed, each with the reason, a sentence without the host's name. The
            others are routed.

        Raises:
            Retry: it can't be configured at the moment.
            Fault: it can't be configured until an operator corrects something.
        """
