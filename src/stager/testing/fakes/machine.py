"""A fake machine with as much of everything as a test gives it."""

from __future__ import annotations

from dataclasses import replace

from stager.ports.machine import MachineState

GIB = 1 << 30


class FakeMachine:
    """See `stager.ports.machine.Machine`."""

    def __init__(self) -> None:
        self._state = MachineState(16 * GIB, 12 * GIB, 0, 0, 100 * GIB, 60 * GIB)

    def set(self, **resources: int | None) -> None:
        """Change these fields of its state."""
        self._state = replace(self._state, **resources)

    async def state(self) -> MachineState:
        """See `stager.ports.machine.Machine.state`."""
        return self._state
