"""Chooses the node of an instance. All instances of an environment run on one node."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from stager.engines.swarm.observation import Observed, Row, is_eligible


def node_of(
    member: Observed,
    others: Sequence[Observed],
    homes: Collection[str],
    nodes: Mapping[str, Row],
    installation: str,
) -> str:
    """The id of the node on which an instance must run; empty if Swarm may choose.

    Args:
        others: the other instances of its environment.
        homes: the ids of the nodes that have its volumes. If there are some, it runs on one of them.
        nodes: the nodes by their ids.
    """
    running = [each.node_id for each in others if each.is_running or each.is_on_the_way]
    ended = [each.node_id for each in others if each.node_id not in running]
    for candidate in (member.node_id, *running, *sorted(homes), *ended):
        is_home = not homes or candidate in homes
        if is_home and candidate in nodes and is_eligible(nodes[candidate], installation):
            return candidate
    return ""
