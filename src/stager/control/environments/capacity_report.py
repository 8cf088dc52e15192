"""What previews use of the machine, for people: filtered by permission."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from stager.control.environments.capacity import Capacity
from stager.control.identity.authorizer import Authorizer
from stager.domain.allocation import Limits, Occupancy, Tenant
from stager.domain.environment import Environment
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.ports.machine import Machine, MachineState


@dataclass(frozen=True, slots=True)
class Occupant:
    """A preview with what it occupies.

    Args:
        memory: bytes in use.
        disk: bytes written, as far as it is measured.
        visited_at: when it was visited last; None if that is unknown.
    """

    environment: Environment
    occupancy: Occupancy
    memory: int = 0
    visited_at: datetime | None = None
    disk: int = 0


@dataclass(frozen=True, slots=True)
class CapacityReport:
    """What previews use, and what is left.

    Args:
        occupants: those that the actor may see: first those that have room, then the queue in its order.
        counts: of the previews by their occupancy. For administrators of all, for others of those that they
            may see.
        machine: for administrators only.
    """

    limits: Limits
    occupants: tuple[Occupant, ...]
    counts: dict[Occupancy, int]
    memory: int
    machine: MachineState | None = None


class CapacityQueries:
    """Reads what previews use."""

    def __init__(self, capacity: Capacity, authorizer: Authorizer, machine: Machine) -> None:
        self._capacity = capacity
        self._authorizer = authorizer
        self._machine = machine

    async def report(self, actor: Actor) -> CapacityReport:
        """What previews use, as far as the actor may see it."""
        occupants = await self._capacity.occupants()
        environments = {environment.id: environment for environment, _ in occupants.stored.pairs}
        tenants = {tenant.id: tenant for tenant in occupants.tenants()}
        visible = await self._authorizer.visible(actor, {tenant.app for tenant in tenants.values()})
        sees_all = await self._authorizer.role(actor) is Role.ADMINISTRATOR
        counted = [t for t in tenants.values() if sees_all or t.app in visible]
        used = occupants.measured.memory
        found = [
            Occupant(
                environments[tenant.id],
                tenant.occupancy,
                used.get(tenant.id, 0),
                occupants.visited_at(environments[tenant.id]),
                tenant.disk,
            )
            for tenant in sorted(tenants.values(), key=_order)
            if tenant.app in visible
        ]
        return CapacityReport(
            self._capacity.options.limits,
            tuple(found),
            {each: sum(t.occupancy is each for t in counted) for each in Occupancy},
            sum(used.get(tenant.id, 0) for tenant in counted),
            await self._machine.state() if sees_all else None,
        )


def _order(tenant: Tenant) -> tuple[bool, datetime, str]:
    return tenant.occupancy is Occupancy.WAITING, tenant.since, tenant.id
