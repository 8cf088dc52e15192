"""Which networks a running instance is in, besides those of its service's specification.

An instance has its aliases in one network: that of its generation or, if it is kept, one of its own. Each
instance is in the networks of those that it shares a generation with. Networks of kept services are in the
specification of a service that is started later. All others are connected while the container runs, on its
node: Swarm can't change the networks of a service without another task. Docker registers no aliases for such
a connection, but the container finds those of the others.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network
from typing import Any

import aiodocker
import structlog

from stager.domain.errors import Retry
from stager.engines.docker import labels
from stager.engines.docker.client import engine_errors, request_json
from stager.engines.swarm.connections import NodeEngines
from stager.engines.swarm.observation import Observed

log = structlog.get_logger(__name__)

ALREADY_IN = "already exists in network"
TAKEN = "already in use"
"""Parts of Docker's answers to a connection."""
TRIES = 8
CACHE_SIZE = 4_096
"""Maximum number of containers whose connections are remembered."""

Row = dict[str, Any]


class Membership:
    """Connects running instances to networks, and disconnects them.

    Args:
        nodes: the engines of the nodes.
    """

    def __init__(self, nodes: NodeEngines) -> None:
        self._nodes = nodes
        self._connected: dict[str, set[str]] = {}
        """The names of networks by the id of the container."""

    async def settle(self, members: Sequence[Observed]) -> None:
        """Connect the running instances of an environment to what they miss.

        Raises:
            Retry: `node-away`, `join-failed`.
        """
        if len(members) < 2 or not any(_is_kept(each) for each in members):
            return
        running = [each for each in members if each.is_running and each.container]
        await asyncio.gather(*(self._connect_missing(each, running) for each in running))

    async def _connect_missing(self, member: Observed, running: Sequence[Observed]) -> None:
        near = [each for each in running if each.node_id == member.node_id]
        for network in wanted(member, near) - self._in(member):
            docker = await self._nodes.docker(member.node_id)
            if await _connect(docker, network, member.container):
                self._remember(member.container, network)

    def _remember(self, container: str, network: str) -> None:
        if len(self._connected) >= CACHE_SIZE:
            self._connected.clear()
        self._connected.setdefault(container, set()).add(network)

    def _in(self, member: Observed) -> set[str]:
        return attached(member) | self._connected.get(member.container, set())

    async def release(self, leaving: Observed, members: Sequence[Observed]) -> None:
        """Disconnect others from the network that ends with an instance, so that Swarm can remove it from the
        node.

        Args:
            members: the instances of its environment.
        """
        network = leaving.marks[labels.NETWORK]
        others = [each for each in members if each.id != leaving.id and each.node_id == leaving.node_id]
        if any(network in attached(each) for each in others if each.is_running):
            return
        await self.leave(network, others)

    async def leave(self, network: str, members: Iterable[Observed]) -> None:
        """Disconnect running instances from a network that isn't in their specification."""
        for each in members:
            if each.is_running and network not in attached(each):
                self._connected.get(each.container, set()).discard(network)
                try:
                    await _disconnect(await self._nodes.docker(each.node_id), network, each.container)
                except Retry as error:
                    log.info("network_not_left", network=network, error=str(error))


def _is_kept(member: Observed) -> bool:
    """Whether it may be in networks of several generations."""
    network = member.marks[labels.NETWORK]
    return all(member.network_of(each) != network for each in member.generations)


def wanted(member: Observed, others: Iterable[Observed]) -> set[str]:
    """The names of the networks of those that it shares a generation with."""
    return {
        other.marks[labels.NETWORK]
        for other in others
        if other.id != member.id and other.generations & member.generations
    } - {member.marks[labels.NETWORK]}


def lasting(member: Observed, others: Iterable[Observed]) -> set[str]:
    """The names of networks that belong to the specification of an instance that isn't kept: those of kept
    ones. A kept one has none: a network can't be removed while it is in the specification of a service."""
    if _is_kept(member):
        return set()
    return wanted(member, [each for each in others if _is_kept(each)])


def attached(member: Observed) -> set[str]:
    """The names of the networks that its newest task got from its specification."""
    found = (member.task or {}).get("NetworksAttachments") or ()
    return {each["Network"]["Spec"]["Name"] for each in found}


async def _connect(docker: aiodocker.Docker, network: str, container: str) -> bool:
    """Connect a container; returns whether it is in the network now."""
    for attempt in range(TRIES):
        with engine_errors():
            try:
                found: Row = await request_json(docker, f"networks/{network}")
                address = _free_address(found, f"{container}{attempt}")
                endpoint = {"IPAMConfig": {"IPv4Address": address}}
                body = {"Container": container, "EndpointConfig": endpoint}
                await aiodocker.docker.DockerNetwork(docker, found["Id"]).connect(body)
            except aiodocker.DockerError as error:
                if ALREADY_IN in error.message:
                    return True
                if error.status in (404, 409):  # either of them isn't there, or doesn't run
                    return False
                if TAKEN not in error.message:
                    raise _failed(error.message) from error
            else:
                return True
    raise _failed(f"the network {network} has no free address")


def _failed(words: str) -> Retry:
    return Retry(f"The container can't join the network of its generation: {words}", reason="join-failed")


def _free_address(network: Row, seed: str) -> str:
    """An address of the upper half. Swarm allocates from the lower end, and doesn't know this one."""
    subnet = IPv4Network(network["IPAM"]["Config"][0]["Subnet"])
    taken = {each["IPv4Address"].partition("/")[0] for each in (network.get("Containers") or {}).values()}
    half = subnet.num_addresses // 2
    start = zlib.crc32(seed.encode())
    for step in range(half - 1):
        address = str(subnet[half + (start + step) % (half - 1)])
        if address not in taken:
            return address
    raise _failed(f"the network {network['Name']} has no free address")


async def _disconnect(docker: aiodocker.Docker, network: str, container: str) -> None:
    with engine_errors():
        try:
            body = {"Container": container, "Force": True}
            await aiodocker.docker.DockerNetwork(docker, network).disconnect(body)
        except aiodocker.DockerError as error:
            if error.status not in (403, 404, 409):  # it isn't in it, or one of them is gone
                raise _failed(error.message) from error
