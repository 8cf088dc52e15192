"""Reads files of containers, which need not run: by Docker's archive call, and no more than is wanted."""

from __future__ import annotations

import aiodocker


async def archive_of(docker: aiodocker.Docker, container: str, path: str, most: int) -> bytes | None:
    """The first bytes of the tar archive of a path in a container; None when there is nothing at the path,
    or no container.

    Args:
        most: bytes that are wanted; what comes may be a little more.

    Raises:
        DockerError: Docker says no for another reason.
    """
    content = b""
    try:
        async with docker._query(  # noqa: SLF001 (aiodocker reads archives whole only)
            f"containers/{container}/archive", params={"path": path}
        ) as response:
            while len(content) < most and (piece := await response.content.read(most)):
                content += piece
            response.close()
    except aiodocker.DockerError as error:
        if error.status != 404:
            raise
        return None
    return content
