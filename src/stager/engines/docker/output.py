"""Reads the output of containers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiodocker

from stager.engines.docker.client import engine_errors

UNREADABLE = 501
"""The status of Docker's answer when a container's log driver keeps nothing, such as `none`."""

LINE_LIMIT = 2_000
"""Maximum number of characters of a log line that are shown."""


async def last_lines(docker: aiodocker.Docker, container: str, lines: int) -> str:
    """See `ports.engine.Instances.logs`."""
    with engine_errors():
        try:
            pieces = await docker.containers.container(container).log(stdout=True, stderr=True, tail=lines)
        except aiodocker.DockerError as error:
            if error.status in (404, 409, UNREADABLE):
                return ""
            raise
    shown = (line.rstrip()[:LINE_LIMIT] for line in "".join(pieces).splitlines())
    return "\n".join(shown)


async def follow(docker: aiodocker.Docker, container: str, lines: int) -> AsyncIterator[str]:
    """See `ports.engine.Instances.follow`."""
    log = docker.containers.container(container).log(stdout=True, stderr=True, follow=True, tail=lines)
    with engine_errors():
        try:
            async for piece in log:
                yield piece
        except aiodocker.DockerError as error:
            if error.status not in (404, 409, UNREADABLE):
                raise
