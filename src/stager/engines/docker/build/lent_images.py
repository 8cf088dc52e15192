"""The images of this machine that untrusted builds may start from: kept the same in their builder.

All that the configuration allows are brought over, and not those that a Dockerfile names: which these are,
only a build finds out, and what a stranger's file seems to say must decide nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase

import aiodocker

from stager.engines.docker.build import image_transfer
from stager.engines.docker.client import engine_errors


class LentImages:
    """Args:
    host: the machine's own engine.
    patterns: which of its images, by their names with tags.
    """

    def __init__(self, host: aiodocker.Docker, patterns: Sequence[str]) -> None:
        self._host = host
        self._patterns = patterns

    async def bring(self, builder: aiodocker.Docker) -> Sequence[str]:
        """Have the builder know exactly these, as they are now. Returns those that were brought.

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
    """The ids of the images with such names, by name."""
    with engine_errors():
        found = await docker.images.list()
    return {
        name: image["Id"]
        for image in found
        for name in image.get("RepoTags") or ()
        if name != "<none>:<none>" and any(fnmatchcase(name, pattern) for pattern in patterns)
    }
