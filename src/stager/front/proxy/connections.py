"""The open client connections, their number per address, and the trusted proxies among the peers."""

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
"""The command-line option for an empty list: no `--trusted-proxy` at all means the default."""
_MAX_CACHED = 4096


class Connections(Generic[C]):
    """Keeps the open client connections and enforces their limits.

    Args:
        limits: the maximum number of connections, in total and per address.
        trusted: the networks of the proxies in front of the front. They connect for many clients, so the
            limit per address doesn't apply to them.
    """

    def __init__(self, limits: Limits, trusted: Iterable[str] = LOOPBACK) -> None:
        self.open: set[C] = set()
        self._limits = limits
        self._networks: Sequence[Network] = [ip_network(network, strict=False) for network in trusted]
        self._by_address: Counter[str] = Counter()
        self._is_trusted: dict[str, bool] = {}

    def trusts(self, address: str) -> bool:
        """Whether the peer is a trusted proxy. A peer without a known address isn't."""
        if not address:
            return False
        if address not in self._is_trusted:
            if len(self._is_trusted) > _MAX_CACHED:
                self._is_trusted.clear()
            self._is_trusted[address] = is_among(address, self._networks)
        return self._is_trusted[address]

    def add(self, connection: C, address: str) -> tuple[int, str] | None:
        """Add a connection. Returns status and message of a refusal if a limit is exceeded, else None."""
        is_full = len(self.open) >= self._limits.connections
        self.open.add(connection)
        key = holder(address)
        self._by_address[key] += 1
        if is_full:
            return 503, "There are too many connections; please try again in a moment."
        if self._by_address[key] > self._limits.connections_per_client and not self.trusts(address):
            return 429, "There are too many connections from your address."
        return None

    def remove(self, connection: C, address: str) -> None:
        """Remove a closed connection."""
        self.open.discard(connection)
        key = holder(address)
        self._by_address[key] -= 1
        if self._by_address[key] <= 0:
            del self._by_address[key]
