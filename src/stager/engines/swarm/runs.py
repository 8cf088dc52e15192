"""Starts, stops and removes instances."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

import aiodocker

from stager.domain.errors import Fault, Retry
from stager.engines.docker import labels
from stager.engines.docker.client import remove_container
from stager.engines.docker.stopping import stop_container
from stager.engines.swarm.inside import Inside
from stager.engines.swarm.manager import Manager, Row
from stager.engines.swarm.membership import Membership, lasting
from stager.engines.swarm.networks import OverlayNetworks
from stager.engines.swarm.node_volumes import NodeVolumes
from stager.engines.swarm.observation import REFUSED, Observed
from stager.engines.swarm.overview import Overview
from stager.engines.swarm.placement import node_of
from stager.engines.swarm.specification import attach, begin, place, volume_names

POLL = 0.05
"""Seconds between two looks at a task. Swarm has no events about tasks."""
PLACED_WITHIN = 10.0
"""Seconds for Swarm to find a node. It takes about 0.1."""
RUNS_WITHIN = 300.0
"""Seconds for a node to pull the image and start the container."""
ENDS_WITHIN = 10.0
"""Seconds for the manager to learn from a node that a container ended."""

EXITED = "task: non-zero exit"
"""The beginning of Swarm's words about a container that ran, and ended with another code than 0."""
NOT_STARTED = "starting container failed: "
"""The beginning of Swarm's words about a container that didn't start."""


class Runs:
    """Runs of instances.

    Args:
        manager: changes services.
        overview: reads services and nodes.
        networks: the networks of environments.
        installation: the id of the installation.
    """

    def __init__(
        self,
        manager: Manager,
        overview: Overview,
        networks: OverlayNetworks,
        membership: Membership,
        inside: Inside,
        installation: str,
    ) -> None:
        self._manager = manager
        self._overview = overview
        self._networks = networks
        self._membership = membership
        self._inside = inside
        self._installation = installation
        self._volumes = NodeVolumes(overview, installation)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """By the id of the environment: its first instance chooses the node of the others."""

    async def start(self, instance: str) -> Observed:
        """See `ports.engine.Instances.start`."""
        found = await self._existing(instance)
        lock = self._locks.setdefault(found.marks[labels.ENVIRONMENT], asyncio.Lock())
        async with lock:
            found = await self._existing(instance)
            if not found.is_running:
                if not found.is_on_the_way:
                    await self._begin(found)
                found = await self._placed(instance, found)
        started = await self._until_started(instance)
        await self._membership.settle(await self._members(started))
        return started

    async def _existing(self, instance: str) -> Observed:
        found = await self._overview.one(instance)
        if found is None or found.is_gone:
            raise Retry("The service was removed, or its node is lost.", reason="instance-gone")
        return found

    async def _members(self, member: Observed) -> list[Observed]:
        """The instances of its environment."""
        found = await self._overview.all(member.marks[labels.ENVIRONMENT])
        return [each for each in found if not each.is_gone]

    async def _begin(self, found: Observed) -> None:
        """Let Swarm make a task on the environment's node."""
        members = await self._members(found)
        node = await self._node_of(found, [each for each in members if each.id != found.id])
        networks = await self._networks.attachments(lasting(found, members))

        def change(specification: Row) -> None:
            place(specification, self._installation, node)
            attach(specification, networks)
            begin(specification, again=found.task is not None)

        await self._manager.update(found.id, change)

    async def _node_of(self, found: Observed, others: Sequence[Observed]) -> str:
        """The node on which it must run.

        Raises:
            Retry: `node-drained`: its volumes are on a node that takes no instances at present.
        """
        nodes = await self._overview.nodes()
        homes = await self._homes(found)
        node = node_of(found, others, homes, nodes, self._installation)
        if homes and not node:
            names = ", ".join(sorted(nodes[home]["Description"]["Hostname"] for home in homes))
            raise Retry(
                f"The volumes of the preview are on the node {names}, which takes no previews at present.",
                hint="`stager nodes` shows why. A reset of the preview's data lets it start elsewhere.",
                reason="node-drained",
            )
        return node

    async def _homes(self, found: Observed) -> set[str]:
        """The nodes that have its named volumes."""
        names = volume_names(found.service)
        return await self._volumes.homes(found.marks[labels.ENVIRONMENT], names) if names else set()

    async def _placed(self, instance: str, before: Observed) -> Observed:
        """Wait until Swarm has chosen a node for the next task.

        Raises:
            Retry: `no-node`: none takes it at present.
        """
        found = before
        known = before.task["ID"] if before.task and not before.is_on_the_way else ""
        for _ in range(round(PLACED_WITHIN / POLL)):
            found = await self._existing(instance)
            if found.task and found.task["ID"] != known and (found.node_id or not found.is_on_the_way):
                return found
            await asyncio.sleep(POLL)
        raise Retry(
            "No node of the swarm takes the preview at present.",
            hint="`stager nodes` shows the nodes: each must be ready, and have enough memory left.",
            reason="no-node",
            detail=found.words,
        )

    async def _until_started(self, instance: str) -> Observed:
        for _ in range(round(RUNS_WITHIN / POLL)):
            found = await self._existing(instance)
            if not found.is_on_the_way:
                return await self._checked(found)
            await asyncio.sleep(POLL)
        raise Retry("The node hasn't started the container in time.", reason="node-slow", detail=found.words)

    async def _checked(self, found: Observed) -> Observed:
        """The instance, if its container was started; it may have ended already."""
        words = found.words
        if found.is_running or not words or words.startswith(EXITED) or found.task_state == "shutdown":
            return found
        if found.task_state == REFUSED and "network" in words.lower():
            raise Retry(f"The node couldn't prepare the network: {words}", reason="network-failed")
        if "already in use" in words:
            raise Retry(f"An address or a port is taken: {words}", reason="address-taken")
        hint = await self._inside.post_mortem(found.id, words)
        raise Fault(
            f"The container can't be started: {words.removeprefix(NOT_STARTED)}",
            hint=hint or "Check that the image contains the command, which `images.NAME.command` sets.",
            reason="start-failed",
        )

    async def stop(self, instance: str) -> int:
        """See `ports.engine.Instances.stop`."""
        found = await self._overview.one(instance)
        if found is None:
            raise Retry("The service was removed before it stopped.", reason="instance-gone")
        if found.is_on_the_way:
            await self._manager.update(instance, _nothing_runs)
            return found.exit_code
        if not found.is_running or found.is_gone:
            return found.exit_code
        code = await self._stop_container(found)
        await self._until_ended(instance)
        return code

    async def _stop_container(self, found: Observed) -> int:
        where = await self._overview.where(found.id)
        if where is None:
            raise Retry("The container was removed before it stopped.", reason="instance-gone")
        return await stop_container(*where, _grace(found.service))

    async def _until_ended(self, instance: str) -> None:
        for _ in range(round(ENDS_WITHIN / POLL)):
            found = await self._overview.one(instance)
            if found is None or not found.is_running:
                return
            await asyncio.sleep(POLL)

    async def remove(self, instance: str) -> None:
        """See `ports.engine.Instances.remove`."""
        found = await self._overview.one(instance)
        if found is None:
            return
        await self._end(found)
        await self._manager.remove(instance)
        await self._overview.on_nodes(_removal(found), [found.node_id] if found.container else [])
        for _ in range(round(ENDS_WITHIN / POLL)):
            if not await self._uses_networks(instance):
                return
            await asyncio.sleep(POLL)

    async def _end(self, found: Observed) -> None:
        """End the container, and what others have to do with it, as far as its node can be reached."""
        if found.is_gone or not found.is_running:
            return
        environment = found.marks[labels.ENVIRONMENT]
        await self._membership.release(found, await self._overview.all(environment))
        try:
            await self._stop_container(found)
        except Retry as error:
            if error.reason not in ("node-away", "instance-gone"):
                raise

    async def _uses_networks(self, instance: str) -> bool:
        """Whether a removed service has a task that Swarm counts as a user of its networks."""
        tasks = await self._manager.tasks([instance])
        return any(task["Status"]["State"] == "running" for task in tasks)


def _removal(found: Observed) -> Callable[[aiodocker.Docker, str], Awaitable[None]]:
    async def ask(docker: aiodocker.Docker, _: str) -> None:
        await remove_container(docker, found.container)

    return ask


def _grace(service: Mapping[str, Any]) -> float:
    container = service["Spec"]["TaskTemplate"]["ContainerSpec"]
    return float(container.get("StopGracePeriod") or 0) / 1_000_000_000


def _nothing_runs(specification: Row) -> None:
    specification["Mode"]["Replicated"]["Replicas"] = 0
