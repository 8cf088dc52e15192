"""`allocate` decides which previews sleep to make room for others, and which ones wait for room. The rules:

- A preview that waits is admitted when there is room for it in its three scopes: the host, its application
  and its author. The one that was requested first is admitted first.
- What is short for the host holds up all that were requested later. What is short for an application or an
  author holds up only those of the same application or author.
- For room, the least recently visited preview sleeps first. If memory is short and nothing awake may sleep,
  the least recently visited one that is paused is stopped. If that doesn't make enough room, nothing sleeps.
- Memory that a sleeping preview gives back counts only once it is measured. Until then, the one that waits
  for it goes on waiting.
- A limit that is exceeded is enforced in the same way, as far as previews may sleep. Nothing awake is
  suspended or removed.
- Disk space and the number of previews aren't gained by sleeping.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from stager.domain.environment import Depth


class Occupancy(StrEnum):
    """What a preview occupies of the machine."""

    WAITING = "waiting"
    """Nothing: it was requested, and waits for room."""
    AWAKE = "awake"
    PAUSED = "paused"
    STOPPED = "stopped"
    """Asleep: its containers are stopped."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A preview that has room on the machine or waits for it.

    Args:
        author: of its pull request, with the forge; empty without one.
        since: of one that waits, when it was requested; of any other, when it was last visited.
        memory: bytes that it uses, or is expected to use while it waits or starts.
        growth: the part of `memory` that isn't used yet.
        disk: bytes that it has written.
        may_sleep: whether it may be put to sleep, or deeper to sleep, for another one.
        is_settling: whether it fell asleep so recently that the memory it gives back isn't measured yet.
    """

    id: str
    app: str
    author: str
    occupancy: Occupancy
    since: datetime
    memory: int = 0
    growth: int = 0
    disk: int = 0
    may_sleep: bool = False
    is_settling: bool = False


class Resource(StrEnum):
    """What may be short."""

    PREVIEWS = "previews"
    """The number of previews, awake or asleep."""
    RUNNING = "running"
    """The number of previews that are awake."""
    MEMORY = "memory"
    """The memory of previews, in bytes."""
    DISK = "disk"
    """The disk space that previews have filled, in bytes."""
    MACHINE_MEMORY = "machine-memory"
    """The memory that is available on the machine, in bytes."""
    MACHINE_DISK = "machine-disk"
    """The disk space that is free, in bytes."""


class Level(StrEnum):
    """What a limit applies to."""

    HOST = "host"
    APPLICATION = "application"
    AUTHOR = "author"


@dataclass(frozen=True, slots=True)
class Scope:
    """The previews that a limit counts together.

    Args:
        name: of the application or the author; empty for the host.
    """

    level: Level
    name: str = ""


HOST = Scope(Level.HOST)


@dataclass(frozen=True, slots=True)
class Limit:
    """The limits of one level. None: unlimited.

    Args:
        running: of previews that are awake.
        memory: of all previews, in bytes.
        disk: that all previews have written, in bytes.
    """

    running: int | None = None
    memory: int | None = None
    disk: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The configured limits.

    Args:
        previews: of previews that are awake or asleep; None: unlimited.
        free_memory: bytes of memory that stay available on the machine.
        free_disk: bytes of disk space that stay free.
    """

    host: Limit = field(default_factory=Limit)
    application: Limit = field(default_factory=Limit)
    author: Limit = field(default_factory=Limit)
    previews: int | None = None
    free_memory: int = 0
    free_disk: int = 0

    def of(self, level: Level) -> Limit:
        """The limits of a level."""
        return {Level.HOST: self.host, Level.APPLICATION: self.application}.get(level, self.author)

    @property
    def limits_memory(self) -> bool:
        """Whether the memory of previews is limited."""
        return any(limit.memory for limit in (self.host, self.application, self.author))

    @property
    def limits_disk(self) -> bool:
        """Whether the disk space of previews is limited."""
        return any(limit.disk for limit in (self.host, self.application, self.author))

    @property
    def counts(self) -> bool:
        """Whether any of them needs to know the previews, not only the machine."""
        return self.previews is not None or any(
            limit != Limit() for limit in (self.host, self.application, self.author)
        )


@dataclass(frozen=True, slots=True)
class Room:
    """What the machine has. None: unknown, and not limited.

    Args:
        memory: bytes that are available.
        disk: bytes that are free.
        reclaims: whether a preview that is paused gives its memory back.
    """

    memory: int | None = None
    disk: int | None = None
    reclaims: bool = False


@dataclass(frozen=True, slots=True)
class Shortage:
    """What there isn't enough of.

    Args:
        limit: the limit that is reached: a number, or bytes.
    """

    resource: Resource
    scope: Scope
    limit: int


@dataclass(frozen=True, slots=True)
class Sleep:
    """Put a preview to sleep, or deeper to sleep."""

    id: str
    depth: Depth
    shortage: Shortage


@dataclass(frozen=True, slots=True)
class Queued:
    """A preview that goes on waiting.

    Args:
        place: 1 for the next one of those that wait for room in the same scope.
    """

    id: str
    place: int
    shortage: Shortage


@dataclass(frozen=True, slots=True)
class Allocation:
    """What to do.

    Args:
        sleeps: in the order in which the previews should fall asleep.
        admitted: the ids of those that waited and may run, in the order of the queue.
        queue: those that go on waiting, in order.
    """

    sleeps: tuple[Sleep, ...] = ()
    admitted: tuple[str, ...] = ()
    queue: tuple[Queued, ...] = ()


def allocate(limits: Limits, room: Room, tenants: Iterable[Tenant]) -> Allocation:
    """Decide which previews sleep, and which of those that wait are admitted. The same input gives the same
    decisions, in whichever order the previews are given."""
    ordered = sorted(tenants, key=lambda t: (t.since, t.id))
    ledger = _Ledger(limits, room, [t for t in ordered if t.occupancy is not Occupancy.WAITING])
    sleeps = _enforce(ledger, ordered)
    admitted: list[str] = []
    queue: list[Queued] = []
    held: Shortage | None = None
    for tenant in (t for t in ordered if t.occupancy is Occupancy.WAITING):
        shortage = held or ledger.lacks(tenant)
        if held is None and shortage is not None:
            made, shortage = _make_room(ledger, tenant, shortage)
            sleeps += made
        if shortage is None:
            ledger.admit(tenant)
            admitted.append(tenant.id)
            continue
        if shortage.scope == HOST:
            held = shortage
        place = 1 + sum(each.shortage.scope == shortage.scope for each in queue)
        queue.append(Queued(tenant.id, place, shortage))
    return Allocation(tuple(sleeps), tuple(admitted), tuple(queue))


def _enforce(ledger: _Ledger, tenants: Sequence[Tenant]) -> list[Sleep]:
    """Have previews sleep until no limit is exceeded, as far as they may."""
    sleeps: list[Sleep] = []
    scopes = dict.fromkeys(scope for tenant in tenants for scope in _scopes(tenant))
    for scope in scopes:
        while (excess := ledger.excess(scope)) is not None and (sleep := ledger.put_to_sleep(excess)):
            sleeps.append(sleep)
    return sleeps


def _make_room(ledger: _Ledger, tenant: Tenant, shortage: Shortage) -> tuple[list[Sleep], Shortage | None]:
    """Have previews sleep until there is room for one that waits. If they can't make enough room, none does.
    Returns what is still short; see `_Ledger.lacks`."""
    trial = ledger.copy()
    sleeps: list[Sleep] = []
    while (lacking := trial.lacks(tenant, with_pending=True)) is not None:
        sleep = trial.put_to_sleep(lacking)
        if sleep is None:
            return [], shortage
        sleeps.append(sleep)
    ledger.become(trial)
    return sleeps, ledger.lacks(tenant)


def _scopes(tenant: Tenant) -> tuple[Scope, ...]:
    """Narrow scopes first: what is short there doesn't hold up others."""
    author = (Scope(Level.AUTHOR, tenant.author),) if tenant.author else ()
    return (*author, Scope(Level.APPLICATION, tenant.app), HOST)


class _Ledger:
    """What previews occupy, changed by decisions.

    Args:
        tenants: those that have room, the least recently visited first.
    """

    def __init__(self, limits: Limits, room: Room, tenants: Iterable[Tenant]) -> None:
        self.limits = limits
        self.room = room
        self.tenants = {tenant.id: tenant for tenant in tenants}
        self.running: Counter[Scope] = Counter()
        self.memory: Counter[Scope] = Counter()
        self.disk: Counter[Scope] = Counter()
        self.pending: Counter[Scope] = Counter()
        """Memory that is given back, and not measured yet."""
        self.growth = 0
        for tenant in self.tenants.values():
            self._count(tenant, 1)
            if self._is_pending(tenant):
                self._expect_back(tenant)

    def copy(self) -> _Ledger:
        """A ledger to try decisions on."""
        made = _Ledger(self.limits, self.room, ())
        made.become(self)
        return made

    def become(self, other: _Ledger) -> None:
        """Take over the state of another one."""
        self.tenants = dict(other.tenants)
        self.running, self.memory = other.running.copy(), other.memory.copy()
        self.disk, self.pending, self.growth = other.disk.copy(), other.pending.copy(), other.growth

    def admit(self, tenant: Tenant) -> None:
        """Count one that waited as awake."""
        awake = replace(tenant, occupancy=Occupancy.AWAKE, growth=tenant.memory, may_sleep=False)
        self.tenants[tenant.id] = awake
        self._count(awake, 1)

    def lacks(self, tenant: Tenant, *, with_pending: bool = False) -> Shortage | None:
        """What is short for one that waits; None if there is room.

        Args:
            with_pending: whether memory counts as free that isn't measured yet.
        """
        limits, pending = self.limits, self.pending if with_pending else Counter[Scope]()
        for scope in _scopes(tenant):
            limit = limits.of(scope.level)
            if limit.running is not None and self.running[scope] >= limit.running:
                return Shortage(Resource.RUNNING, scope, limit.running)
            used = self.memory[scope] - pending[scope]
            # An expectation above the limit must not hold up the only preview for ever.
            if limit.memory is not None and used > 0 and used + tenant.memory > limit.memory:
                return Shortage(Resource.MEMORY, scope, limit.memory)
            if limit.disk is not None and self.disk[scope] >= limit.disk:
                return Shortage(Resource.DISK, scope, limit.disk)
        if limits.previews is not None and len(self.tenants) >= limits.previews:
            return Shortage(Resource.PREVIEWS, HOST, limits.previews)
        if self.room.disk is not None and self.room.disk < limits.free_disk:
            return Shortage(Resource.MACHINE_DISK, HOST, limits.free_disk)
        return self._lacks_machine_memory(tenant.memory, pending[HOST])

    def excess(self, scope: Scope) -> Shortage | None:
        """A limit that is exceeded, and that sleep can keep."""
        limit = self.limits.of(scope.level)
        if limit.running is not None and self.running[scope] > limit.running:
            return Shortage(Resource.RUNNING, scope, limit.running)
        if limit.memory is not None and self.memory[scope] - self.pending[scope] > limit.memory:
            return Shortage(Resource.MEMORY, scope, limit.memory)
        return self._lacks_machine_memory(0, self.pending[HOST]) if scope == HOST else None

    def put_to_sleep(self, shortage: Shortage) -> Sleep | None:
        """Choose the preview whose sleep helps against a shortage, and count it as asleep; None if there is
        none."""
        if shortage.resource in {Resource.PREVIEWS, Resource.DISK, Resource.MACHINE_DISK}:
            return None
        candidates = [t for t in self.tenants.values() if t.may_sleep and shortage.scope in _scopes(t)]
        awake = next((t for t in candidates if t.occupancy is Occupancy.AWAKE), None)
        frees_memory = shortage.resource is not Resource.RUNNING
        if awake is not None:
            is_enough = self.room.reclaims or not frees_memory
            return self._sleep(awake, Depth.PAUSED if is_enough else Depth.STOPPED, shortage)
        paused = (t for t in candidates if t.occupancy is Occupancy.PAUSED and not self._is_pending(t))
        found = next(paused, None) if frees_memory else None
        return self._sleep(found, Depth.STOPPED, shortage) if found is not None else None

    def _sleep(self, tenant: Tenant, depth: Depth, shortage: Shortage) -> Sleep:
        self._count(tenant, -1)
        asleep = replace(tenant, occupancy=Occupancy(depth), growth=0, is_settling=True)
        self.tenants[tenant.id] = asleep
        self._count(asleep, 1)
        if self._is_pending(asleep):
            self._expect_back(asleep)
        return Sleep(tenant.id, depth, shortage)

    def _is_pending(self, tenant: Tenant) -> bool:
        """Whether its memory counts until it is measured again, although it gives it back."""
        gives_back = tenant.occupancy is Occupancy.STOPPED or (
            tenant.occupancy is Occupancy.PAUSED and self.room.reclaims
        )
        return tenant.is_settling and gives_back

    def _expect_back(self, tenant: Tenant) -> None:
        for scope in _scopes(tenant):
            self.pending[scope] += tenant.memory

    def _count(self, tenant: Tenant, sign: int) -> None:
        for scope in _scopes(tenant):
            self.running[scope] += sign * (tenant.occupancy is Occupancy.AWAKE)
            self.memory[scope] += sign * tenant.memory
            self.disk[scope] += sign * tenant.disk
        self.growth += sign * tenant.growth

    def _lacks_machine_memory(self, memory: int, pending: int) -> Shortage | None:
        if self.room.memory is None:
            return None
        available = self.room.memory - self.growth + pending
        is_short = available < self.limits.free_memory + memory
        return Shortage(Resource.MACHINE_MEMORY, HOST, self.limits.free_memory) if is_short else None
