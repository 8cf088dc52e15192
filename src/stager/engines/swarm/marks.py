"""Names and labels that only the engine `swarm` has, besides those in `engines.docker.labels`."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from stager.engines.docker.containers import name_of

GENERATIONS = "stager.generations"
"""Of a service: the generations whose services reach it by its aliases, such as `1,2`. Swarm can change a
service's labels without another task."""

SERVICE_ID = "com.docker.swarm.service.id"
"""Swarm's label of a task's container."""

NAME_LENGTH = 63
"""Maximum length of a service's name, see `validateAnnotations` in swarmkit's controlapi."""
HASH_DIGITS = 16


def ready_label(installation: str) -> str:
    """The label of nodes that take previews: `yes` while their firewall is verified."""
    return f"stager.ready.{installation}"


def service_name(installation: str, deployment: str, service: str) -> str:
    """The name of the Swarm service of this service of this deployment."""
    return _shortened(name_of(installation, deployment, service))


def environment_network(installation: str, environment: str, generation: int) -> str:
    """The name of the network of an environment, or of one of its generations."""
    suffix = f"-g{generation}" if generation else ""
    return f"stager-{installation}-{environment}{suffix}"


def own_network(installation: str, deployment: str, service: str) -> str:
    """The name of the network in which a kept service has its aliases."""
    return f"{name_of(installation, deployment, service)}-own"


def generations_of(text: str) -> frozenset[int]:
    """Read the label `GENERATIONS`."""
    return frozenset(int(each) for each in text.split(",") if each)


def generations_text(generations: Collection[int]) -> str:
    """Write the label `GENERATIONS`."""
    return ",".join(str(each) for each in sorted(generations))


def _shortened(name: str) -> str:
    if len(name) <= NAME_LENGTH:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:HASH_DIGITS]
    return f"{name[: NAME_LENGTH - HASH_DIGITS - 1].rstrip('-_')}-{digest}"
