"""The nodes of the swarm: which may take previews, and what is on them."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import aiodocker
import structlog

from stager.domain.errors import Refused, Retry, StagerError
from stager.engines.docker.client import engine_errors, request_json
from stager.engines.swarm.nodes import node_rows
from stager.engines.swarm.nodes.connections import NodeConnections
from stager.engines.swarm.nodes.node_rows import ACTIVE, PAUSE, Row
from stager.ports.nodes import Node

log = structlog.get_logger(__name__)

PORTS = [20_000, 29_999]
"""The ports that a node's root helper must guard."""
GRACE = 60.0
"""Seconds for which a node stays verified while SSH or its helper doesn't answer: its rules are in its
kernel, and Swarm ends all previews on a node that loses the label."""
APPLY_TIMEOUT = 30.0
TRIES = 5
"""How often a node is updated that another program updates at the same time."""
UNREACHABLE = {"node-away", "helper-away", "engine-away"}


def source_of(address: str) -> str:
    """The address from which this machine, and so the front, connects to a node. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, PORTS[0]))  # sends nothing
        return str(probe.getsockname()[0])


class SwarmNodes:
    """See `ports.nodes.Nodes`. A verified node has the label `stager.ready.INSTALLATION=yes`, which Stager's
    services require.

    Args:
        manager: the manager's engine.
        connections: to the nodes.
        installation: the id of the installation.
        guards: whether the firewall of each node is set and verified; otherwise each node whose engine
            answers takes previews, as `helper: off` says.
        source: see `source_of`.
        seconds: a monotonic clock.
    """

    def __init__(
        self,
        manager: aiodocker.Docker,
        connections: NodeConnections,
        installation: str,
        *,
        guards: bool = True,
        source: Callable[[str], str] = source_of,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._manager = manager
        self._connections = connections
        self._installation = installation
        self._label = node_rows.ready_label(installation)
        self._guards = guards
        self._source = source
        self._seconds = seconds
        self._problems: dict[str, str] = {}
        self._verified: dict[str, float] = {}
        """When each node was verified last."""

    async def nodes(self) -> Collection[Node]:
        """See `ports.nodes.Nodes.nodes`."""
        rows, tasks = await asyncio.gather(self._rows("nodes"), self._rows("tasks"))
        found = [
            node_rows.node_of(row, tasks, self._installation, self._problems.get(row["ID"], ""))
            for row in rows
        ]
        return sorted(found, key=lambda node: (not node.is_manager, node.name, node.id))

    async def refresh(self) -> None:
        """See `ports.nodes.Nodes.refresh`."""
        rows = await self._rows("nodes")
        await self._connections.keep([row["ID"] for row in rows])
        addresses = node_rows.addresses_of(rows)
        await asyncio.gather(*(self._refresh(row, addresses) for row in rows))

    async def drain(self, node_id: str) -> None:
        """See `ports.nodes.Nodes.drain`."""
        await self._update(node_id, lambda spec: spec.update(Availability=PAUSE))

    async def activate(self, node_id: str) -> None:
        """See `ports.nodes.Nodes.activate`."""
        await self._update(node_id, lambda spec: spec.update(Availability=ACTIVE))

    async def _refresh(self, row: Row, addresses: Sequence[str]) -> None:
        node_id = str(row["ID"])
        is_ready = row["Status"]["State"] == "ready" and await self._verify(row, addresses)
        is_unknown = row["Status"]["State"] == "unknown"  # the manager was started a moment ago
        if is_ready == node_rows.is_labelled(row, self._label) or is_unknown:
            return
        await self._update(node_id, lambda spec: _mark(spec, self._label, is_ready=is_ready))
        facts = {"node": node_id, "name": row["Description"]["Hostname"]}
        if is_ready:
            log.info("node_ready", **facts)
        else:
            log.warning("node_not_ready", **facts, error=self._problems.get(node_id) or "It is down.")

    async def _verify(self, row: Row, addresses: Sequence[str]) -> bool:
        """Whether the node may take previews."""
        node_id = str(row["ID"])
        try:
            await self._guard(node_id, node_rows.address_of(row), addresses)
        except StagerError as error:
            self._problems[node_id] = error.message
            since = self._seconds() - self._verified.get(node_id, float("-inf"))
            return error.reason in UNREACHABLE and since < GRACE
        self._problems.pop(node_id, None)
        self._verified[node_id] = self._seconds()
        return True

    async def _guard(self, node_id: str, address: str, addresses: Sequence[str]) -> None:
        """Have the node's helper set its rules and read them back. Raises StagerError."""
        with engine_errors():
            await (await self._connections.docker(node_id)).version()
        if not self._guards:
            return
        helper = await self._connections.helper(node_id)
        try:
            front = self._source(address)
        except OSError as error:
            raise Retry(f"There is no route to {address}.", reason="node-away", detail=str(error)) from error
        answer = await helper.call(
            "node-ports-apply",
            timeout=APPLY_TIMEOUT,
            installation=self._installation,
            fronts=[front],
            nodes=list(addresses),
        )
        if answer.get("ports") != PORTS:
            raise Retry(
                "The root helper of the node guards other ports than Stager uses.",
                hint="Install the same version of Stager there, and restart its helper.",
                reason="node-unguarded",
            )

    async def _rows(self, path: str) -> list[dict[str, Any]]:
        with engine_errors():
            rows: list[dict[str, Any]] = await request_json(self._manager, path)
        return rows or []

    async def _update(self, node_id: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Change a node. If it was changed meanwhile, read it again."""
        for _ in range(TRIES):
            try:
                with engine_errors():
                    row = await request_json(self._manager, f"nodes/{node_id}")
                    change(row["Spec"])
                    version = {"version": row["Version"]["Index"]}
                    await request_json(
                        self._manager, f"nodes/{node_id}/update", "POST", params=version, data=row["Spec"]
                    )
            except aiodocker.DockerError as error:
                if error.status == 404:
                    raise _unknown(node_id) from error
                continue  # another program changed it
            except Retry as error:
                if "out of sequence" not in error.message:
                    raise
                continue
            return
        raise Retry("Another program changes the node all the time.", reason="engine-error")


def _mark(spec: dict[str, Any], label: str, *, is_ready: bool) -> None:
    labels = {**(spec.get("Labels") or {})}
    labels.pop(label, None)
    spec["Labels"] = {**labels, label: "yes"} if is_ready else labels


def _unknown(node_id: str) -> Refused:
    return Refused(f"The swarm has no node {node_id}.", hint="See `stager nodes`.", reason="node-unknown")
