"""Swarm can't pause what a service runs."""

# ruff: noqa: ARG002 (the arguments are the port's)

from __future__ import annotations

from stager.engines.swarm.unsupported import unsupported
from stager.ports.engine import Reclaim


class SwarmPower:
    """See `ports.engine.Power`. Previews that sleep are stopped."""

    @property
    def can_pause(self) -> bool:
        """See `ports.engine.Power.can_pause`."""
        return False

    async def pause(self, instance: str) -> None:
        """See `ports.engine.Power.pause`. Always raises."""
        raise unsupported("pause a preview")

    async def unpause(self, instance: str) -> None:
        """See `ports.engine.Power.unpause`. No effect: nothing is paused."""

    async def reclaim(self, instance: str) -> int | None:
        """See `ports.engine.Power.reclaim`."""
        return None

    async def reclaim_support(self) -> Reclaim:
        """See `ports.engine.Power.reclaim_support`."""
        return Reclaim("", "", "Previews that sleep are stopped, so they use no memory.")
