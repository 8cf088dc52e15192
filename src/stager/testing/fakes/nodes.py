"""Nodes in memory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from stager.domain.errors import Refused
from stager.ports.nodes import Node, NodeState

NAMES = ("node-1", "node-2")


class FakeNodes:
    """See `ports.nodes.Nodes`. All are ready; the first is the manager."""

    def __init__(self) -> None:
        self.known = {
            name: Node(
                f"id-of-{name}", name, f"10.0.0.{number}", NodeState.READY, number == 1, memory=8 << 30
            )
            for number, name in enumerate(NAMES, 1)
        }

    async def nodes(self) -> Collection[Node]:
        """See `ports.nodes.Nodes.nodes`."""
        return list(self.known.values())

    async def refresh(self) -> None:
        """See `ports.nodes.Nodes.refresh`."""

    async def drain(self, node_id: str) -> None:
        """See `ports.nodes.Nodes.drain`."""
        self._change(node_id, NodeState.DRAINING)

    async def activate(self, node_id: str) -> None:
        """See `ports.nodes.Nodes.activate`."""
        self._change(node_id, NodeState.READY)

    def _change(self, node_id: str, state: NodeState) -> None:
        node = next((each for each in self.known.values() if each.id == node_id), None)
        if node is None:
            raise Refused(f"The swarm has no node {node_id}.", reason="node-unknown")
        self.known[node.name] = replace(node, state=state)
