"""Bridge networks of environments and their generations, from a pool of our own: Docker's default pools have
31 networks at most.

Addresses are allocated round-robin: a released address is reused last, so that a proxy with an outdated route
doesn't reach another environment's instance.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from itertools import islice
from pathlib import Path
from typing import Any

import aiodocker

from stager.domain.errors import Fault, Retry
from stager.domain.leftovers import Leftover, LeftoverKind
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

NAME_PREFIX = "stager-"
GENERATION_SUFFIX = "-g"
"""Before the number of the generation at the end of a network's name."""

ROUTES = Path("/proc/net/route")
MAX_ATTEMPTS = 64
"""Maximum number of subnets to try if Docker rejects them."""


def tag_of(installation: str) -> str:
    """Return the part of bridge names, after the prefix, that identifies this installation."""
    return _digits(installation, TAG_DIGITS)


def bridge_of(installation: str, network: str, profile: ProfileName) -> str:
    """Return the name of a network's bridge."""
    return f"{BRIDGE_PREFIXES[profile]}{tag_of(installation)}{_digits(network, NETWORK_DIGITS)}"


def _digits(text: str, count: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:count]


@dataclass(frozen=True, slots=True)
class NetworkKey:
    """Identifies a network. Each profile has networks of its own, because the names of bridges contain it.

    Args:
        environment: the id of the environment.
        generation: 0 for the environment's own network.
        is_shared: whether several services are in it.
    """

    environment: str
    profile: ProfileName
    generation: int = 0
    is_shared: bool = field(default=False, compare=False)


def generation_of(network: str) -> int:
    """The generation that the network with this name belongs to; 0 for an environment's own and for networks
    of other programs."""
    beginning, _, digits = network.rpartition(GENERATION_SUFFIX)
    return int(digits) if beginning.startswith(NAME_PREFIX) and digits.isdecimal() else 0


@dataclass(frozen=True, slots=True)
class Usage:
    """The containers' use of networks.

    Args:
        needed: the names of the networks that are in use.
        members: by the name of a network, the ids of the containers that are in it.
    """

    needed: frozenset[str]
    members: Mapping[str, Sequence[str]]


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
        self._names: dict[NetworkKey, str] = {}
        """The names of networks in which there may be no container yet: those that are reserved, and those
        that were created before their first instance."""

    async def lease(self, key: NetworkKey, network: str, taken: Iterable[str]) -> Lease:
        """Allocate network and address of an instance. The caller must call `release` once the instance is in
        the network.

        Args:
            network: the name of this network if an instance is in it; empty if there is none.
            taken: the addresses of these instances.
        """
        async with self._lock:
            network = network or self._names.get(key, "")
            subnet = await self._subnet_of(network, key.profile) if network else None
            if subnet is None:
                network, subnet = await self._create(key)
            lease = Lease(network, str(self._next_address(subnet, {IPv4Address(a) for a in taken})))
            self._reserve(key, network)
        return lease

    async def create(self, key: NetworkKey) -> str:
        """Create a network before its first instance, unless that was done before. The caller must call
        `release`. The instance may be created afterwards, if garbage collection doesn't come first."""
        async with self._lock:
            network = self._names.get(key, "")
            if not network or await self._subnet_of(network, key.profile) is None:
                network, _ = await self._create(key)
            self._reserve(key, network)
        return network

    def _reserve(self, key: NetworkKey, network: str) -> None:
        self._reserved[network] += 1
        self._names[key] = network

    def release(self, network: str) -> None:
        """End the reservation of a network: from now on, the engine knows whether it is used."""
        self._reserved -= Counter([network])

    async def sweep(self, usage: Callable[[], Awaitable[Usage]]) -> int:
        """Remove our unused networks; returns their number.

        Args:
            usage: returns the networks of all instances, running or not.
        """
        async with self._lock:
            reserved, used, unused = await self._unused(usage)
            with engine_errors():
                self._names = {key: name for key, name in self._names.items() if name in reserved}
                removed = [await self._remove(n["Id"], used.members.get(n["Name"], ())) for n in unused]
        return sum(removed)

    async def leftovers(self, usage: Callable[[], Awaitable[Usage]]) -> list[Leftover]:
        """What `sweep` would remove."""
        async with self._lock:
            _, used, unused = await self._unused(usage)
        return [_leftover(each, used) for each in unused]

    async def _unused(
        self, usage: Callable[[], Awaitable[Usage]]
    ) -> tuple[set[str], Usage, list[dict[str, Any]]]:
        """The names of reserved networks, what instances use, and our networks that are neither."""
        # In this order: an instance that is created meanwhile is in at least one of the sets.
        reserved = set(self._reserved)
        used = await usage()
        ours = {"label": [f"{labels.INSTALLATION}={self._installation}"]}
        with engine_errors():
            found = await self._docker.networks.list(filters=ours)
        return reserved, used, [n for n in found if n["Name"] not in reserved | used.needed]

    async def _remove(self, network: str, members: Sequence[str]) -> bool:
        """Remove a network that only kept instances are in, which don't need it."""
        handle = aiodocker.docker.DockerNetwork(self._docker, network)
        try:
            for container in members:
                await handle.disconnect({"Container": container, "Force": True})
            return await handle.delete()
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

    async def _create(self, key: NetworkKey) -> tuple[str, IPv4Network]:
        suffix = f"{GENERATION_SUFFIX}{key.generation}" if key.generation else ""
        for subnet in islice(self._candidates(is_shared=key.is_shared), MAX_ATTEMPTS):
            name = f"{NAME_PREFIX}{self._installation}-{subnet.network_address}{suffix}"
            self._names[key] = name  # first: Docker completes a call that is cancelled
            with engine_errors():
                try:
                    await self._docker.networks.create(self._config(name, subnet, key))
                except aiodocker.DockerError as error:
                    del self._names[key]
                    if _is_taken(error):
                        continue
                    raise Retry(
                        f"Docker can't create a network for {key.environment}: {error.message}",
                        reason="network-failed",
                    ) from error
            return name, subnet
        raise Retry(
            f"There is no free subnet in {self._pool}.",
            hint="Other programs use them, or `network.pool` is too small.",
            reason="no-subnet",
        )

    def _config(self, name: str, subnet: IPv4Network, key: NetworkKey) -> dict[str, object]:
        return {
            "Name": name,
            "CheckDuplicate": True,
            "Driver": "bridge",
            "IPAM": {"Config": [{"Subnet": str(subnet), "Gateway": str(subnet[1])}]},
            "Options": {BRIDGE_NAME: bridge_of(self._installation, name, key.profile)},
            "Labels": {
                labels.INSTALLATION: self._installation,
                labels.ENVIRONMENT: key.environment,
                labels.GENERATION: str(key.generation),
            },
        }

    @property
    def _count(self) -> int:
        return 1 << (self._size - self._pool.prefixlen)

    def _candidates(self, *, is_shared: bool) -> Iterator[IPv4Network]:
        """Subnets to try. Those for several services are twice as large.

        One that the machine has a route to is left out: Docker compares subnets with its own networks only,
        and with two routes, instances can't be reached.
        """
        units = 2 if is_shared and self._size > self._pool.prefixlen else 1
        routed = self._routed()
        for _ in range(self._count):
            following = (self._cursor + 1) % self._count
            first = following - following % units
            self._cursor = first + units - 1
            if routed.isdisjoint(range(first, first + units)):
                start = int(self._pool.network_address) + (first << (32 - self._size))
                yield IPv4Network((start, self._size - (units - 1)))

    def _routed(self) -> set[int]:
        """The numbers of the pool's subnets that the machine has a route to."""
        bits, beginning = 32 - self._size, int(self._pool.network_address)
        found: set[int] = set()
        for _, network in _routes(_table()):
            if network.prefixlen and network.overlaps(self._pool):
                first = max(int(network.network_address) - beginning, 0) >> bits
                last = (int(network.broadcast_address) - beginning) >> bits
                found.update(range(first, min(last, self._count - 1) + 1))
        return found

    def _next_address(self, subnet: IPv4Network, taken: set[IPv4Address]) -> IPv4Address:
        hosts = list(subnet.hosts())[1:]  # the first is the gateway's
        first = self._last.get(str(subnet), -1) + 1
        for step in range(len(hosts)):
            index = (first + step) % len(hosts)
            if hosts[index] not in taken:
                self._last[str(subnet)] = index
                return hosts[index]
        raise Retry(
            f"All {len(hosts)} addresses of {subnet} are taken.",
            hint="`network.prefix_length` in the configuration sets the size of networks.",
            reason="no-address",
        )


def _leftover(network: Mapping[str, Any], used: Usage) -> Leftover:
    marks = network.get("Labels") or {}
    is_shared = bool(used.members.get(network["Name"]))
    why = "only kept services of newer deployments are in it" if is_shared else "no container is in it"
    return Leftover(LeftoverKind.NETWORK, network["Name"], why, marks.get(labels.ENVIRONMENT, ""))


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
    for interface, network in _routes(_table() if table is None else table):
        ours = interface.startswith((*BRIDGE_PREFIXES.values(), "br-", "docker"))
        if network.prefixlen and not ours and network.overlaps(pool):
            raise Fault(
                f"network.pool: {pool} overlaps the route to {network} by {interface}.",
                hint="Choose a range without routes on this machine.",
                reason="pool-overlaps",
            )


def _table() -> str:
    return ROUTES.read_text() if ROUTES.exists() else ""


def _routes(table: str) -> Iterator[tuple[str, IPv4Network]]:
    for line in table.splitlines()[1:]:
        interface, destination, *_, mask = line.split()[:8]
        yield interface, IPv4Network((_address(destination), str(_address(mask))), strict=False)


def _address(text: str) -> IPv4Address:
    """Parse eight hex digits in host byte order, which is little-endian on all platforms of Docker."""
    return IPv4Address(socket.inet_ntoa(struct.pack("<L", int(text, 16))))
