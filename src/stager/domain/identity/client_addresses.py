"""Where requests come from: one reading of network addresses, for throttling and for trusted proxies alike.

A proxy may write `192.0.2.1:4711`, `[2001:db8::1]:4711` or `"[2001:db8::1]"` (RFC 7239, section 6); a socket
for both versions of IP writes `::ffff:192.0.2.1` (RFC 4291, section 2.5.5.2), a link-local one `fe80::1%eth0`
(RFC 4007, section 11). All of these are one client.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

ONE_HOLDER = 64
"""The prefix length that a holder of IPv6 addresses has at least (RFC 6177); within it addresses are free."""
LONGEST = 64
"""Characters of what isn't an address."""
_MAPPED = 96


@functools.lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """The address in its usual form, without port, brackets and zone; what isn't one stays, but shortened."""
    bare = text.strip().strip('"').strip()
    if bare.startswith("["):
        host = bare[1:].partition("]")[0]
    else:
        host = bare.partition(":")[0] if bare.count(":") == 1 else bare
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return bare[:LONGEST]
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


@functools.lru_cache(maxsize=4096)
def holder(address: str) -> str:
    """Who is counted by this address: the address itself, or the network of 64 bits that it is in, because
    whoever has one such address has all of them."""
    plain = canonical(address)
    return str(ip_network(f"{plain}/{ONE_HOLDER}", strict=False)) if ":" in plain and _is_ip(plain) else plain


def is_among(address: str, networks: Iterable[Network]) -> bool:
    """Whether the address is in one of these networks; no for what isn't an address."""
    plain = canonical(address)
    return _is_ip(plain) and any(ip_address(plain) in plain_network(network) for network in networks)


def plain_network(network: Network) -> Network:
    """The network of IPv4 that one of IPv4-mapped addresses means; any other as it is."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED:
        return network
    return IPv4Network((mapped, network.prefixlen - _MAPPED))


def sender(forwarded: str, trusted: Sequence[Network], peer: str) -> str:
    """The address that a request came from: the last one that isn't a trusted proxy's.

    Args:
        forwarded: `X-Forwarded-For`; whatever stands before the last stranger may be their own invention.
        trusted: the proxies' networks.
        peer: whoever is connected, for where nothing was forwarded.
    """
    told = [canonical(part) for part in forwarded.split(",") if part.strip()]
    stranger = next((address for address in reversed(told) if not is_among(address, trusted)), "")
    return stranger or (told[0] if told else canonical(peer))


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
