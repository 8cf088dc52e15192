"""The JSON API. Ids are opaque; what is listed here stays from version to version."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import BaseModel, Field

from stager.domain.commands import Launch
from stager.domain.errors import StagerError
from stager.web.api.views import (
    DeploymentView,
    EnvironmentView,
    current,
    deployments_of,
    view_of,
)
from stager.web.context import Control, Known
from stager.web.problems import Problem

LONGEST_LOG = 5_000
UNBUFFERED = {"X-Accel-Buffering": "no"}
"""Has an nginx before us pass on each piece as it comes (nginx docs, `proxy_buffering`)."""

ANSWERS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request makes no sense here.", "model": Problem},
    401: {"description": "Nobody that we know.", "model": Problem},
    403: {"description": "Whoever asks may not.", "model": Problem},
    404: {"description": "There is none of this id.", "model": Problem},
    409: {"description": "It can't be, as things stand.", "model": Problem},
    422: {"description": "The request isn't valid.", "model": Problem},
    429: {"description": "Too many wrong credentials came from this address.", "model": Problem},
    503: {"description": "Not now.", "model": Problem},
}

router = APIRouter(prefix="/api/v1", tags=["environments"], responses=ANSWERS)

Id = Annotated[str, Path(description="The environment's id.", max_length=64)]


class ApprovalBody(BaseModel):
    """What to approve."""

    sha: str = Field(
        max_length=64, description="The whole id of the commit that was read, 40 or 64 hex digits."
    )


class LaunchBody(BaseModel):
    """What to launch."""

    image_name: str = Field(description="The entry under `images:`.")
    container_name: str = Field(description="The branch or the tag, or any other name.")
    parameters: dict[str, str] = Field(
        default_factory=dict, description="Environment variables for the instance."
    )


@router.get("/environments")
async def list_environments(
    control: Control,
    actor: Known,
    app: Annotated[str, Query(description="Only this application's.")] = "",
    gone: Annotated[bool, Query(description="Also those that are gone.")] = False,
) -> list[EnvironmentView]:
    """All environments that whoever asks may see, oldest first."""
    queries = control.environments.queries
    rows = await queries.listing(actor, app=app, gone=gone)
    blocked = await queries.blocked() if any(row.visibility.logs for row in rows) else {}
    return [view_of(control, row, blocked.get(row.environment.id, ())) for row in rows]


@router.post("/environments", status_code=202)
async def launch(control: Control, actor: Known, body: LaunchBody) -> EnvironmentView:
    """Have a preview running, afresh when it runs already. Answers at once."""
    command = Launch(body.image_name, body.container_name, body.parameters)
    environment = await control.environments.commands.launch(command, actor)
    return await current(control, environment.id, actor)


@router.get("/environments/{environment}")
async def get_environment(control: Control, actor: Known, environment: Id) -> EnvironmentView:
    """One environment."""
    return await current(control, environment, actor)


@router.delete("/environments/{environment}", status_code=202)
async def kill(control: Control, actor: Known, environment: Id) -> EnvironmentView:
    """Have an environment removed. Answers at once."""
    await control.environments.commands.kill_by_id(environment, actor)
    return await current(control, environment, actor)


@router.post("/environments/{environment}/redeploy", status_code=202)
async def redeploy(control: Control, actor: Known, environment: Id) -> EnvironmentView:
    """Have an environment started afresh, with what it was last wished for. Answers at once."""
    await control.environments.commands.redeploy(environment, actor)
    return await current(control, environment, actor)


@router.post("/environments/{environment}/approve", status_code=202)
async def approve(control: Control, actor: Known, environment: Id, body: ApprovalBody) -> EnvironmentView:
    """Let this very commit run, which comes from a fork. Answers at once."""
    await control.environments.commands.approve(environment, body.sha, actor)
    return await current(control, environment, actor)


@router.get("/environments/{environment}/deployments")
async def list_deployments(control: Control, actor: Known, environment: Id) -> list[DeploymentView]:
    """An environment's deployments, newest first."""
    return await deployments_of(control, environment, actor)


@router.get(
    "/environments/{environment}/log",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {}}, "description": "The last lines."}},
)
async def get_log(
    control: Control,
    actor: Known,
    environment: Id,
    lines: Annotated[int, Query(ge=1, le=LONGEST_LOG, description="How many lines.")] = 200,
    *,
    follow: Annotated[bool, Query(description="Go on, from instance to instance.")] = False,
    deployment: Annotated[str, Query(description="Only this deployment's, by its id; not followed.")] = "",
) -> Response:
    """The last lines of the newest instance's output; of the newest deployment's, when nothing is there."""
    if not follow or deployment:
        so_far = await control.environments.queries.log_of(environment, lines, actor, deployment)
        return PlainTextResponse("\n".join(so_far))
    await control.environments.queries.readable(environment, actor)
    # Fails here, while there still is a status code for it.
    await control.environments.attach.newest(environment)
    pieces = _until_trouble(control.environments.attach.follow(environment, lines))
    return StreamingResponse(pieces, media_type="text/plain", headers=UNBUFFERED)


async def _until_trouble(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    """What can't go on just ends: it is too late for another status."""
    with suppress(StagerError):
        async for piece in pieces:
            yield piece


@router.get(
    "/environments/{environment}/build-log",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {}}, "description": "The log."}},
)
async def get_build_log(
    control: Control,
    actor: Known,
    environment: Id,
    follow: Annotated[bool, Query(description="Go on until the build is over.")] = False,
) -> Response:
    """The log of the newest build; empty where nothing was built."""
    key = await control.environments.queries.build_of(environment, actor)
    if control.builds.queue is None or not key:
        return PlainTextResponse("")
    if not follow:
        return PlainTextResponse(control.builds.queue.log_of(key))
    return StreamingResponse(control.builds.queue.follow(key), media_type="text/plain", headers=UNBUFFERED)
