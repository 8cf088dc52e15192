"""The JSON API. Ids are opaque; fields and routes are stable across versions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated

from fastapi import Query, Response
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import BaseModel, Field

from stager.domain.commands import Launch
from stager.domain.errors import StagerError
from stager.ports.engine import LogPiece
from stager.web.api.router import Id, api_router
from stager.web.api.views import (
    DeploymentView,
    EnvironmentView,
    VolumeView,
    current,
    deployments_of,
    view_of,
    volume_views_of,
)
from stager.web.context import Control, Known

MAX_LOG_LINES = 5_000
MAX_SERVICE = 100
"""Characters of a service's name."""
UNBUFFERED = {"X-Accel-Buffering": "no"}
"""Disables the buffering of responses in nginx (nginx docs, `proxy_buffering`)."""

router = api_router("environments")

ServiceName = Annotated[
    str, Query(description="A service of the preview; by default the main one.", max_length=MAX_SERVICE)
]


class ApprovalBody(BaseModel):
    """The commit to approve."""

    sha: str = Field(max_length=64, description="The full id of the reviewed commit, 40 or 64 hex digits.")


class RollbackBody(BaseModel):
    """The revision to roll back to."""

    to: str = Field(
        "",
        max_length=64,
        description="At least 7 digits of a commit's id, or the number of a deployment; empty for the last "
        "revision that was live before the current one.",
    )


class RolledBackView(EnvironmentView):
    """A preview that is rolled back."""

    rolled_back_to: str = Field(description="The revision, such as `commit 0123456`.")
    data: str = Field(description="What that does to its volumes; empty if it has none.")


class LaunchBody(BaseModel):
    """The preview to launch."""

    image_name: str = Field(description="The application: its entry in `images:`.")
    container_name: str = Field(description="A branch, a tag, or any other name.")
    parameters: dict[str, str] = Field(
        default_factory=dict, description="Environment variables of the instance."
    )


@router.get("/environments")
async def list_environments(
    control: Control,
    actor: Known,
    app: Annotated[str, Query(description="Only environments of this application.")] = "",
    gone: Annotated[bool, Query(description="Include removed environments.")] = False,
) -> list[EnvironmentView]:
    """List the environments that the user may see, oldest first."""
    queries = control.environments.queries
    rows = await queries.listing(actor, app=app, gone=gone)
    blocked = await queries.blocked() if any(row.visibility.logs for row in rows) else {}
    return [view_of(control, row, blocked.get(row.environment.id, ())) for row in rows]


@router.post("/environments", status_code=202)
async def launch(control: Control, actor: Known, body: LaunchBody) -> EnvironmentView:
    """Launch a preview, or redeploy it when it is running. Responds without waiting."""
    command = Launch(body.image_name, body.container_name, body.parameters)
    environment = await control.environments.commands.launch(command, actor)
    return await current(control, environment.id, actor)


@router.get("/environments/{environment}")
async def get_environment(control: Control, actor: Known, environment: Id) -> EnvironmentView:
    """Get an environment."""
    return await current(control, environment, actor)


@router.delete("/environments/{environment}", status_code=202)
async def kill(control: Control, actor: Known, environment: Id) -> EnvironmentView:
    """Remove an environment. Responds without waiting."""
    await control.environments.commands.kill_by_id(environment, actor)
    return await current(control, environment, actor)


@router.post("/environments/{environment}/redeploy", status_code=202)
async def redeploy(control: Control, actor: Known, environment: Id) -> EnvironmentView:
    """Redeploy an environment with its last parameters. Responds without waiting."""
    await control.environments.commands.redeploy(environment, actor)
    return await current(control, environment, actor)


@router.post("/environments/{environment}/rollback", status_code=202)
async def roll_back(
    control: Control, actor: Known, environment: Id, body: RollbackBody | None = None
) -> RolledBackView:
    """Launch an earlier revision again, without a build. Responds without waiting."""
    to = body.to if body else ""
    done = await control.environments.rollback.roll_back(environment, actor, to)
    view = await current(control, environment, actor)
    return RolledBackView(**view.model_dump(), rolled_back_to=done.revision, data=done.data)


@router.post("/environments/{environment}/pin")
async def pin(control: Control, actor: Known, environment: Id) -> EnvironmentView:
    """Exempt an environment from expiry and from eviction."""
    await control.environments.commands.pin(environment, actor)
    return await current(control, environment, actor)


@router.post("/environments/{environment}/extend")
async def extend(control: Control, actor: Known, environment: Id) -> EnvironmentView:
    """Count an environment as used now, so that it neither expires nor is evicted soon. Removes a pin."""
    await control.environments.commands.extend(environment, actor)
    return await current(control, environment, actor)


@router.post("/environments/{environment}/sleep", status_code=202)
async def sleep(control: Control, actor: Known, environment: Id) -> EnvironmentView:
    """Put a live environment to sleep. It stays awake if a request to it is open. Responds without
    waiting."""
    await control.environments.power.sleep_by(environment, actor)
    return await current(control, environment, actor)


@router.post("/environments/{environment}/wake", status_code=202)
async def wake(control: Control, actor: Known, environment: Id) -> EnvironmentView:
    """Wake an environment that sleeps. Responds without waiting."""
    await control.environments.power.wake_by(environment, actor)
    return await current(control, environment, actor)


@router.post("/environments/{environment}/approve", status_code=202)
async def approve(control: Control, actor: Known, environment: Id, body: ApprovalBody) -> EnvironmentView:
    """Approve a commit of a fork. Responds without waiting."""
    await control.environments.commands.approve(environment, body.sha, actor)
    return await current(control, environment, actor)


@router.get("/environments/{environment}/deployments")
async def list_deployments(control: Control, actor: Known, environment: Id) -> list[DeploymentView]:
    """List an environment's deployments, newest first."""
    return await deployments_of(control, environment, actor)


@router.get("/environments/{environment}/volumes")
async def list_volumes(control: Control, actor: Known, environment: Id) -> list[VolumeView]:
    """List an environment's named volumes with their sizes. May take seconds."""
    return await volume_views_of(control, environment, actor)


@router.get(
    "/environments/{environment}/log",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {}}, "description": "The last lines of the log."}},
)
async def get_log(
    control: Control,
    actor: Known,
    environment: Id,
    lines: Annotated[int, Query(ge=1, le=MAX_LOG_LINES, description="Number of lines.")] = 200,
    *,
    follow: Annotated[bool, Query(description="Follow the log, also across instances.")] = False,
    deployment: Annotated[
        str, Query(description="Only the log of the deployment with this id or number. It can't be followed.")
    ] = "",
    service: ServiceName = "",
) -> Response:
    """Get the log of the latest instance, or of the latest deployment if there is no instance."""
    if not follow or deployment:
        log = await control.environments.queries.log_of(environment, lines, actor, deployment, service)
        return PlainTextResponse("\n".join(log))
    await control.environments.queries.readable(environment, actor)
    # Raises before the response starts, so that the status code is right.
    await control.environments.attach.newest(environment, service)
    pieces = _until_error(control.environments.attach.follow(environment, lines, service))
    return StreamingResponse(pieces, media_type="text/plain", headers=UNBUFFERED)


async def _until_error(pieces: AsyncIterator[LogPiece]) -> AsyncIterator[str]:
    """End the stream at an error: it is too late for another status code."""
    with suppress(StagerError):
        async for piece in pieces:
            yield piece.text


@router.get(
    "/environments/{environment}/build-log",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {}}, "description": "The log."}},
)
async def get_build_log(
    control: Control,
    actor: Known,
    environment: Id,
    *,
    follow: Annotated[bool, Query(description="Follow the log until the build ends.")] = False,
    service: ServiceName = "",
    deployment: Annotated[
        str, Query(description="Only the build of the deployment with this id or number.")
    ] = "",
) -> Response:
    """Get the log of the latest build, of any service if none is given; empty if there was no build."""
    key = await control.environments.queries.build_of(environment, actor, service, deployment)
    if control.builds.queue is None or not key:
        return PlainTextResponse("")
    if not follow:
        return PlainTextResponse(control.builds.queue.log_of(key))
    return StreamingResponse(control.builds.queue.follow(key), media_type="text/plain", headers=UNBUFFERED)
