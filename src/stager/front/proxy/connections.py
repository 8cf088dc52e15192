"""Who is connected: the open client connections, how many from each address, and which peers are trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from ipaddress import ip_network
from typing import Generic, TypeVar

from stager.domain.identity.client_addresses import Network, holder, is_among
from stager.front.http.limits import Limits

C = TypeVar("C")

LOOPBACK = ("127.0.0.0/8", "::1/128")
NO_PROXIES = "--no-trusted-proxies"
"""The option that says so: no `--trusted-proxy` at all means the default."""


class Connections(Generic[C]):
    """Counts connections in and out.

    Args:
        limits: how many are too many.
        trusted: the networks of proxies that stand before the front; they speak for many clients.
    """

    def __init__(self, limits: Limits, trusted: Iterable[str] = LOOPBACK) -> None:
        self.connections: set[C] = set()
        self._limits = limits
        self._networks: Sequence[Network] = [ip_network(network, strict=False) for network in trusted]
        self._by_address: Counter[str] = Counter()
        self._known: dict[str, bool] = {}

    def trusts(self, address: str) -> bool:
        """Whether the peer is a trusted proxy. One that was gone before its address was known isn't."""
        if not address:
            return False
        if address not in self._known:
            if len(self._known) > 4096:
                self._known.clear()
            self._known[address] = is_among(address, self._networks)
        return self._known[address]

    def enter(self, connection: C, address: str) -> tuple[int, str] | None:
        """Count a connection in. What comes back, if anything, is the status and the words to refuse it."""
        full = len(self.connections) >= self._limits.connections
        self.connections.add(connection)
        whose = holder(address)
        self._by_address[whose] += 1
        if full:
            return 503, "There are too many connections; please try again in a moment."
        if self._by_address[whose] > self._limits.connections_per_client and not self.trusts(address):
            return 429, "There are too many connections from your address."
        return None

    def leave(self, connection: C, address: str) -> None:
        """Count a connection out."""
        self.connections.discard(connection)
        whose = holder(address)
        self._by_address[whose] -= 1
        if self._by_address[whose] <= 0:
            del self._by_address[whose]
