"""The API of capacity: what previews use of the machine, the limits, and the queue."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from stager.control.environments.capacity_report import CapacityReport, Occupant
from stager.domain.allocation import Limit, Occupancy
from stager.web.api.router import api_router
from stager.web.context import Control, Known

router = api_router("capacity")


class LimitView(BaseModel):
    """The limits of the host, an application or an author; null for none."""

    max_running: int | None
    max_memory: int | None = Field(description="Bytes.")
    max_disk: int | None = Field(description="Bytes.")


class LimitsView(BaseModel):
    """The configured limits."""

    max_previews: int | None
    host: LimitView
    application: LimitView
    author: LimitView
    free_memory: int = Field(description="Bytes that stay available on the machine.")
    free_disk: int = Field(description="Bytes that stay free on its disk.")


class MachineView(BaseModel):
    """The machine's resources in bytes; null where unknown."""

    memory: int | None
    available_memory: int | None
    swap: int | None
    free_swap: int | None
    disk: int | None
    free_disk: int | None


class OccupantView(BaseModel):
    """A preview with what it occupies."""

    id: str
    app: str
    name: str
    occupancy: Occupancy
    place: int = Field(description="In the queue; 0 unless it waits.")
    reason: str = Field(description="What is short, as a sentence; empty unless it waits.")
    memory: int = Field(description="Bytes in use.")
    disk: int = Field(description="Bytes written; 0 unless disk space is limited.")
    visited_at: datetime | None = Field(description="The last visit; null when unknown.")


class CapacityView(BaseModel):
    """What previews use of the machine, the limits, and the queue."""

    counts: dict[Occupancy, int] = Field(
        description="Previews by their occupancy: of all for administrators, of visible ones for others."
    )
    memory: int = Field(description="Bytes that these previews use.")
    limits: LimitsView
    machine: MachineView | None = Field(description="For administrators only; null for others.")
    previews: list[OccupantView] = Field(
        description="Those that have room, the least recently visited first, then the queue in its order."
    )


@router.get("/capacity")
async def get_capacity(control: Control, actor: Known) -> CapacityView:
    """Get what previews use of the machine, the limits, and the queue."""
    return _view_of(await control.environments.capacity_queries.report(actor))


def _view_of(report: CapacityReport) -> CapacityView:
    limits, machine = report.limits, report.machine
    return CapacityView(
        counts=report.counts,
        memory=report.memory,
        limits=LimitsView(
            max_previews=limits.previews,
            host=_limit_view_of(limits.host),
            application=_limit_view_of(limits.application),
            author=_limit_view_of(limits.author),
            free_memory=limits.free_memory,
            free_disk=limits.free_disk,
        ),
        machine=MachineView.model_validate(machine, from_attributes=True) if machine else None,
        previews=[_occupant_view_of(each) for each in report.occupants],
    )


def _limit_view_of(limit: Limit) -> LimitView:
    return LimitView(max_running=limit.running, max_memory=limit.memory, max_disk=limit.disk)


def _occupant_view_of(occupant: Occupant) -> OccupantView:
    environment = occupant.environment
    suspension = environment.desired.suspension
    is_queued = environment.desired.is_queued and suspension is not None
    return OccupantView(
        id=environment.id,
        app=environment.app,
        name=environment.name,
        occupancy=occupant.occupancy,
        place=suspension.place if is_queued and suspension else 0,
        reason=suspension.message if is_queued and suspension else "",
        memory=occupant.memory,
        disk=occupant.disk,
        visited_at=occupant.visited_at,
    )
