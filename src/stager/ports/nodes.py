"""The machines that previews run on, for engines that have several."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class NodeState(StrEnum):
    """In one word, what a node takes."""

    READY = "ready"
    """It takes previews."""
    UNVERIFIED = "unverified"
    """It takes none, because its firewall isn't verified; `Node.problem` says why."""
    DRAINING = "draining"
    """It takes none, and those on it are moved."""
    DOWN = "down"
    """It doesn't answer the manager."""


@dataclass(frozen=True, slots=True)
class Node:
    """A machine.

    Args:
        id: the engine's.
        name: its host name.
        is_manager: whether the engine's own state is on it.
        problem: why it takes no previews; empty if it does.
        memory: its bytes.
        reserved: bytes that the limits of the previews on it add up to.
        environments: the ids of the environments with running instances on it.
        staying: those of them with named volumes, which are on this node only.
    """

    id: str
    name: str
    address: str
    state: NodeState
    is_manager: bool = False
    problem: str = ""
    memory: int = 0
    reserved: int = 0
    environments: tuple[str, ...] = ()
    staying: tuple[str, ...] = ()


class Nodes(Protocol):
    """The nodes of the engine. Each method raises `Retry` while the engine doesn't answer."""

    async def nodes(self) -> Collection[Node]:
        """All nodes, the manager first."""

    async def refresh(self) -> None:
        """Verify the firewall of each node; a node takes previews only while it is verified."""

    async def drain(self, node_id: str) -> None:
        """Have the node take no more previews. Those on it stay."""

    async def activate(self, node_id: str) -> None:
        """Have it take previews again, once its firewall is verified."""
