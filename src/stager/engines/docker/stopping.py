"""Stops a container and reads how it ended."""

from __future__ import annotations

import aiodocker
import aiohttp

from stager.domain.errors import Retry
from stager.engines.docker.client import engine_errors, request

ENDS_WITH_GRACE = aiohttp.ClientTimeout(total=None, sock_connect=60.0)
"""Docker answers once the container has ended, which its own grace period limits."""


async def stop_container(docker: aiodocker.Docker, container: str, grace: float | None = None) -> int:
    """See `ports.engine.Instances.stop`.

    Args:
        grace: seconds until SIGKILL; None for the StopTimeout of its creation.
    """
    params = {} if grace is None else {"t": round(grace)}
    with engine_errors():
        try:
            # With the signal of its creation. 304 means that it doesn't run.
            path = f"containers/{container}/stop"
            async with request(docker, path, "POST", params=params, timeout=ENDS_WITH_GRACE):
                pass
            state = (await docker.containers.container(container).show())["State"]
        except aiodocker.DockerError as error:
            if error.status in (404, 409):
                raise Retry("The container was removed before it stopped.", reason="instance-gone") from error
            raise
    return int(state["ExitCode"])
