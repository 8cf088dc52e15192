"""The API for snapshots and the data of previews."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Annotated, Self

from fastapi import Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field, model_validator

from stager.control.control_plane import ControlPlane
from stager.domain.diagnosis.stages import Stage
from stager.domain.failure import failure_in
from stager.domain.identity.actor import Actor
from stager.domain.snapshot import (
    CreateSnapshot,
    FromCommand,
    FromDump,
    FromPreview,
    Snapshot,
    SnapshotState,
    Source,
    current_of,
)
from stager.web.api.environments import MAX_SERVICE, UNBUFFERED
from stager.web.api.router import Id, api_router
from stager.web.api.views import EnvironmentView, FailureView, as_failure_view, current
from stager.web.context import Control, Known, Web
from stager.web.uploads import DUMP_PATH

MAX_NAME = 100
MAX_COMMAND = 4_000
"""Characters."""

router = api_router("snapshots")

SnapshotId = Annotated[str, Path(description="The snapshot's id.", max_length=64)]


class SnapshotVolumeView(BaseModel):
    """A volume of a snapshot."""

    service: str = Field(description="The service that writes to it.")
    volume: str
    size: int | None = Field(description="Bytes; null when unknown.")


class SnapshotView(BaseModel):
    """A snapshot of an application's volumes."""

    id: str
    app: str = Field(description="The application: its entry in `images:`.")
    number: int = Field(description="Counts the snapshots of the application.")
    name: str = Field(description="May be empty.")
    state: SnapshotState
    is_current: bool = Field(description="Whether new previews start from it.")
    is_chosen: bool = Field(description="Whether it stays the current one when there is a newer one.")
    is_masked: bool = Field(description="Whether the application's masking scripts have run on it.")
    forks_allowed: bool = Field(description="Whether code from forks gets clones of it.")
    origin: str = Field(description="What it was made from, such as `preview feature-1`.")
    created_at: datetime
    created_by: str
    sha: str = Field(description="The commit that last ran on the data; empty if none did.")
    ref: str
    images: dict[str, str] = Field(description="The images by service; empty for one that was built.")
    volumes: list[SnapshotVolumeView]
    size: int | None = Field(description="Bytes of all volumes; null when unknown.")
    storage: str = Field(description="`pool`: clones share its blocks; `copies`: clones are full copies.")
    progress: str = Field(description="What is being done while it is made; may be empty.")
    message: str = Field(description="Why it failed; may be empty.")
    hint: str
    reason: str
    lines: list[str] = Field(description="The last lines of a failed script, without secrets.")
    failure: FailureView | None = Field(
        description="Why it failed, with the likely cause; null if it didn't."
    )


class SnapshotBody(BaseModel):
    """The snapshot to create, from a preview or by a command."""

    app: str = Field(max_length=100, description="The application: its entry in `images:`.")
    preview: str = Field("", max_length=64, description="The id of the preview whose volumes are copied.")
    run: str = Field(
        "",
        max_length=MAX_COMMAND,
        description="A shell command that fills empty volumes, run in the main service of a new environment.",
    )
    branch: str = Field("", max_length=255, description="The branch or tag whose code runs the command.")
    name: str = Field("", max_length=MAX_NAME, description="Snapshots with a name are never expired.")
    forks: bool | None = Field(None, description="Whether code from forks gets clones of it.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.preview) == bool(self.run):
            raise ValueError("give either `preview` or `run`")
        return self

    @property
    def source(self) -> Source:
        """Where the data comes from."""
        return FromPreview(self.preview) if self.preview else FromCommand(self.run, self.branch)


class DataVolumeView(BaseModel):
    """What a volume of a preview started from."""

    service: str
    volume: str
    policy: str = Field(description="`keep`, `fresh` or `clone`.")
    snapshot: str = Field(description="The id of the snapshot that it was cloned from; may be empty.")
    number: int | None = Field(description="The snapshot's number; null if it is deleted or there is none.")
    name: str = Field(description="The snapshot's name.")
    snapshot_created_at: datetime | None
    changed: int | None = Field(description="Bytes that differ from the snapshot; null when unknown.")


class DataView(BaseModel):
    """The data of a preview."""

    has_cloned_data: bool = Field(
        description="Whether it has a clone of a snapshot, and is private for that."
    )
    was_reset_at: int = Field(description="The generation at which kept volumes were reset; 0 for never.")
    notes: list[str] = Field(description="Why volumes started empty.")
    volumes: list[DataVolumeView]


@router.get("/snapshots")
async def list_snapshots(
    control: Control,
    actor: Known,
    app: Annotated[str, Query(description="Only snapshots of this application.", max_length=100)] = "",
) -> list[SnapshotView]:
    """List the snapshots of applications that the user may see, newest first."""
    return _views(await control.data.snapshots.list(actor, app))


@router.get("/snapshots/{snapshot}")
async def get_snapshot(control: Control, actor: Known, snapshot: SnapshotId) -> SnapshotView:
    """Get a snapshot."""
    found = await control.data.snapshots.show(snapshot, actor)
    siblings = await control.data.snapshots.list(actor, found.app)
    return _view(found, current_of(siblings))


@router.post("/snapshots", status_code=202)
async def create_snapshot(control: Control, actor: Known, body: SnapshotBody) -> SnapshotView:
    """Create a snapshot of a preview's volumes, or by a command. Responds without waiting."""
    request = CreateSnapshot(body.app, body.source, body.name, body.forks)
    return _view(await control.data.snapshots.create(request, actor), None)


@router.post(DUMP_PATH.removeprefix("/api/v1"), status_code=202)
async def restore_dump(  # noqa: PLR0913, PLR0917 (each is a parameter of the request)
    request: Request,
    control: Control,
    web: Web,
    actor: Known,
    app: Annotated[str, Query(description="The application.", max_length=100)],
    service: Annotated[
        str, Query(description="The service that it is loaded into.", max_length=MAX_SERVICE)
    ] = "database",
    file_name: Annotated[
        str, Query(description="The dump's name; its suffix says its format.", max_length=255)
    ] = "dump.sql",
    name: Annotated[str, Query(description="The snapshot's name.", max_length=MAX_NAME)] = "",
    *,
    forks: Annotated[bool | None, Query(description="Whether code from forks gets clones of it.")] = None,
) -> SnapshotView:
    """Create a snapshot from a dump, which is the request's body, of type `application/octet-stream`.
    Responds once it is received, without waiting for its restoration."""
    await control.data.snapshots.check_creation(app, actor)
    path = await web.uploads.receive(request)
    try:
        source = FromDump(service, path, file_name)
        return _view(
            await control.data.snapshots.create(CreateSnapshot(app, source, name, forks), actor), None
        )
    except BaseException:
        await asyncio.to_thread(path.unlink, missing_ok=True)
        raise


@router.post("/snapshots/{snapshot}/use")
async def use_snapshot(control: Control, actor: Known, snapshot: SnapshotId) -> SnapshotView:
    """Start new previews from this snapshot, also when there is a newer one."""
    await control.data.snapshots.use(snapshot, actor)
    return await get_snapshot(control, actor, snapshot)


@router.delete("/snapshots/{snapshot}/use")
async def use_newest_snapshot(control: Control, actor: Known, snapshot: SnapshotId) -> SnapshotView:
    """Start new previews from the newest snapshot again, instead of this one."""
    found = await control.data.snapshots.show(snapshot, actor)
    await control.data.snapshots.use_newest(found.app, actor)
    return await get_snapshot(control, actor, snapshot)


@router.delete("/snapshots/{snapshot}", status_code=204)
async def delete_snapshot(control: Control, actor: Known, snapshot: SnapshotId) -> Response:
    """Delete a snapshot. Previews that were cloned from it keep their data."""
    await control.data.snapshots.delete(snapshot, actor)
    return Response(status_code=204)


@router.get(
    "/snapshots/{snapshot}/volumes/{volume}",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-tar": {}}, "description": "The volume's files."}},
)
async def download_volume(
    control: Control,
    actor: Known,
    snapshot: SnapshotId,
    volume: Annotated[str, Path(description="The name of the volume.", max_length=255)],
) -> StreamingResponse:
    """Download a volume of a snapshot as a tar archive."""
    pieces = await _begun(await control.data.snapshots.download(snapshot, volume, actor))
    return StreamingResponse(pieces, media_type="application/x-tar", headers=UNBUFFERED)


@router.get("/environments/{environment}/data")
async def get_data(
    control: Control,
    actor: Known,
    environment: Id,
    *,
    usage: Annotated[
        bool, Query(description="Measure how much clones have changed. May take seconds.")
    ] = False,
) -> DataView:
    """Get what an environment's volumes started from."""
    return await data_view_of(control, environment, actor, usage=usage)


@router.post("/environments/{environment}/reset", status_code=202)
async def reset(control: Control, actor: Known, environment: Id) -> EnvironmentView:
    """Replace an environment's data by the current snapshot or empty volumes. Responds without waiting."""
    found = await control.environments.commands.reset(environment, actor)
    return await current(control, found.id, actor)


async def data_view_of(
    control: ControlPlane, environment_id: str, actor: Actor, *, usage: bool = False
) -> DataView:
    """Return the view of a preview's data. Raises what `Snapshotting.of_preview` does."""
    data = await control.data.of_preview(environment_id, actor, usage=usage)
    return DataView(
        has_cloned_data=data.has_cloned_data,
        was_reset_at=data.was_reset_at,
        notes=list(data.notes),
        volumes=[
            DataVolumeView(
                service=each.service,
                volume=each.volume,
                policy=each.policy,
                snapshot=each.snapshot_id,
                number=each.snapshot.number if each.snapshot else None,
                name=each.snapshot.name if each.snapshot else "",
                snapshot_created_at=each.snapshot.created_at if each.snapshot else None,
                changed=each.changed,
            )
            for each in data.volumes
        ],
    )


def _views(snapshots: Sequence[Snapshot]) -> list[SnapshotView]:
    apps = {each.app for each in snapshots}
    current = {app: current_of(each for each in snapshots if each.app == app) for app in apps}
    return [_view(each, current[each.app]) for each in snapshots]


def _view(snapshot: Snapshot, current: Snapshot | None) -> SnapshotView:
    """Return the view of a snapshot.

    Args:
        current: the application's current one.
    """
    problem = snapshot.problem
    return SnapshotView(
        id=snapshot.id,
        app=snapshot.app,
        number=snapshot.number,
        name=snapshot.name,
        state=snapshot.state,
        is_current=current is not None and current.id == snapshot.id,
        is_chosen=snapshot.is_chosen,
        is_masked=snapshot.is_masked,
        forks_allowed=snapshot.forks_allowed,
        origin=snapshot.origin,
        created_at=snapshot.created_at,
        created_by=snapshot.created_by,
        sha=snapshot.revision.sha,
        ref=snapshot.revision.ref,
        images=dict(snapshot.images),
        volumes=[
            SnapshotVolumeView(service=each.service, volume=each.volume, size=each.size)
            for each in snapshot.volumes
        ],
        size=snapshot.size,
        storage=snapshot.storage,
        progress=snapshot.progress,
        message=problem.message if problem else "",
        hint=problem.hint if problem else "",
        reason=problem.reason if problem else "",
        lines=problem.detail.splitlines() if problem else [],
        failure=as_failure_view(failure_in(problem, Stage.PREPARING)) if problem else None,
    )


async def _begun(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Return the same pieces, after the first was read: its errors still have a status code."""
    first = await anext(pieces, b"")

    async def all_pieces() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    return all_pieces()
