"""Runs a service on the volumes of a workbench, in a container without a network."""

from __future__ import annotations

import asyncio
import os
import tarfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path, PurePosixPath
from signal import SIGTERM
from typing import Any

import aiodocker

from stager.domain.errors import Fault, Retry
from stager.domain.service import SETTLED_SECONDS, ServiceCheck
from stager.engines.docker import labels
from stager.engines.docker.bodies import CreateBodies
from stager.engines.docker.client import engine_errors, remove_container, request
from stager.engines.docker.content import copy_content
from stager.engines.docker.data.archives import CHUNK, UNLIMITED
from stager.engines.docker.data.benches import Benches
from stager.engines.docker.data.volumes import Volumes
from stager.engines.docker.exec_in_container import check as check_of_image
from stager.engines.docker.exec_in_container import run_inside
from stager.engines.docker.network.listening_ports import listeners_of
from stager.engines.docker.network.pool import Lease
from stager.engines.docker.output import last_lines
from stager.engines.docker.stopping import stop_container
from stager.ports.data import VolumeKey
from stager.ports.engine import Clone, InstanceSpec, Ran

NO_NETWORK = "none"
INTERVAL = 0.2
"""Seconds between two health checks."""
LOG_LINES = 50
CLEAN = (0, 128 + SIGTERM)
"""The exit codes after a stop: 0, or that of a program that doesn't handle SIGTERM."""
CONNECTING = ("ExtraHosts", "Links", "PortBindings", "PublishAllPorts", "Dns", "DnsOptions", "DnsSearch")
"""The parameters of `HostConfig` that only a network has a use for."""


class DockerWorkbench:
    """See `ports.data.Workbench`.

    Args:
        installation: the id of the installation.
    """

    def __init__(
        self, docker: aiodocker.Docker, installation: str, volumes: Volumes, benches: Benches
    ) -> None:
        self._docker = docker
        self._volumes = volumes
        self._benches = benches
        self._bodies = CreateBodies(docker, installation)
        self._bodies.limits_open_files = False

    async def open(self, bench: str, volumes: Mapping[str, Clone | None]) -> None:
        """See `ports.data.Workbench.open`."""
        await self._benches.open(bench, volumes)

    async def close(self, bench: str) -> None:
        """See `ports.data.Workbench.close`."""
        await self._benches.close(bench)

    async def run(
        self,
        bench: str,
        spec: InstanceSpec,
        check: ServiceCheck | None,
        script: str,
        files: Mapping[str, Path],
        timeout: float,
    ) -> Ran:
        """See `ports.data.Workbench.run`."""
        name = self._benches.container_name(bench, spec.labels.service)
        await remove_container(self._docker, name)
        try:
            container = await self._create(bench, name, spec)
            for content in spec.content:
                await copy_content(self._docker, container, content)
            for target, file in files.items():
                await self._copy(container, target, file)
            await self._start(container)
            await self._wait(container, spec, check, timeout)
            ran = await run_inside(self._docker, container, ["sh", "-c", script], timeout)
            await self._stop(container, spec)
            return ran
        finally:
            await asyncio.shield(remove_container(self._docker, name))

    async def _create(self, bench: str, name: str, spec: InstanceSpec) -> str:
        with engine_errors():
            try:
                body = await self._bodies.of(spec, Lease(NO_NETWORK, ""), self._mounts(bench, spec))
                isolated = _isolated(body, self._benches.labels_of(bench))
                return (await self._docker.containers.create(isolated, name=name)).id
            except aiodocker.DockerError as error:
                if error.status >= 500:
                    raise
                raise Fault(
                    f"Docker refuses to create the container: {error.message}", reason="create-failed"
                ) from error

    def _mounts(self, bench: str, spec: InstanceSpec) -> list[dict[str, Any]]:
        return [
            {
                "Type": "volume",
                "Target": mount.target,
                "Source": self._volumes.name(VolumeKey(bench, mount.volume)),
                "ReadOnly": mount.is_read_only,
            }
            for mount in spec.container.mounts
            if mount.volume
        ]

    async def _copy(self, container: str, target: str, file: Path) -> None:
        """Copy a file into the container, in pieces."""
        path = PurePosixPath(target)
        with engine_errors():
            try:
                async with request(
                    self._docker,
                    f"containers/{container}/archive",
                    "PUT",
                    params={"path": str(path.parent)},
                    data=_archive_of(file, path.name),
                    headers={"Content-Type": "application/x-tar"},
                    timeout=UNLIMITED,
                ):
                    pass
            except aiodocker.DockerError as error:
                if error.status >= 500:
                    raise
                raise Fault(
                    f"The file {path.name} can't be copied to {path.parent}: {error.message}",
                    reason="content-refused",
                ) from error

    async def _start(self, container: str) -> None:
        with engine_errors():
            try:
                await self._docker.containers.container(container).start()
            except aiodocker.DockerError as error:
                if error.status >= 500 and "OCI runtime" not in error.message:
                    raise
                raise Fault(
                    f"The container can't be started: {error.message}", reason="start-failed"
                ) from error

    async def _wait(
        self, container: str, spec: InstanceSpec, check: ServiceCheck | None, timeout: float
    ) -> None:
        """Return once the service is healthy.

        Raises:
            Fault: `workbench-unhealthy`.
        """
        try:
            async with asyncio.timeout(timeout):
                if check is None and not spec.container.has_healthcheck:
                    await asyncio.sleep(SETTLED_SECONDS)
                while not await self._is_healthy(container, check):
                    await self._check_running(container, spec)
                    await asyncio.sleep(INTERVAL)
            await self._check_running(container, spec)
        except TimeoutError:
            raise await self._unhealthy(container, spec, f"wasn't healthy within {timeout:g} s") from None

    async def _is_healthy(self, container: str, check: ServiceCheck | None) -> bool:
        if check is None or check.is_disabled:
            checked = None if check else await check_of_image(self._docker, container)
            return checked is None or checked.healthy is not False
        if check.command:
            try:
                ran = await run_inside(self._docker, container, check.command, check.timeout)
            except Retry as error:
                if error.reason != "instance-gone":
                    raise
                return False
            return ran.exit_code == 0
        listeners = await listeners_of(self._docker, container) or ()
        return any(check.port in (None, each.port) for each in listeners)

    async def _check_running(self, container: str, spec: InstanceSpec) -> None:
        with engine_errors():
            state = (await self._docker.containers.container(container).show())["State"]
        if not state["Running"]:
            raise await self._unhealthy(container, spec, f"exited with {state['ExitCode']}")

    async def _unhealthy(self, container: str, spec: InstanceSpec, what: str) -> Fault:
        return Fault(
            f'The service "{spec.labels.service}" {what} in the workbench, which has no network.',
            hint="Its output is below.",
            reason="workbench-unhealthy",
            detail=await last_lines(self._docker, container, LOG_LINES),
        )

    async def _stop(self, container: str, spec: InstanceSpec) -> None:
        code = await stop_container(self._docker, container)
        if code not in CLEAN:
            raise Fault(
                f'The service "{spec.labels.service}" exited with {code} when it was stopped, so its data may'
                " be incomplete.",
                hint="Raise its `stop_grace_period` if it needs more time to stop.",
                reason="workbench-unclean",
                detail=await last_lines(self._docker, container, LOG_LINES),
            )


def _isolated(body: dict[str, Any], own_labels: Mapping[str, str]) -> dict[str, Any]:
    """The body of an instance without its network and its labels, so that it isn't one."""
    host = {name: value for name, value in body["HostConfig"].items() if name not in CONNECTING}
    others = {"NetworkingConfig", "ExposedPorts", "Labels", "HostConfig"}
    kept = {name: value for name, value in body.items() if name not in others}
    checks = {labels.HEALTHCHECK: body["Labels"].get(labels.HEALTHCHECK, "")}
    return {**kept, "Labels": {**checks, **own_labels}, "HostConfig": {**host, "NetworkMode": NO_NETWORK}}


async def _archive_of(file: Path, name: str) -> AsyncIterator[bytes]:
    """A tar archive with one file that all users can read."""
    with file.open("rb", buffering=0) as source:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = os.fstat(source.fileno()).st_size, 0o644
        yield entry.tobuf(tarfile.PAX_FORMAT)
        left = entry.size
        while left > 0 and (piece := await asyncio.to_thread(source.read, min(CHUNK, left))):
            left -= len(piece)
            yield piece
        yield bytes(-entry.size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)
