"""The machine that previews run on: what it has, and what is free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class MachineState:
    """The machine's resources in bytes. None: unknown, as of a machine that is reached over the network.

    Args:
        memory: its memory.
        available_memory: the memory that programs can get without swapping.
        swap: its swap space.
        free_swap: the unused part of it.
        disk: the size of the filesystem that previews write to.
        free_disk: the free part of it.
    """

    memory: int | None = None
    available_memory: int | None = None
    swap: int | None = None
    free_swap: int | None = None
    disk: int | None = None
    free_disk: int | None = None


class Machine(Protocol):
    """Measures the machine."""

    async def state(self) -> MachineState:
        """Its resources now. Doesn't raise: what can't be measured is unknown."""
