"""The data plane: the front, which serves by the route table, and the edge proxy before it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from typing import Protocol

from stager.domain.route import Endpoint, Health, RouteTable
from stager.domain.traffic import Activity, FrontEvent


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

    async def park(self, before: RouteTable, after: RouteTable, hosts: Collection[str], idle: float) -> bool:
        """Change the table as `update` does, if these hosts aren't in use (compare-and-set).

        A host is in use if its target isn't an endpoint, or has an open request, or was requested within
        `idle` seconds. A request that arrives afterwards follows the new table.

        Args:
            before: the table that was applied last.
            after: the table that replaces it, without a change of ingress ports.
            hosts: those that must not be in use.
            idle: seconds; 0 checks the open requests only.

        Returns:
            Whether the table was changed.
        """

    async def activity(self) -> Activity:
        """When hosts were last requested. Requests that got a page, those of link previews and crawlers, and
        those to Stager itself don't count."""

    async def drain(self, endpoint: Endpoint, timeout: float) -> int:
        """Wait at most `timeout` seconds until no request to `endpoint` is open, then close the remaining
        ones.

        Returns at once when nothing is open. The endpoint must no longer be in the table.

        Returns:
            The number of closed requests and WebSockets.
        """

    async def health(self) -> Health:
        """Its current state."""

    def events(self) -> AsyncIterator[FrontEvent]:
        """Its events, `CONNECTED` first. Events during an interruption are lost, except that `WAKE` is
        repeated. Never ends."""

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
