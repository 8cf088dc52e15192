"""A bridge for each environment, out of a pool of our own: Docker's default pools end at 31 networks.

Addresses go round: a freed one is the last to be given out again, so that no router that is slow to drop a
route can send anybody to somebody else's instance.
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
"""Fixed for each profile, so that a firewall's rules can be written once for all bridges."""
TAG, OWN = 4, 8
"""Hex digits of a bridge's name that tell the installation, and then the network: with the prefix 15
characters, which is all that Linux has for the name of an interface (`IFNAMSIZ`)."""

BRIDGE_NAME = "com.docker.network.bridge.name"
"""Of Docker's bridge driver, https://docs.docker.com/engine/network/drivers/bridge/#options."""

ROUTES = Path("/proc/net/route")
TRIES = 64
"""How many subnets are tried in a row when others on this machine hold them."""


def tag_of(installation: str) -> str:
    """What the names of this installation's bridges have in common after the prefix."""
    return _digits(installation, TAG)


def bridge_of(installation: str, network: str, profile: ProfileName) -> str:
    """The name of the bridge of one of this installation's networks."""
    return f"{BRIDGE_PREFIXES[profile]}{tag_of(installation)}{_digits(network, OWN)}"


def _digits(text: str, count: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:count]


@dataclass(frozen=True, slots=True)
class Lease:
    """A place for one instance: a network, and an address in it."""

    network: str
    address: str


class NetworkPool:
    """Gives out networks and addresses.

    Args:
        pool: where the subnets come from.
        size: the prefix length of each, such as 28 for 13 instances.
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
        """A place for a new instance of this environment. `release` must follow, once the instance holds it.

        Args:
            network: the one that the environment's other instances are in; empty when there is none.
            taken: the addresses of those.
        """
        async with self._lock:
            subnet = await self._subnet_of(network, profile) if network else None
            if subnet is None:
                network, subnet = await self._create(environment, profile)
            lease = Lease(network, str(self._next_address(subnet, {IPv4Address(a) for a in taken})))
            self._reserved[network] += 1
        return lease

    async def make(self, environment: str, profile: ProfileName) -> str:
        """A network for an environment that has none, ahead of its first instance. `release` must follow,
        once that holds it."""
        async with self._lock:
            network, _ = await self._create(environment, profile)
            self._reserved[network] += 1
        return network

    def release(self, network: str) -> None:
        """The instance has been made, or has not: the network is only as used as the engine says."""
        self._reserved -= Counter([network])

    async def sweep(self, used: Callable[[], Awaitable[set[str]]]) -> int:
        """Remove our networks that nobody uses.

        Args:
            used: gives the names of those that instances are in, running or not.
        """
        ours = {"label": [f"{labels.INSTALLATION}={self._installation}"]}
        async with self._lock:
            # In this order: an instance that is made meanwhile was in the one set or comes into the other.
            kept = set(self._reserved) | await used()
            with engine_errors():
                found = await self._docker.networks.list(filters=ours)
                gone = [await self._remove(n["Id"]) for n in found if n["Name"] not in kept]
        return sum(gone)

    async def _remove(self, network: str) -> bool:
        try:
            return await aiodocker.docker.DockerNetwork(self._docker, network).delete()
        except aiodocker.DockerError as error:
            if error.status in (403, 404):  # somebody's container is in it, or it is gone already
                return False
            raise

    async def holds(self, network: str, profile: ProfileName) -> bool:
        """Whether the firewall knows this network's bridge as one of this profile. An earlier release
        may have made it, and named it otherwise."""
        found = await self._shown(network)
        return found is not None and self._is_known(found, network, profile)

    def _is_known(self, found: Mapping[str, Any], network: str, profile: ProfileName) -> bool:
        return (found["Options"] or {}).get(BRIDGE_NAME) == bridge_of(self._installation, network, profile)

    async def _subnet_of(self, network: str, profile: ProfileName) -> IPv4Network | None:
        """None where there is no such network, or none whose bridge is of this profile."""
        found = await self._shown(network)
        if found is None or not self._is_known(found, network, profile):
            return None
        return IPv4Network(found["IPAM"]["Config"][0]["Subnet"])

    async def _shown(self, network: str) -> Mapping[str, Any] | None:
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
                        f"Docker can't make a network for {environment}: {error.message}",
                        reason="network-failed",
                    ) from error
            return name, subnet
        raise Retry(
            f"No free subnet was found in {self._pool}.",
            hint="Another program holds them, or `network.pool` is too small.",
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
        for _ in range(min(TRIES, self._count)):
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
    """Where an installation begins to look, so that several on one machine seldom meet."""
    return int.from_bytes(hashlib.sha256(installation.encode()).digest()[:4], "big") % count


def _is_taken(error: aiodocker.DockerError) -> bool:
    """Whether Docker refuses the subnet, or the name, because somebody has it."""
    return error.status == 409 or "overlap" in error.message or "already exists" in error.message


def check_pool(pool: IPv4Network, table: str | None = None) -> None:
    """Refuse a pool that the machine has a route into, but by our own bridges and by Docker's.

    Args:
        table: what `/proc/net/route` says (proc(5)); read here unless given. Without it nothing is checked.

    Raises:
        Fault: with the route that is in the way.
    """
    if table is None:
        table = ROUTES.read_text() if ROUTES.exists() else ""
    for interface, network in _routes(table):
        ours = interface.startswith((*BRIDGE_PREFIXES.values(), "br-", "docker"))
        if network.prefixlen and not ours and network.overlaps(pool):
            raise Fault(
                f"network.pool: {pool} overlaps the route to {network} by {interface}.",
                hint="Choose a range that this machine has no route into.",
                reason="pool-overlaps",
            )


def _routes(table: str) -> Iterator[tuple[str, IPv4Network]]:
    for line in table.splitlines()[1:]:
        interface, destination, *_, mask = line.split()[:8]
        yield interface, IPv4Network((_address(destination), str(_address(mask))), strict=False)


def _address(text: str) -> IPv4Address:
    """Eight hex digits in the host's byte order, which is little-endian wherever Docker runs."""
    return IPv4Address(socket.inet_ntoa(struct.pack("<L", int(text, 16))))
