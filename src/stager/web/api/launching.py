"""What can be launched: applications' open pull requests, and the URL that a launch leads to."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import Path, Query
from pydantic import BaseModel, Field

from stager.control.environments.lookup import MAX_NAME_LENGTH
from stager.domain.source import Change, Trust
from stager.web.api.router import api_router
from stager.web.context import Control, Known

router = api_router("environments")

App = Annotated[str, Path(description="The application: its entry in `images:`.", max_length=100)]


class LaunchTargetView(BaseModel):
    """Where a launch leads."""

    url: str
    environment: str | None = Field(description="The preview that is deployed again; null for a new one.")


class OpenChangeView(BaseModel):
    """An open pull request."""

    number: int
    title: str
    author: str
    url: str
    branch: str = Field(description="Its head branch.")
    sha: str
    draft: bool
    fork: bool = Field(description="Whether its branch is another repository's.")

    @classmethod
    def of(cls, change: Change) -> Self:
        """Return the view of a pull request."""
        return cls(
            number=change.number,
            title=change.title,
            author=change.author,
            url=change.url,
            branch=change.head_ref,
            sha=change.head_sha,
            draft=change.draft,
            fork=change.trust is Trust.FORK,
        )


@router.get("/applications/{app}/target")
async def get_target(
    control: Control,
    actor: Known,
    app: App,
    name: Annotated[str, Query(description="A branch, tag or other name.", max_length=MAX_NAME_LENGTH)],
) -> LaunchTargetView:
    """Get the URL that a launch leads to, without launching."""
    found = await control.environments.launch_targets.target(app, name, actor)
    return LaunchTargetView(url=found.url, environment=found.environment or None)


@router.get("/applications/{app}/changes")
async def list_open_changes(control: Control, actor: Known, app: App) -> list[OpenChangeView]:
    """List the application's open pull requests, newest first, at most 100."""
    return [OpenChangeView.of(change) for change in await control.pull_requests.open_changes.of(app, actor)]
