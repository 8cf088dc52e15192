"""What previews use of the machine now: memory and processor, measured only while somebody looks at them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from stager.control.loops import Loop
from stager.domain.errors import StagerError
from stager.ports.clock import Clock
from stager.ports.engine import Consumption, Instances

log = structlog.get_logger(__name__)

INTERVAL = timedelta(seconds=10)
WATCHED = timedelta(seconds=30)
"""For this long after somebody looked, measuring goes on: an open dashboard looks every ten seconds."""
TIMEOUT = 5.0
"""Seconds for one measurement. Docker takes longer if it measures a thousand containers by its API."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one preview uses.

    Args:
        memory: bytes.
        processor: processors in use since the measurement before; 1.0 is one core. None: not known yet.
    """

    memory: int = 0
    processor: float | None = None


class ConsumptionMeter:
    """Measures all previews together, in a loop of its own, so that no reader waits for the engine."""

    def __init__(self, instances: Instances, clock: Clock) -> None:
        self._instances = instances
        self._clock = clock
        self._looked_at: datetime | None = None
        self._measured_at: datetime | None = None
        self._raw: Mapping[str, Consumption] = {}
        self._loop = Loop("consumption", self.run, INTERVAL, after_adoption=True)
        self.number = 0
        """Counts the measurements."""
        self.figures: Mapping[str, Figures] = {}
        """The latest measurement, by the id of the environment; empty while no dashboard is open."""

    def loops(self) -> list[Loop]:
        """The loop that measures."""
        return [self._loop]

    def look(self) -> Mapping[str, Figures]:
        """Return the latest measurement, and have further ones made for a while."""
        now = self._clock.now()
        if not self._is_watched(now):
            self._loop.wake.set()
        self._looked_at = now
        return self.figures

    async def run(self) -> None:
        """Measure once, if somebody looks. An engine that doesn't answer leaves the latest measurement."""
        now = self._clock.now()
        if not self._is_watched(now):
            self.figures, self._raw, self._measured_at = {}, {}, None
            return
        try:
            async with asyncio.timeout(TIMEOUT):
                raw = await self._instances.consumption()
        except (StagerError, TimeoutError) as error:
            log.warning("consumption_not_measured", error=str(error))
            return
        self.figures = {id_: self._figures(id_, used, now) for id_, used in raw.items()}
        self._raw, self._measured_at = raw, now
        self.number += 1

    def _is_watched(self, now: datetime) -> bool:
        return self._looked_at is not None and now - self._looked_at < WATCHED

    def _figures(self, id_: str, used: Consumption, now: datetime) -> Figures:
        before = self._raw.get(id_)
        if before is None or self._measured_at is None or now <= self._measured_at:
            return Figures(used.memory)
        spent = used.processor_time - before.processor_time
        # A container that was replaced begins at zero.
        return Figures(used.memory, max(0.0, spent) / (now - self._measured_at).total_seconds())
