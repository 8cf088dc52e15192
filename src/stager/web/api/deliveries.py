"""The last webhook deliveries and their outcomes, for administrators."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from stager.control.pull_requests.delivery_log import MAX_LISTED
from stager.ports.store import DeliveryRecord, RefusedDeliveries
from stager.web.api.environments import ANSWERS
from stager.web.context import Control, Known

router = APIRouter(prefix="/api/v1", tags=["installation"], responses=ANSWERS)


class DeliveryView(BaseModel):
    """A webhook delivery, without its content."""

    id: str = Field(description="The forge's id, the same for a redelivery.")
    forge: str
    event: str = Field(description="The forge's name for the kind of event, such as `pull_request`.")
    about: str = Field(description="Such as `acme/shop#7`; empty if unknown.")
    received_at: datetime
    finished_at: datetime | None = Field(description="Null while it waits or is processed.")
    outcome: str = Field(description="In words; empty until it is finished.")
    set_aside: bool = Field(description="Whether its processing never ended, so that it isn't retried.")

    @classmethod
    def of(cls, one: DeliveryRecord) -> Self:
        """Return the view of a delivery."""
        return cls(
            id=one.delivery,
            forge=one.forge,
            event=one.event,
            about=one.about,
            received_at=one.received_at,
            finished_at=one.finished_at,
            outcome=one.outcome,
            set_aside=one.is_set_aside,
        )


class RefusedView(BaseModel):
    """Deliveries that weren't accepted, of one forge and for one reason."""

    forge: str
    reason: str
    count: int
    last_at: datetime
    message: str
    hint: str

    @classmethod
    def of(cls, one: RefusedDeliveries) -> Self:
        """Return the view of refused deliveries."""
        return cls(
            forge=one.forge,
            reason=one.reason,
            count=one.count,
            last_at=one.at,
            message=one.message,
            hint=one.hint,
        )


class DeliveriesView(BaseModel):
    """What arrived."""

    deliveries: list[DeliveryView] = Field(description="The newest come first.")
    refused: list[RefusedView] = Field(description="Those that weren't accepted, by cause.")


@router.get("/deliveries")
async def list_deliveries(
    control: Control,
    actor: Known,
    limit: Annotated[int, Query(ge=1, le=MAX_LISTED, description="Maximum number of deliveries.")] = 50,
) -> DeliveriesView:
    """List the last webhook deliveries with their outcomes, newest first. For administrators."""
    found = await control.pull_requests.deliveries.recent(actor, limit)
    return DeliveriesView(
        deliveries=[DeliveryView.of(one) for one in found.recent],
        refused=[RefusedView.of(one) for one in found.refused],
    )
