"""What a node means for its instances while it is being drained.

`stager nodes drain` pauses the node, so that Swarm starts nothing more there, and deploys its environments
again. An instance that nothing keeps on the node must not serve the next generation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stager.domain.environment import Instance
from stager.engines.docker import labels
from stager.engines.swarm.observation import Observed
from stager.engines.swarm.specification import declared_volumes

PAUSED = "pause"


def replaceable(instances: Sequence[Instance], observed: Sequence[Observed]) -> list[Instance]:
    """The instances; those on paused nodes without their inputs, so that another generation doesn't keep
    them. An environment with named volumes stays: its data doesn't move.

    Args:
        observed: what each of the instances was read from.
    """
    bound = {each.marks[labels.ENVIRONMENT] for each in observed if declared_volumes(each.service)}
    return [
        replace(instance, inputs="") if _is_leaving(each, bound) else instance
        for instance, each in zip(instances, observed, strict=True)
    ]


def _is_leaving(observed: Observed, bound: set[str]) -> bool:
    is_paused = observed.node is not None and observed.node["Spec"].get("Availability") == PAUSED
    return is_paused and observed.marks[labels.ENVIRONMENT] not in bound
