"""Makes the bodies of Docker's create calls, with what depends on the image and on the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import aiodocker

from stager.engines.docker import labels, seccomp
from stager.engines.docker.client import engine_errors
from stager.engines.docker.create_parameters import NO_CORE, OPEN_FILES, Storage, create_body, is_read_only
from stager.engines.docker.network.pool import Lease
from stager.engines.docker.volumes import ImageVolumes
from stager.ports.engine import InstanceSpec


class CreateBodies:
    """Makes the bodies for one installation.

    Args:
        installation: the id of the installation, which labels contain.
        loopback: whether the port is published on 127.0.0.1.

    Attributes:
        limits_open_files: whether containers get `OPEN_FILES`. Some engines can't set it.
    """

    def __init__(self, docker: aiodocker.Docker, installation: str, *, loopback: bool = False) -> None:
        self.limits_open_files = True
        self._docker = docker
        self._installation = installation
        self._image_volumes = ImageVolumes(docker, installation)
        self._loopback = loopback
        self._takes_profile: bool | None = None

    async def of(
        self, spec: InstanceSpec, lease: Lease, mounts: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """The body for an instance.

        Args:
            mounts: its volumes, as Docker's create call has them.

        Raises:
            Retry: the engine doesn't answer.
            DockerError: Docker refuses.
        """
        complete = await self._completed(spec)
        return create_body(
            complete,
            {labels.INSTALLATION: self._installation, labels.INPUTS: spec.inputs},
            lease,
            publish=self._loopback,
            seccomp_profile=await self._profile(),
            ulimits=(NO_CORE, OPEN_FILES) if self.limits_open_files else (NO_CORE,),
            storage=Storage(
                mounts, await self._image_volumes.options(spec.image) if is_read_only(spec) else {}
            ),
        )

    async def _completed(self, spec: InstanceSpec) -> InstanceSpec:
        """The spec with what depends on the image: the fallbacks that it doesn't set, and its entrypoint for
        a service without a command, because Docker would add the image's."""
        needs_entrypoint = spec.container.command == () and spec.container.entrypoint is None
        if not spec.fallbacks and not needs_entrypoint:
            return spec
        with engine_errors():
            try:
                image = await self._docker.images.inspect(spec.image)
            except aiodocker.DockerError as error:
                if error.status != 404:
                    raise
                return spec  # the create call reports the missing image
        named = {pair.partition("=")[0] for pair in image["Config"].get("Env") or ()}
        fallbacks = {name: value for name, value in spec.fallbacks.items() if name not in named}
        container = spec.container
        if needs_entrypoint:
            container = replace(container, entrypoint=tuple(image["Config"].get("Entrypoint") or ()))
        return replace(spec, variables={**fallbacks, **spec.variables}, container=container)

    async def _profile(self) -> str:
        """The seccomp profile if Docker supports one, else empty. Docker is asked once."""
        if self._takes_profile is None:
            self._takes_profile = await seccomp.takes_profile(self._docker)
        return seccomp.profile() if self._takes_profile else ""
