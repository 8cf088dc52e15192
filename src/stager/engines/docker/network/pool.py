"""A bridge network per environment, from a pool of our own: Docker's default pools have 31 networks at most.

Addresses are allocated round-robin: a released address is reused last, so that a proxy with an outdated route
doesn't reach another environment's instance.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import aiodocker

from stager.domain.errors import Fault, Retry
from stager.domain.profile import ProfileName
from stager.engines.docker import labels
from stager.engines.docker.client import engine_errors

BRIDGE_PREFIXES = {ProfileName.STANDARD: "pvt", ProfileName.RESTRICTED: "pvf"}
"""Prefixes of bridge names, one per profile, so that firewall rules can match all bridges of a profile."""
TAG_DIGITS, NETWORK_DIGITS = 4, 8
"""Hex digits of a bridge's name that identify the installation and the network. With the prefix, these are 15
characters, the maximum for an interface name on Linux (`IFNAMSIZ`)."""

BRIDGE_NAME = "com.docker.network.bridge.name"
"""An option of Docker's bridge driver, https://docs.docker.com/engine/network/drivers/bridge/#options."""

ROUTES = Path("/proc/net/route")
MAX_ATTEMPTS = 64
"""Maximum number of subnets to try if other programs use them."""


def tag_of(installation: str) -> str:
    """Return the part of bridge names, after the prefix, that identifies this installation."""
    return _digits(installation, TAG_DIGITS)


def bridge_of(installation: str, network: str, profile: ProfileName) -> str:
    """Return the name of a network's bridge."""
    return f"{BRIDGE_PREFIXES[profile]}{tag_of(installation)}{_digits(network, NETWORK_DIGITS)}"


def _digits(text: str, count: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:count]


@dataclass(frozen=True, slots=True)
class Lease:
    """A network, and an address in it, for one instance."""

    network: str
    address: str


class NetworkPool:
    """Allocates networks and addresses.

    Args:
        docker: the Docker client.
        installation: the id of this installation.
        pool: the range from which subnets are allocated.
        size: the prefix length of a subnet, such as 28 for 13 instances.
    """

    def __init__(self, docker: aiodocker.Docker, installation: str, pool: IPv4Network, size: int) -> None:
        self._docker = docker
        self._installation = installation
        self._pool = pool
        self._size = size
        self._cursor = _start(installation, self._count)
        self._last: dict[str, int] = {}
        self._lock = asyncio.Lock()
        self._reserved: Counter[str] = Counter()

    async def lease(
        self, environment: str, profile: ProfileName, network: str, taken: Iterable[str]
    ) -> Lease:
        """Allocate network and address of a new instance. The caller must call `release` once the instance
        exists.

        Args:
            environment: the environment's name, for errors.
            profile: the trust profile of its code.
            network: the network of the environment's other instances; empty if there is none.
            taken: the addresses of these instances.
        """
        async with self._lock:
            subnet = await self._subnet_of(network, profile) if network else None
            if subnet is None:
                network, subnet = await self._create(environment, profile)
            lease = Lease(network, str(self._next_address(subnet, {IPv4Address(a) for a in taken})))
            self._reserved[network] += 1
        return lease

    async def create(self, environment: str, profile: ProfileName) -> str:
        """Create the network of an environment before its first instance. The caller must call `release` once
        the instance exists."""
        async with self._lock:
            network, _ = await self._create(environment, profile)
            self._reserved[network] += 1
        return network

    def release(self, network: str) -> None:
        """End the reservation of a network: from now on, the engine knows whether it is used."""
        self._reserved -= Counter([network])

    async def sweep(self, used: Callable[[], Awaitable[set[str]]]) -> int:
        """Remove our unused networks; returns their number.

        Args:
            used: returns the names of the networks of all instances, running or not.
        """
        ours = {"label": [f"{labels.INSTALLATION}={self._installation}"]}
        async with self._lock:
            # In this order: an instance that is created meanwhile is in at least one of the sets.
            kept = set(self._reserved) | await used()
            with engine_errors():
                found = await self._docker.networks.list(filters=ours)
                removed = [await self._remove(n["Id"]) for n in found if n["Name"] not in kept]
        return sum(removed)

    async def _remove(self, network: str) -> bool:
        try:
            return await aiodocker.docker.DockerNetwork(self._docker, network).delete()
        except aiodocker.DockerError as error:
            if error.status in (403, 404):  # another container uses it, or it was removed already
                return False
            raise

    async def holds(self, network: str, profile: ProfileName) -> bool:
        """Whether the name of this network's bridge matches the profile, so that the firewall's rules apply.
        An earlier release may have named it differently."""
        found = await self._inspect(network)
        return found is not None and self._has_name_of(found, network, profile)

    def _has_name_of(self, found: Mapping[str, Any], network: str, profile: ProfileName) -> bool:
        return (found["Options"] or {}).get(BRIDGE_NAME) == bridge_of(self._installation, network, profile)

    async def _subnet_of(self, network: str, profile: ProfileName) -> IPv4Network | None:
        """Return the network's subnet; None if there is no such network, or its bridge has another name."""
        found = await self._inspect(network)
        if found is None or not self._has_name_of(found, network, profile):
            return None
        return IPv4Network(found["IPAM"]["Config"][0]["Subnet"])

    async def _inspect(self, network: str) -> Mapping[str, Any] | None:
        with engine_errors():
            try:
                shown: Mapping[str, Any] = await (await self._docker.networks.get(network)).show()
            except aiodocker.DockerError as error:
                if error.status == 404:
                    return None
                raise
        return shown

    async def _create(self, environment: str, profile: ProfileName) -> tuple[str, IPv4Network]:
        for subnet in self._candidates():
            name = f"stager-{self._installation}-{subnet.network_address}"
            with engine_errors():
                try:
                    await self._docker.networks.create(self._config(name, subnet, profile))
                except aiodocker.DockerError as error:
                    if _is_taken(error):
                        continue
                    raise Retry(
                        f"Docker can't create a network for {environment}: {error.message}",
                        reason="network-failed",
                    ) from error
            return name, subnet
        raise Retry(
            f"There is no free subnet in {self._pool}.",
            hint="Other programs use them, or `network.pool` is too small.",
            reason="no-subnet",
        )

    def _config(self, name: str, subnet: IPv4Network, profile: ProfileName) -> dict[str, object]:
        return {
            "Name": name,
            "CheckDuplicate": True,
            "Driver": "bridge",
            "IPAM": {"Config": [{"Subnet": str(subnet), "Gateway": str(subnet[1])}]},
            "Options": {BRIDGE_NAME: bridge_of(self._installation, name, profile)},
            "Labels": {labels.INSTALLATION: self._installation},
        }

    @property
    def _count(self) -> int:
        return 1 << (self._size - self._pool.prefixlen)

    def _candidates(self) -> Iterator[IPv4Network]:
        for _ in range(min(MAX_ATTEMPTS, self._count)):
            self._cursor = (self._cursor + 1) % self._count
            start = int(self._pool.network_address) + (self._cursor << (32 - self._size))
            yield IPv4Network((start, self._size))

    def _next_address(self, subnet: IPv4Network, taken: set[IPv4Address]) -> IPv4Address:
        hosts = list(subnet.hosts())[1:]  # the first is the gateway's
        first = self._last.get(str(subnet), -1) + 1
        for step in range(len(hosts)):
            index = (first + step) % len(hosts)
            if hosts[index] not in taken:
                self._last[str(subnet)] = index
                return hosts[index]
        raise Retry(f"All {len(hosts)} addresses of {subnet} are taken.", reason="no-address")


def _start(installation: str, count: int) -> int:
    """Return the first subnet to try; it depends on the installation, to avoid conflicts on one machine."""
    return int.from_bytes(hashlib.sha256(installation.encode()).digest()[:4], "big") % count


def _is_taken(error: aiodocker.DockerError) -> bool:
    """Whether Docker rejects the subnet or the name because it is in use."""
    return error.status == 409 or "overlap" in error.message or "already exists" in error.message


def check_pool(pool: IPv4Network, table: str | None = None) -> None:
    """Check that the machine has no route into the pool, except those of Stager's and Docker's bridges.

    Args:
        pool: the pool of subnets.
        table: the content of `/proc/net/route` (proc(5)); None reads it, if the file exists.

    Raises:
        Fault: there is such a route.
    """
    if table is None:
        table = ROUTES.read_text() if ROUTES.exists() else ""
    for interface, network in _routes(table):
        ours = interface.startswith((*BRIDGE_PREFIXES.values(), "br-", "docker"))
        if network.prefixlen and not ours and network.overlaps(pool):
            raise Fault(
                f"network.pool: {pool} overlaps the route to {network} by {interface}.",
                hint="Choose a range without routes on this machine.",
                reason="pool-overlaps",
            )


def _routes(table: str) -> Iterator[tuple[str, IPv4Network]]:
    for line in table.splitlines()[1:]:
        interface, destination, *_, mask = line.split()[:8]
        yield interface, IPv4Network((_address(destination), str(_address(mask))), strict=False)


def _address(text: str) -> IPv4Address:
    """Parse eight hex digits in host byte order, which is little-endian on all platforms of Docker."""
    return IPv4Address(socket.inet_ntoa(struct.pack("<L", int(text, 16))))
