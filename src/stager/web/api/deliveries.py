"""The last webhook deliveries and their outcomes, for administrators."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from stager.control.pull_requests.delivery_log import MAX_LISTED, REPLAY, Effect, effect_of, original_of
from stager.domain.pull_requests.delivery_summary import summary
from stager.ports.store import DeliveryRecord, RefusedDeliveries, StoredDelivery
from stager.web.api.environments import ANSWERS
from stager.web.context import Control, Known

router = APIRouter(prefix="/api/v1", tags=["installation"], responses=ANSWERS)

Id = Annotated[str, Path(max_length=300, description="The delivery's id.")]
ForgeName = Annotated[
    str, Query(max_length=100, description="Its forge, where deliveries of several have this id.")
]


class DeliveryView(BaseModel):
    """A webhook delivery, without its content."""

    id: str = Field(description="The forge's id, the same for a redelivery. Two forges may use the same.")
    forge: str
    event: str = Field(description="The forge's name for the kind of event, such as `pull_request`.")
    about: str = Field(description="Such as `acme/shop#7`; empty if unknown.")
    received_at: datetime
    finished_at: datetime | None = Field(description="Null while it waits or is processed.")
    outcome: str = Field(description="In words; empty until it is finished.")
    effect: Effect = Field(description="In one word; `none` if nothing happened.")
    replay_of: str | None = Field(description="The id of the delivery that this one replays; null for none.")
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
            effect=effect_of(one),
            replay_of=original_of(one.delivery) if REPLAY in one.delivery else None,
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


class DeliveryDetailView(DeliveryView):
    """A delivery with a summary of its content."""

    summary: dict[str, str] = Field(description="Chosen fields of the content; nothing secret.")
    replayable: bool = Field(description="Whether its content is kept, so that it can be replayed.")

    @classmethod
    def detailed(cls, found: StoredDelivery) -> Self:
        """Return the view of a stored delivery."""
        view = DeliveryView.of(found.record)
        replayable = bool(found.payload) and found.record.finished_at is not None
        return cls(**view.model_dump(), summary=dict(summary(found.payload)), replayable=replayable)


class ReplayView(BaseModel):
    """A replay."""

    id: str = Field(description="The new delivery's id.")


@router.get("/deliveries")
async def list_deliveries(
    control: Control,
    actor: Known,
    limit: Annotated[int, Query(ge=1, le=MAX_LISTED, description="Maximum number of deliveries.")] = 50,
    q: Annotated[str, Query(max_length=200, description="Text in id, event, subject or outcome.")] = "",
    effect: Annotated[Effect | None, Query(description="Only those with this effect.")] = None,
) -> DeliveriesView:
    """List the last webhook deliveries with their outcomes, newest first. For administrators."""
    found = await control.pull_requests.deliveries.recent(actor, limit, q.strip(), effect)
    return DeliveriesView(
        deliveries=[DeliveryView.of(one) for one in found.recent],
        refused=[RefusedView.of(one) for one in found.refused],
    )


@router.get("/deliveries/{delivery}")
async def get_delivery(
    control: Control, actor: Known, delivery: Id, forge: ForgeName = ""
) -> DeliveryDetailView:
    """Get a webhook delivery with a summary of its content. For administrators."""
    return DeliveryDetailView.detailed(await control.pull_requests.deliveries.one(actor, delivery, forge))


@router.post("/deliveries/{delivery}/replay", status_code=202)
async def replay_delivery(control: Control, actor: Known, delivery: Id, forge: ForgeName = "") -> ReplayView:
    """Process a webhook delivery again, as a new one. For administrators."""
    return ReplayView(id=await control.pull_requests.deliveries.replay(actor, delivery, forge))
