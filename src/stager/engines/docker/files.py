"""Reads files of containers, running or stopped, by Docker's archive call."""

from __future__ import annotations

import aiodocker

from stager.engines.docker.client import request


async def archive_of(docker: aiodocker.Docker, container: str, path: str, most: int) -> bytes | None:
    """Read the beginning of the tar archive of a path in a container. Returns None if the path or the
    container doesn't exist.

    Args:
        most: number of bytes to read; the result may be slightly longer.

    Raises:
        DockerError: Docker refuses for another reason.
    """
    content = b""
    try:
        async with request(  # aiodocker's own method reads archives whole only
            docker, f"containers/{container}/archive", params={"path": path}
        ) as response:
            while len(content) < most and (piece := await response.content.read(most)):
                content += piece
            response.close()
    except aiodocker.DockerError as error:
        if error.status != 404:
            raise
        return None
    return content
