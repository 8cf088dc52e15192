"""Capacity: admits previews while there is room, puts others to sleep to make room, and keeps the queue of
those that wait.

Level-triggered: each pass reads everything and decides with `domain.allocation`. A preview is admitted after
its request was written, so that nothing makes room for a launch that is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

import structlog

from stager.control.environments.admission import Change, Decided, apply, rotate
from stager.control.environments.change_feed import ChangeFeed
from stager.control.environments.desired_state import DesiredState
from stager.control.environments.occupancy import (
    EXPECTED_MEMORY,
    Measured,
    Occupants,
    StoredState,
)
from stager.control.environments.rotation import Rotation
from stager.control.identity.audit import DONE, Audit
from stager.control.loops import Loop
from stager.control.ports import Ports
from stager.domain.allocation import Allocation, Limits, Occupancy, Resource, Room, allocate
from stager.domain.environment import Environment
from stager.domain.errors import Retry, StagerError
from stager.domain.identity.actor import Actor

log = structlog.get_logger(__name__)

INTERVAL = timedelta(seconds=10)
LONGEST_INTERVAL = timedelta(minutes=1)
"""Between two decisions, if nothing has changed. A preview that was in use may be idle by then."""
DISK_INTERVAL = timedelta(minutes=2)
"""Docker reads all files of all previews to measure them."""
MIN_PAUSE = 0.5
"""Seconds between two passes of the loop, however often something changes."""
BY_CAPACITY = Actor("stager", "capacity")
"""The actor of these decisions in the audit log."""


@dataclass(frozen=True, slots=True)
class CapacityOptions:
    """The configuration.

    Args:
        min_idle: how long a preview wasn't visited before it may be put to sleep for another one.
        sleepers: the names of the applications whose previews may sleep.
    """

    limits: Limits = field(default_factory=Limits)
    min_idle: timedelta = timedelta(minutes=1)
    sleepers: frozenset[str] = frozenset()


class Callbacks(Protocol):
    """What the reconciler contributes."""

    @property
    def wake(self) -> Callable[[str], None]:
        """Wakes the worker of an environment."""

    @property
    def show(self) -> Callable[[str], Awaitable[None]]:
        """Updates the status page of an environment, then publishes the change."""


class Capacity:
    """Admits previews, and keeps the queue."""

    def __init__(
        self,
        ports: Ports,
        desired_state: DesiredState,
        change_feed: ChangeFeed,
        callbacks: Callbacks,
        rotation: Rotation,
        audit: Audit,
        options: CapacityOptions,
    ) -> None:
        self._ports = ports
        self._desired_state = desired_state
        self._change_feed = change_feed
        self._callbacks = callbacks
        self._rotation = rotation
        self._audit = audit
        self.options = options
        self._lock = asyncio.Lock()
        self._admitted: set[str] = set()
        """Those that may run, though nothing of them may have begun. After a restart, they are admitted
        again."""
        self._has_queue = True
        """Whether a preview waits. Unknown before the first pass."""
        self._has_changed, self._decided_at = True, ports.clock.now()
        self._woken = asyncio.Event()
        self._disk: Mapping[str, int] = {}
        change_feed.listen(self._changed)

    def loops(self) -> list[Loop]:
        """The loop that enforces limits and admits those that wait, and the one that measures disk space, if
        that is limited."""
        loops = [Loop("capacity", self.run, INTERVAL, after_adoption=True, wake=self._woken)]
        if self.options.limits.limits_disk:
            loops.append(Loop("disk space of previews", self.measure_disk, DISK_INTERVAL))
        return loops

    async def measure_disk(self) -> None:
        """Measure what previews have written. Raises `Retry` while the engine doesn't answer."""
        self._disk = await self._ports.instances.disk()
        self._woken.set()

    async def run(self) -> None:
        """Decide, if anything may have changed since the last time. Raises `Retry` while the store doesn't
        answer."""
        async with self._lock:
            if await self._is_due():
                await self._decide()
        await asyncio.sleep(MIN_PAUSE)

    async def _is_due(self) -> bool:
        """Whether to read everything: with a thousand previews, that takes 0.06 s of processor time."""
        if self._has_queue or self._has_changed or self.options.limits.limits_memory:
            return True
        if self._ports.clock.now() - self._decided_at >= LONGEST_INTERVAL:
            return True
        return _is_short(self.options.limits, await self._room())

    async def admit(self, environment: Environment) -> None:
        """Admit an environment that should run, or have it wait for room. Call it after the transaction, and
        before its worker is woken."""
        async with self._lock:
            if environment.id in self._admitted:
                return
            if await self._is_unlimited():
                self._admitted.add(environment.id)
                return
            await self._decide()

    def released(self, environment_id: str) -> None:
        """An environment gives up its room."""
        self._admitted.discard(environment_id)
        self._woken.set()

    def _changed(self, _environment: str) -> None:
        self._has_changed = True
        if self._has_queue:
            self._woken.set()

    async def _is_unlimited(self) -> bool:
        """Whether there is room for another preview, whatever the others use."""
        limits = self.options.limits
        if limits.counts or self._has_queue:
            return False
        return not _is_short(limits, await self._room())

    async def _decide(self) -> None:
        """Read everything, and decide until nothing is rotated any more."""
        self._has_changed, self._decided_at = False, self._ports.clock.now()
        room = await self._room()
        is_short = _is_short(self.options.limits, room)
        if not (self.options.limits.counts or self._has_queue or is_short):
            return
        measured = await self._measure(with_memory=is_short or self.options.limits.limits_memory)
        rotated: str | None = ""
        while rotated is not None:
            stored = await self._ports.store.read(StoredState.read)
            occupants = self._occupants(stored, measured)
            allocation = allocate(self.options.limits, room, occupants.tenants())
            rotated = await self._rotate(occupants, allocation)
        decided = Decided(occupants, allocation, self.options.min_idle)
        changes = await self._ports.store.write(lambda tx: apply(tx, self._desired_state, decided))
        self._admitted = decided.admitted_after
        self._has_queue = bool(allocation.queue)
        await self._publish(changes)

    async def _rotate(self, occupants: Occupants, allocation: Allocation) -> str | None:
        """Remove a preview for the first one that waits because of `max_previews`. Returns the id of the one
        that was removed; None if none was."""
        first = next((q for q in allocation.queue if q.shortage.resource is Resource.PREVIEWS), None)
        if first is None:
            return None
        stored = occupants.stored
        candidates = [
            (environment, deployment)
            for environment, deployment in stored.pairs
            if occupants.occupancy(environment, deployment) not in {None, Occupancy.WAITING}
            and not stored.is_pinned(environment.id)
        ]
        candidates.sort(key=lambda pair: stored.started_at(*pair))
        chosen = await self._rotation.choose(candidates)
        if chosen is None:
            return None
        limit = first.shortage.limit
        change = await self._ports.store.write(
            lambda tx: rotate(tx, self._desired_state, chosen, first.id, limit)
        )
        self._admitted.discard(chosen)
        log.info("rotated", environment=chosen, for_environment=first.id, limit=limit)
        await self._publish([change] if change else [])
        return chosen

    async def _publish(self, changes: list[Change]) -> None:
        """Log and record what was decided, and have workers, pages and reports follow."""
        for change in changes:
            environment = change.environment
            if change.action:
                log.info("capacity", environment=environment.id, action=change.action, reason=change.reason)
                await self._audit.record(
                    BY_CAPACITY,
                    change.action,
                    app=environment.app,
                    subject=f"{environment.name} ({environment.id})",
                    result=DONE,
                    detail=change.reason,
                )
            if change.is_shown:
                with suppress(Retry):
                    await self._callbacks.show(environment.id)
            self._change_feed.changed(environment.id)
            if change.wakes:
                self._callbacks.wake(environment.id)

    async def occupants(self) -> Occupants:
        """What previews occupy now, with the memory that they use."""
        measured = await self._measure(with_memory=True)
        stored = await self._ports.store.read(StoredState.read)
        return self._occupants(stored, measured)

    def _occupants(self, stored: StoredState, measured: Measured) -> Occupants:
        return Occupants(stored, measured, self._admitted, self.options.min_idle, self.options.sleepers)

    async def _room(self) -> Room:
        ports = self._ports
        machine = await ports.machine.state()
        reclaims = False
        with suppress(StagerError):
            reclaims = ports.power.can_pause and (await ports.power.reclaim_support()).works
        return Room(machine.available_memory, machine.free_disk, reclaims)

    async def _measure(self, *, with_memory: bool) -> Measured:
        """Measure what previews use. Memory that can't be measured counts as unused; while visits can't be
        measured, nothing is put to sleep."""
        now = self._ports.clock.now()
        memory: dict[str, int] = {}
        if with_memory:
            try:
                memory = dict(await self._ports.instances.memory())
            except StagerError as error:
                log.warning("memory_not_measured", reason=error.reason, error=error.message)
        try:
            activity = await self._ports.router.activity()
        except StagerError as error:
            log.warning("visits_not_measured", reason=error.reason, error=error.message)
            activity = None
        return Measured(now, memory, activity, self._disk)


def _is_short(limits: Limits, room: Room) -> bool:
    """Whether the machine may lack memory or disk space for another preview."""
    if room.disk is not None and room.disk < limits.free_disk:
        return True
    return room.memory is not None and room.memory < limits.free_memory + EXPECTED_MEMORY
