"""Pauses containers, lets them go on, and takes the memory of paused ones back."""

from __future__ import annotations

from typing import Literal

import aiodocker

from stager.domain.errors import Retry
from stager.engines.docker.client import engine_errors, request
from stager.engines.docker.memory import DockerMemory
from stager.ports.engine import Reclaim

State = Literal["running", "paused"]
CALLS: dict[State, str] = {"running": "unpause", "paused": "pause"}


class DockerPower:
    """See `ports.engine.Power`.

    Args:
        memory: takes the memory back.
    """

    def __init__(self, docker: aiodocker.Docker, memory: DockerMemory) -> None:
        self._docker = docker
        self._memory = memory

    @property
    def can_pause(self) -> bool:
        """See `ports.engine.Power.can_pause`."""
        return True

    async def pause(self, instance: str) -> None:
        """See `ports.engine.Power.pause`."""
        await set_state(self._docker, instance, "paused")

    async def unpause(self, instance: str) -> None:
        """See `ports.engine.Power.unpause`."""
        await set_state(self._docker, instance, "running")

    async def reclaim(self, instance: str) -> int | None:
        """See `ports.engine.Power.reclaim`."""
        return await self._memory.reclaim(instance)

    async def reclaim_support(self) -> Reclaim:
        """See `ports.engine.Power.reclaim_support`."""
        return self._memory.support()


async def set_state(docker: aiodocker.Docker, container: str, wanted: State) -> None:
    """Pause a container, or let it go on; no effect when it is in this state.

    Raises:
        Retry: `instance-gone`: it was removed, or doesn't run.
    """
    with engine_errors():
        try:
            async with request(docker, f"containers/{container}/{CALLS[wanted]}", "POST"):
                pass
        except aiodocker.DockerError as error:
            # Docker's answers differ: 409 for one that is paused already, 500 for one that isn't.
            state = await _state_of(docker, container)
            if state not in CALLS:
                raise Retry(
                    f"The container doesn't run, so Docker can't {CALLS[wanted]} it.", reason="instance-gone"
                ) from error
            if state != wanted:
                raise


async def _state_of(docker: aiodocker.Docker, container: str) -> str:
    """Docker's name of its state; empty if it was removed."""
    try:
        return str((await docker.containers.container(container).show())["State"]["Status"])
    except aiodocker.DockerError as error:
        if error.status == 404:
            return ""
        raise
