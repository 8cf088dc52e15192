"""Removes the containers and networks of Stager versions whose labels this version doesn't read."""

from __future__ import annotations

import json
from typing import Any

import aiodocker
import structlog

from stager.domain.leftovers import Leftover, LeftoverKind
from stager.engines.docker import labels
from stager.engines.docker.client import engine_errors, list_containers, remove_container

log = structlog.get_logger(__name__)


async def remove_outdated(docker: aiodocker.Docker, installation: str) -> int:
    """Remove this installation's containers with other labels, then its networks without a current label.
    Their environments are started again. Returns how many resources were removed.

    Raises:
        Retry: Docker doesn't answer.
    """
    containers = await _outdated_containers(docker, installation)
    for container in containers:
        log.info("outdated_container_removed", container=container["Id"], name=container["Names"][0])
        await remove_container(docker, container["Id"])
    return len(containers) + await _remove_networks(docker, installation)


async def outdated_leftovers(docker: aiodocker.Docker, installation: str) -> list[Leftover]:
    """The containers that `remove_outdated` would remove."""
    return [
        Leftover(
            LeftoverKind.CONTAINER, row["Names"][0].lstrip("/"), "an earlier version of Stager created it"
        )
        for row in await _outdated_containers(docker, installation)
    ]


async def _outdated_containers(docker: aiodocker.Docker, installation: str) -> list[dict[str, Any]]:
    """By label and name: an image that was committed from a container passes the labels on."""
    rows = []
    for label in (labels.INSTALLATION, labels.UNVERSIONED_INSTALLATION):
        wanted = json.dumps({"label": [f"{label}={installation}", labels.ENVIRONMENT]})
        rows += await list_containers(docker, wanted)
    return [row for row in rows if _is_outdated(row, installation)]


def _is_outdated(row: dict[str, Any], installation: str) -> bool:
    """In every version, the name begins with the installation and the deployment."""
    deployment = row["Labels"].get(labels.DEPLOYMENT)
    if not deployment or row["Labels"].get(labels.SCHEMA) == labels.CURRENT_SCHEMA:
        return False
    return any(name.startswith(f"/stager-{installation}-{deployment}") for name in row["Names"] or ())


async def _remove_networks(docker: aiodocker.Docker, installation: str) -> int:
    outdated = {"label": [f"{labels.UNVERSIONED_INSTALLATION}={installation}"]}
    removed = 0
    with engine_errors():
        for network in await docker.networks.list(filters=outdated):
            try:
                removed += await aiodocker.docker.DockerNetwork(docker, network["Id"]).delete()
            except aiodocker.DockerError as error:
                if error.status not in (403, 404):  # it is in use, or gone
                    raise
    return removed
