"""Stops a container and reads how it ended."""

from __future__ import annotations

import aiodocker
import aiohttp

from stager.domain.errors import Retry
from stager.engines.docker.client import engine_errors, request

ENDS_WITH_GRACE = aiohttp.ClientTimeout(total=None, sock_connect=60.0)
"""Docker answers once the container has ended, which its own grace period limits."""


async def stop_container(docker: aiodocker.Docker, container: str) -> int:
    """See `ports.engine.Instances.stop`."""
    with engine_errors():
        try:
            # With the signal and the StopTimeout of its creation. 304 means that it doesn't run.
            async with request(docker, f"containers/{container}/stop", "POST", timeout=ENDS_WITH_GRACE):
                pass
            state = (await docker.containers.container(container).show())["State"]
        except aiodocker.DockerError as error:
            if error.status in (404, 409):
                raise Retry("The container was removed before it stopped.", reason="instance-gone") from error
            raise
    return int(state["ExitCode"])
