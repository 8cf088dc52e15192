"""What an engine contributes to the ports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import structlog

from stager.assembly.helper import HelperStatus
from stager.control.ports import BuildPorts
from stager.domain.errors import StagerError
from stager.ports.data import Data, Workbench
from stager.ports.engine import Images, Instances, Power
from stager.ports.firewall import Firewall
from stager.ports.machine import Machine
from stager.ports.pictures import PicturePorts
from stager.settings.model import Settings
from stager.state import StateDirectory

log = structlog.get_logger(__name__)

SWEEP_TIMEOUT = 5.0
"""Seconds that the shutdown waits for the engine to remove unused networks."""


@dataclass(frozen=True, slots=True)
class EngineContext:
    """What an engine is built from.

    Args:
        stack: closes its parts.
        public_ports: the ports of this machine that serve visitors.
    """

    settings: Settings
    state: StateDirectory
    helper: HelperStatus
    stack: AsyncExitStack
    public_ports: Callable[[], Sequence[int]]


@dataclass(frozen=True, slots=True)
class EngineParts:
    """The ports of one engine; see `control.ports.Ports`."""

    images: Images
    instances: Instances
    power: Power
    machine: Machine
    builds: BuildPorts | None
    firewall: Firewall | None
    data: Data
    workbench: Workbench
    pictures: PicturePorts | None


async def remove_unused_networks(instances: Instances) -> None:
    """Remove networks that no instance uses. The next start may be much later."""
    try:
        async with asyncio.timeout(SWEEP_TIMEOUT):
            await instances.sweep()
    except (StagerError, TimeoutError) as error:
        log.warning(
            "networks_left", error=str(error) or f"The engine didn't remove them within {SWEEP_TIMEOUT:g} s."
        )
