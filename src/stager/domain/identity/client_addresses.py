"""Parses client addresses, for throttling and for trusted proxies.

A proxy may write `192.0.2.1:4711`, `[2001:db8::1]:4711` or `"[2001:db8::1]"` (RFC 7239, section 6); a socket
for both versions of IP writes `::ffff:192.0.2.1` (RFC 4291, section 2.5.5.2), a link-local one `fe80::1%eth0`
(RFC 4007, section 11). All of these are the same client.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

SUBSCRIBER_PREFIX = 64
"""The longest prefix that is assigned to one subscriber (RFC 6177), who can use any address in it."""
LONGEST = 64
"""Characters of text that isn't an address."""
_MAPPED = 96


@functools.lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """Return the address in canonical form, without port, brackets and zone. Other text is returned
    shortened."""
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
    """Return what failed logins are counted by: the IPv4 address, or the /64 network of an IPv6 address,
    because a subscriber can use all addresses in it."""
    plain = canonical(address)
    return (
        str(ip_network(f"{plain}/{SUBSCRIBER_PREFIX}", strict=False))
        if ":" in plain and _is_ip(plain)
        else plain
    )


def is_among(address: str, networks: Iterable[Network]) -> bool:
    """Whether the address is in one of these networks; false for text that isn't an address."""
    plain = canonical(address)
    return _is_ip(plain) and any(ip_address(plain) in plain_network(network) for network in networks)


def plain_network(network: Network) -> Network:
    """Return the IPv4 network of a network of IPv4-mapped addresses; others are returned unchanged."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED:
        return network
    return IPv4Network((mapped, network.prefixlen - _MAPPED))


def sender(forwarded: str, trusted: Sequence[Network], peer: str) -> str:
    """Return the client's address: the last one that isn't a trusted proxy's.

    Args:
        forwarded: `X-Forwarded-For`; addresses before the client's may be forged.
        trusted: the proxies' networks.
        peer: the peer of the connection, for requests without that header.
    """
    addresses = [canonical(part) for part in forwarded.split(",") if part.strip()]
    client = next((address for address in reversed(addresses) if not is_among(address, trusted)), "")
    return client or (addresses[0] if addresses else canonical(peer))


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
