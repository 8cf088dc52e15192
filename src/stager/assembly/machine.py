"""Which machine the previews run on."""

from __future__ import annotations

import os
from pathlib import Path

import aiodocker

from stager.domain.errors import StagerError
from stager.engines.docker import data_root
from stager.engines.machine import LocalMachine, RemoteMachine
from stager.ports.machine import Machine
from stager.settings.model import Settings
from stager.state import StateDirectory


def machine_of(settings: Settings, state: StateDirectory, docker: aiodocker.Docker) -> Machine:
    """Return what measures the machine that Docker runs on. An engine at a network address may run on another
    one."""
    if not settings.engine.socket.startswith("unix://"):
        return RemoteMachine()

    async def find_disk() -> Path | None:
        try:
            root = Path(await data_root(docker))
        except StagerError:
            return None
        # In a container, Docker's folder isn't visible; Stager's state is most often on the same filesystem.
        return root if os.path.isdir(root) else state.path  # noqa: ASYNC240, PTH112 (once, at the start)

    return LocalMachine(find_disk)
