"""Base images for untrusted builds: copies of this machine's images in their builder.

All images that the configuration allows are copied, rather than those in a Dockerfile: only a build can tell
which these are, and an untrusted file must not decide.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase

import aiodocker

from stager.engines.docker.build import image_transfer
from stager.engines.docker.client import engine_errors


class LentImages:
    """Lent images.

    Args:
        host: this machine's engine.
        patterns: shell patterns of names with tags.
    """

    def __init__(self, host: aiodocker.Docker, patterns: Sequence[str]) -> None:
        self._host = host
        self._patterns = patterns

    async def sync(self, builder: aiodocker.Docker) -> Sequence[str]:
        """Synchronize the builder's images with the allowed ones. Returns the copied ones.

        Raises:
            Retry: one of the engines doesn't answer.
        """
        wanted = await _tags(self._host, self._patterns) if self._patterns else {}
        there = await _tags(builder, ("*",))
        for name in there.keys() - wanted.keys():
            with engine_errors(), suppress(aiodocker.DockerError):
                await builder.images.delete(name, noprune=True)
        missing = sorted(name for name, image in wanted.items() if there.get(name) != image)
        if missing:
            await image_transfer.copy(self._host, builder, missing)
        return missing


async def _tags(docker: aiodocker.Docker, patterns: Collection[str]) -> Mapping[str, str]:
    """Ids of the images with matching names, by name."""
    with engine_errors():
        found = await docker.images.list()
    return {
        name: image["Id"]
        for image in found
        for name in image.get("RepoTags") or ()
        if name != "<none>:<none>" and any(fnmatchcase(name, pattern) for pattern in patterns)
    }
