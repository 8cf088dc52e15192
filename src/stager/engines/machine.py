"""Measures this machine by its kernel."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from stager.ports.machine import MachineState

MEMINFO = Path("/proc/meminfo")


class LocalMachine:
    """See `ports.machine.Machine`.

    Args:
        find_disk: returns a path on the filesystem that previews write to; None while it is unknown. Called
            until it returns one.
        meminfo: the kernel's file on memory.
    """

    def __init__(self, find_disk: Callable[[], Awaitable[Path | None]], meminfo: Path = MEMINFO) -> None:
        self._find_disk = find_disk
        self._disk: Path | None = None
        self._meminfo = meminfo

    async def state(self) -> MachineState:
        """See `ports.machine.Machine.state`. The files are in memory, so reading them doesn't block."""
        memory = self._memory()
        self._disk = self._disk or await self._find_disk()
        size, free = self._disk_space()
        return MachineState(
            memory.get("MemTotal"),
            memory.get("MemAvailable"),
            memory.get("SwapTotal"),
            memory.get("SwapFree"),
            size,
            free,
        )

    def _memory(self) -> Mapping[str, int]:
        try:
            return read_meminfo(self._meminfo.read_text("ascii"))
        except (OSError, ValueError):
            return {}

    def _disk_space(self) -> tuple[int | None, int | None]:
        if self._disk is None:
            return None, None
        try:
            usage = shutil.disk_usage(self._disk)
        except OSError:
            return None, None
        return usage.total, usage.free


class RemoteMachine:
    """See `ports.machine.Machine`: one that is reached over the network, of which nothing is known."""

    async def state(self) -> MachineState:
        """See `ports.machine.Machine.state`."""
        return MachineState()


def read_meminfo(text: str) -> dict[str, int]:
    """Read `/proc/meminfo` (proc(5)): the values in bytes, by name. Raises ValueError if it has another
    format."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        number, _, unit = value.strip().partition(" ")
        found[name] = int(number) * (1024 if unit == "kB" else 1)
    return found
