"""Resolves the names of images."""

from __future__ import annotations

import aiodocker

from stager.domain.errors import Fault
from stager.engines.docker.client import UNREACHABLE, engine_errors


class DockerImages:
    """The engine's images. An image that exists locally is never pulled, so that a committed one works."""

    def __init__(self, docker: aiodocker.Docker) -> None:
        self._docker = docker

    async def resolve(self, reference: str) -> str:
        """See `ports.engine.Images.resolve`."""
        found = await self._find(reference)
        if found is None:
            await self._pull(reference)
            found = await self._find(reference)
        if found is None:
            raise _missing(reference, "Docker pulled it, but doesn't list it.")
        return found

    async def _find(self, reference: str) -> str | None:
        with engine_errors():
            try:
                return str((await self._docker.images.inspect(reference))["Id"])
            except aiodocker.DockerError as error:
                if error.status == 404:
                    return None
                if error.status >= 500:
                    raise
                raise Fault(
                    f'Docker doesn\'t accept "{reference}" as the name of an image: {error.message}',
                    reason="image-missing",
                ) from error

    async def _pull(self, reference: str) -> None:
        name, _, tag = reference.rpartition(":")
        named = (name, tag) if name and "/" not in tag else (reference, "latest")
        with engine_errors():
            try:
                await self._docker.images.pull(named[0], tag=named[1])
            except aiodocker.DockerError as error:
                if error.status == UNREACHABLE:
                    raise
                raise _missing(reference, error.message) from error


def _missing(reference: str, why: str) -> Fault:
    return Fault(
        f"The image \"{reference}\" isn't on this machine, and can't be pulled.",
        hint=f"`docker images` lists the local ones; `docker commit CONTAINER {reference}` creates it.",
        reason="image-missing",
        detail=why,
    )
