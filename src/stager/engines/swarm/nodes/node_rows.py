"""Reads the manager's rows of nodes and tasks. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stager.engines.docker.labels import ENVIRONMENT, INSTALLATION
from stager.ports.nodes import Node, NodeState

Row = Mapping[str, Any]

ACTIVE, PAUSE = "active", "pause"
"""Swarm's availability of a node: with `pause`, it gets no new tasks, and those on it go on."""
UNVERIFIED = "Its firewall hasn't been verified yet."


def node_of(row: Row, tasks: Iterable[Row], installation: str, problem: str) -> Node:
    """A node.

    Args:
        tasks: of all nodes and installations.
        problem: why it wasn't, as far as that is known.
    """
    ours = [
        task
        for task in tasks
        if task.get("NodeID") == row["ID"]
        and task["DesiredState"] == "running"
        and _labels(task).get(INSTALLATION) == installation
    ]
    state = state_of(row, ready_label(installation))
    why = {NodeState.READY: "", NodeState.UNVERIFIED: problem or UNVERIFIED}
    return Node(
        id=str(row["ID"]),
        name=str(row["Description"]["Hostname"]),
        address=address_of(row),
        state=state,
        is_manager="ManagerStatus" in row,
        problem=why.get(state, problem),
        memory=int(row["Description"]["Resources"].get("MemoryBytes") or 0),
        reserved=sum(_reserved(task) for task in ours),
        environments=_environments(ours),
        staying=_environments(task for task in ours if _has_volume(task)),
    )


def state_of(row: Row, label: str) -> NodeState:
    """What a node takes."""
    if row["Status"]["State"] != "ready":
        return NodeState.DOWN
    if row["Spec"].get("Availability") != ACTIVE:
        return NodeState.DRAINING
    return NodeState.READY if is_labelled(row, label) else NodeState.UNVERIFIED


def is_labelled(row: Row, label: str) -> bool:
    """Whether a node has the label of verified nodes."""
    return bool((row["Spec"].get("Labels") or {}).get(label) == "yes")


def address_of(row: Row) -> str:
    """The address of a node. A manager may report `0.0.0.0` as its own."""
    address = str(row["Status"].get("Addr") or "")
    if address in ("", "0.0.0.0"):  # noqa: S104 (a comparison)
        return str((row.get("ManagerStatus") or {}).get("Addr") or "").rpartition(":")[0]
    return address


def ready_label(installation: str) -> str:
    """The label of nodes whose firewall was verified."""
    return f"stager.ready.{installation}"


def addresses_of(rows: Sequence[Row]) -> list[str]:
    """The addresses of all nodes."""
    return sorted({address for address in map(address_of, rows) if address})


def _environments(tasks: Iterable[Row]) -> tuple[str, ...]:
    return tuple(sorted({str(_labels(task).get(ENVIRONMENT) or "") for task in tasks} - {""}))


def _labels(task: Row) -> Row:
    labels: Row = (task["Spec"].get("ContainerSpec") or {}).get("Labels") or {}
    return labels


def _has_volume(task: Row) -> bool:
    mounts = (task["Spec"].get("ContainerSpec") or {}).get("Mounts") or ()
    return any(mount.get("Type") == "volume" and mount.get("Source") for mount in mounts)


def _reserved(task: Row) -> int:
    resources = task["Spec"].get("Resources") or {}
    return int((resources.get("Reservations") or {}).get("MemoryBytes") or 0)
