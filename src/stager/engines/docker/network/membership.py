"""The networks that a container is in: its own one, and those of the generations that it joined."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiodocker

from stager.domain.environment import InstanceLabels
from stager.domain.errors import Retry
from stager.engines.docker import containers, labels
from stager.engines.docker.client import engine_errors
from stager.engines.docker.network.pool import Lease, NetworkKey, NetworkPool, Usage, generation_of
from stager.engines.docker.network.prepared_networks import Predicate, PreparedNetworks
from stager.ports.firewall import Firewall

Rows = Sequence[Mapping[str, Any]]
"""Rows of Docker's list of containers."""

ALREADY_IN = "already exists in network"
"""Part of Docker's answer when a container is in the network that it should be connected to."""


class Membership:
    """Chooses networks and addresses of containers, and connects them.

    Args:
        firewall: applies the network rules before a container starts or joins; None for no rules.
    """

    def __init__(self, docker: aiodocker.Docker, pool: NetworkPool, firewall: Firewall | None) -> None:
        self._docker = docker
        self._pool = pool
        self._firewall = firewall
        self._prepared = PreparedNetworks(pool)

    def prepared(self, key: NetworkKey, has_none: Predicate) -> AbstractAsyncContextManager[None]:
        """See `PreparedNetworks.prepared`."""
        return self._prepared.prepared(key, has_none)

    async def lease(self, key: NetworkKey, rows: Rows) -> Lease:
        """Allocate an address in this network, which is created if needed. The caller must call `release`.

        Args:
            rows: the environment's containers.
        """
        network = network_of(key, rows) or await self._prepared.network(key)
        taken = [containers.address_in(row, network) for row in rows]
        return await self._pool.lease(key, network, [address for address in taken if address])

    def release(self, lease: Lease) -> None:
        """See `NetworkPool.release`."""
        self._pool.release(lease.network)

    async def join(
        self, container: str, key: NetworkKey, rows: Rows, guarded: InstanceLabels, aliases: Sequence[str]
    ) -> str:
        """Connect a container to this network; returns the network's name.

        Args:
            rows: the environment's containers.
            guarded: the container's labels, for the firewall.
            aliases: its names in the network.
        """
        lease = await self.lease(key, rows)
        try:
            await self.guard([lease.network], guarded)
            await self._connect(container, lease, aliases)
        finally:
            self.release(lease)
        return lease.network

    async def _connect(self, container: str, lease: Lease, aliases: Sequence[str]) -> None:
        endpoint = {"IPAMConfig": {"IPv4Address": lease.address}, "Aliases": list(aliases)}
        network = aiodocker.docker.DockerNetwork(self._docker, lease.network)
        with engine_errors():
            try:
                await network.connect({"Container": container, "EndpointConfig": endpoint})
            except aiodocker.DockerError as error:
                if ALREADY_IN in error.message:
                    return
                raise Retry(
                    f"The container can't join the network of its generation: {error.message}",
                    reason="instance-gone" if "No such container" in error.message else "join-failed",
                ) from error

    async def guard(self, networks: Sequence[str], guarded: InstanceLabels) -> None:
        """Apply the firewall's rules for a container in these networks."""
        if self._firewall is not None:
            await asyncio.gather(*(self._firewall.guard(network, guarded) for network in networks))

    async def are_known(self, networks: Sequence[str], guarded: InstanceLabels) -> bool:
        """Whether the firewall's rules apply to these networks; see `NetworkPool.holds`."""
        held = [await self._pool.holds(network, guarded.profile) for network in networks]
        return all(held)


def network_of(key: NetworkKey, rows: Rows) -> str:
    """The name of this network if a container is in it; empty if none is."""
    alike = [row for row in rows if row["Labels"].get(labels.PROFILE) == key.profile.value]
    names = [name for row in alike for name in (row["Labels"][labels.NETWORK], *containers.joined(row))]
    return next((name for name in names if generation_of(name) == key.generation), "")


def usage_of(rows: Rows) -> Usage:
    """The use of networks by all instances.

    A generation's network is needed by the instances whose own network it is. Kept instances join it before
    there are any, so it is also needed while no instance is of a newer generation.
    """
    members: defaultdict[str, list[str]] = defaultdict(list)
    environments: defaultdict[str, set[str]] = defaultdict(set)
    newest: defaultdict[str, int] = defaultdict(int)
    needed = {row["Labels"].get(labels.NETWORK, "") for row in rows}
    for row in rows:
        environment = row["Labels"][labels.ENVIRONMENT]
        newest[environment] = max(newest[environment], int(row["Labels"][labels.GENERATION]))
        for network in containers.joined(row):
            members[network].append(row["Id"])
            environments[environment].add(network)
    for environment, networks in environments.items():
        needed |= {each for each in networks if generation_of(each) >= newest[environment]}
    return Usage(frozenset(needed), members)
