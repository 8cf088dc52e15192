"""Why a pull request or branch has no preview."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import Query
from pydantic import BaseModel, Field

from stager.control.control_plane import ControlPlane
from stager.control.pull_requests.why import WhyAnswer
from stager.domain.identity.actor import Actor
from stager.domain.pull_requests.why import LONGEST_TARGET, target_of
from stager.web.api.router import api_router
from stager.web.context import Control, Known

router = api_router("environments")


class WhyView(BaseModel):
    """Why there is no preview, or where it is."""

    code: str = Field(description="Means one thing, such as `base-branch`; `live` if there is a preview.")
    message: str
    hint: str = Field(description="What to do; may be empty.")
    rule: str = Field(description="The setting that decides; empty if none does.")
    environment: str | None = Field(description="The preview's id; null if there is none.")
    url: str | None = Field(description="The preview's URL; null if there is none.")

    @classmethod
    def of(cls, answer: WhyAnswer, control: ControlPlane) -> Self:
        """Return the view of an answer."""
        found, why = answer.environment, answer.why
        return cls(
            code=why.code,
            message=why.message,
            hint=why.hint,
            rule=why.rule,
            environment=found.id if found else None,
            url=control.routing.urls.url(found.host) if found else None,
        )


async def why_view(control: ControlPlane, target: str, actor: Actor) -> WhyView:
    """The answer about a pull request or branch, such as `acme/shop#7`. Raises `Refused`
    (`target-invalid`)."""
    return WhyView.of(await control.pull_requests.why.ask(target_of(target), actor), control)


@router.get("/why")
async def get_why(
    control: Control,
    actor: Known,
    target: Annotated[
        str,
        Query(
            max_length=LONGEST_TARGET,
            description="`OWNER/NAME#NUMBER`, `OWNER/NAME#BRANCH` or the address of a pull request.",
        ),
    ],
) -> WhyView:
    """Get the reason why a pull request or branch has no preview. About a repository whose previews you may
    not see, the answer is the same as about an unknown one."""
    return await why_view(control, target, actor)
