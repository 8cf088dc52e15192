"""What happens inside a running container: commands that are run there, and what its own check says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiodocker

from stager.domain.errors import Fault, Retry
from stager.engines.docker.client import engine_errors
from stager.ports.engine import Ran

OUTPUT_KEPT = 64 * 1024
"""Bytes of a command's output that are kept, its last."""
CANNOT_RUN = (126, 127)
"""The exit codes of what can't be executed, or isn't there (POSIX, Shell & Utilities, 2.8.2)."""


async def run_inside(docker: aiodocker.Docker, container: str, command: Sequence[str], timeout: float) -> Ran:
    """See `ports.engine.Instances.run`."""
    with engine_errors():
        try:
            execution = await docker.containers.container(container).exec(list(command))
            output, ended = await _output_of(execution, timeout)
            code = (await execution.inspect())["ExitCode"] if ended else None
        except aiodocker.DockerError as error:
            if error.status in (404, 409):  # it is gone, or it doesn't run
                raise Retry("The container doesn't run any more.", reason="instance-gone") from error
            raise
    if code in CANNOT_RUN and "exec failed" in output:
        raise Fault(
            f"`{command[0]}` can't be run in the container.",
            hint="Is the program in the image, and executable?",
            reason="hook-failed",
            detail=output,
        )
    return Ran(code, output)


async def _output_of(execution: aiodocker.execs.Exec, timeout: float) -> tuple[str, bool]:
    """The end of what it prints, and whether it ended in time."""
    kept = b""
    try:
        async with asyncio.timeout(timeout), execution.start(detach=False) as stream:
            while (message := await stream.read_out()) is not None:
                kept = (kept + message.data)[-OUTPUT_KEPT:]
    except TimeoutError:
        return kept.decode("utf-8", "replace"), False
    return kept.decode("utf-8", "replace"), True


async def is_healthy(docker: aiodocker.Docker, container: str) -> bool:
    """See `ports.engine.Instances.is_healthy`."""
    with engine_errors():
        try:
            found = await docker.containers.container(container).show()
        except aiodocker.DockerError as error:
            if error.status == 404:
                return False
            raise
    return (found["State"].get("Health") or {}).get("Status") == "healthy"
