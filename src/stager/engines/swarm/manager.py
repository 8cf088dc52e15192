"""Calls of the Swarm manager about services, tasks and nodes."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any

import aiodocker

from stager.domain.errors import Retry
from stager.engines.docker.client import engine_errors, request_json
from stager.engines.swarm.connections import ImagePublisher

OUT_OF_SEQUENCE = "out of sequence"
"""Part of Swarm's answer to an update of a service that changed since it was read."""
UPDATE_TRIES = 5

Row = dict[str, Any]
"""A row of one of the manager's lists."""


class Manager:
    """The manager, for one installation. Each method raises `Retry` while it doesn't answer.

    Args:
        docker: the manager's engine.
        filters: Docker's filter for this installation's services, or one environment's.
        images: has the credentials that Swarm passes on to the nodes.
    """

    def __init__(
        self, docker: aiodocker.Docker, filters: Callable[[str | None], str], images: ImagePublisher
    ) -> None:
        self._docker = docker
        self._filters = filters
        self._images = images

    async def services(self, environment: str | None = None) -> list[Row]:
        """The services of this installation, or of one environment."""
        return await self._rows("services", self._filters(environment))

    async def every_service(self) -> list[Row]:
        """All services of the swarm, also those of others."""
        return await self._rows("services")

    async def service(self, service: str) -> Row | None:
        """One service by its id or name; None if there is none."""
        with engine_errors():
            try:
                found: Row = await request_json(self._docker, f"services/{service}")
            except aiodocker.DockerError as error:
                if error.status == 404:
                    return None
                raise
        return found

    async def tasks(self, services: Collection[str]) -> list[Row]:
        """The tasks of these services, also those that ended, and of services that were removed."""
        if not services:
            return []
        try:
            return await self._rows("tasks", json.dumps({"service": sorted(services)}))
        except aiodocker.DockerError as error:
            if error.status != 404:  # one of them was removed
                raise
        return [row for row in await self._rows("tasks") if row["ServiceID"] in services]

    async def nodes(self) -> dict[str, Row]:
        """The nodes by their ids."""
        return {row["ID"]: row for row in await self._rows("nodes")}

    async def _rows(self, path: str, filters: str = "") -> list[Row]:
        with engine_errors():
            rows: list[Row] = await request_json(
                self._docker, path, params={"filters": filters} if filters else {}
            )
        return rows or []

    async def create(self, specification: Row) -> str:
        """Create a service; returns its id.

        Raises:
            DockerError: Docker refuses.
        """
        with engine_errors():
            made = await request_json(
                self._docker, "services/create", "POST", data=specification, headers=self._headers()
            )
        return str(made["ID"])

    async def update(self, service: str, change: Callable[[Row], None]) -> Row:
        """Change a service. If it was changed meanwhile, read it again.

        Args:
            change: changes the specification in place. It may be called several times.

        Raises:
            Retry: `instance-gone`: it was removed; `service-busy`: others change it all the time.
        """
        for _ in range(UPDATE_TRIES):
            found = await self.service(service)
            if found is None:
                raise Retry("The service was removed.", reason="instance-gone")
            change(found["Spec"])
            if await self._update(found):
                return found
        raise Retry("The service is being changed by another program.", reason="service-busy")

    async def _update(self, service: Row) -> bool:
        """Send a changed specification; returns whether the service was still as it was read."""
        with engine_errors():
            try:
                await request_json(
                    self._docker,
                    f"services/{service['ID']}/update",
                    "POST",
                    params={"version": service["Version"]["Index"]},
                    data=service["Spec"],
                    headers=self._headers(),
                )
            except aiodocker.DockerError as error:
                if OUT_OF_SEQUENCE in error.message or error.status == 404:
                    return False
                raise
        return True

    async def remove(self, service: str) -> bool:
        """Remove a service; returns whether it was there. Swarm ends its tasks afterwards."""
        with engine_errors():
            try:
                await self._docker.services.delete(service)
            except aiodocker.DockerError as error:
                if error.status == 404:
                    return False
                raise
        return True

    def _headers(self) -> dict[str, str]:
        return {"X-Registry-Auth": self._images.auth}
