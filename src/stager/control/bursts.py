"""Bursts of deliveries: they are answered first, and work is deferred meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

BURST_SIZE: Final = 10
"""Deliveries within `BURST_SECONDS` that count as a burst."""
BURST_SECONDS: Final = 0.25
"""On a busy machine, the event loop receives deliveries in groups with pauses of up to 0.2 s (measured)."""
LONGEST_DEFERRAL: Final = 2.0
"""Seconds for which a burst defers work. A forge waits ten seconds for an answer."""


class Burst:
    """Detects bursts of deliveries. Their processing and the reconciliation wait until a burst is over.

    To record and answer a delivery takes a millisecond of CPU time, and the container that it replaces takes
    a hundred times as much. On a machine whose CPUs are all busy, the operating system shares them between
    this process and those that start containers: the answers would wait for many of them.
    """

    def __init__(self) -> None:
        self._arrivals: deque[float] = deque(maxlen=BURST_SIZE)
        self._began = 0.0

    def add(self) -> None:
        """A delivery arrived."""
        now = asyncio.get_running_loop().time()
        if self._ends_at() <= now:
            self._began = now
        self._arrivals.append(now)

    async def over(self) -> None:
        """Wait until the burst is over, or has lasted for `LONGEST_DEFERRAL`; return at once without one."""
        while (seconds := self._left()) > 0:  # noqa: ASYNC110 (more deliveries prolong it)
            await asyncio.sleep(seconds)

    def _left(self) -> float:
        """Seconds for which processing is deferred, unless another delivery arrives."""
        until = min(self._ends_at(), self._began + LONGEST_DEFERRAL)
        return until - asyncio.get_running_loop().time()

    def _ends_at(self) -> float:
        """When the burst is over unless another delivery arrives."""
        return self._arrivals[0] + BURST_SECONDS if len(self._arrivals) == BURST_SIZE else 0.0
