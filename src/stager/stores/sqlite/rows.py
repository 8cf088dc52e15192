"""Converts domain objects to rows and back.

A row is a tuple of values that SQLite can store; `schema` has a column for each of its fields. Values are
read as they were saved, times in UTC.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from stager.domain.attempt import Attempt, ServiceFailure
from stager.domain.deployment import DeployedService, Deployment
from stager.domain.environment import (
    ChangeLink,
    Depth,
    Desired,
    Environment,
    EnvironmentKey,
    RunState,
    Suspension,
    SuspensionReason,
)
from stager.domain.errors import Outcome
from stager.domain.pictures import Box, PictureSpec
from stager.domain.pull_requests.events import Delivery
from stager.domain.recipe import Hook, Hooks, Manifest
from stager.domain.snapshot import Snapshot, SnapshotState, SnapshotVolume
from stager.domain.source import Change, Repository, Revision, Trust
from stager.ports.store import DeliveryRecord, RefusedDeliveries, SeenRepository

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SERVICES = TypeAdapter(tuple[DeployedService, ...])
_FAILURES = TypeAdapter(dict[str, ServiceFailure])


class EnvironmentRow(NamedTuple):
    """An environment. Parameters, suspension, change link and the runs that sleep are JSON."""

    id: str
    app: str
    subject: str
    name: str
    host: str
    run: str
    generation: int
    sha: str
    ref: str
    parameters: str
    trust: str
    suspension: str | None
    created_at: int
    updated_at: int
    change: str | None
    comment_id: str
    serving: int | None
    approved_sha: str
    volume_epoch: int
    has_cloned_data: bool
    depth: str
    min_idle: float
    asleep_runs: str


class DeploymentRow(NamedTuple):
    """A deployment with its attempt. Outcome, manifest and services are JSON."""

    id: str
    environment_id: str
    sha: str
    ref: str
    generation: int
    failures: int
    retry_at: int | None
    outcome: str | None
    final: bool
    healthy_runs: str
    created_at: int
    image: str
    starting_at: int | None
    checking_at: int | None
    live_at: int | None
    ended_at: int | None
    log: str
    building_at: int | None
    build: str
    manifest: str
    services: str
    failed_services: str


class DeliveryRow(NamedTuple):
    """A delivery, without its times and outcome."""

    id: str
    forge: str
    event: str
    payload: str


class RefusedRow(NamedTuple):
    """Deliveries that weren't accepted."""

    forge: str
    reason: str
    total: int
    at: int
    message: str
    hint: str


class ChangeRow(NamedTuple):
    """A change. The head's repository and the labels are JSON."""

    repository_id: str
    number: int
    owner: str
    repository: str
    is_open: bool
    head_sha: str
    head_ref: str
    head_repository: str | None
    base_ref: str
    title: str
    author: str
    url: str
    updated_at: int
    merged: bool
    head_before: str
    labels: str
    draft: bool
    description: str
    author_is_bot: bool


class SnapshotRow(NamedTuple):
    """A snapshot. Images, volumes, secrets' owners and problem are JSON."""

    id: str
    app: str
    number: int
    state: str
    created_at: int
    created_by: str
    origin: str
    name: str
    sha: str
    ref: str
    images: str
    volumes: str
    is_masked: bool
    forks_allowed: bool
    storage: str
    is_chosen: bool
    secrets_of: str
    progress: str
    problem: str | None


class RepositoryRow(NamedTuple):
    """A known repository."""

    app: str
    repository_id: str
    owner: str
    name: str


def stamp(moment: datetime) -> int:
    """A time as microseconds since 1970 in UTC. Raises ValueError for one without a zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return (moment - _EPOCH) // _MICROSECOND


def moment(stamp: int) -> datetime:
    """The time of this stamp, in UTC."""
    return _EPOCH + timedelta(microseconds=stamp)


def environment_row(environment: Environment) -> EnvironmentRow:
    desired = environment.desired
    return EnvironmentRow(
        id=environment.id,
        app=environment.key.app,
        subject=environment.key.subject,
        name=environment.name,
        host=environment.host,
        run=desired.run,
        generation=desired.generation,
        sha=desired.revision.sha,
        ref=desired.revision.ref,
        parameters=json.dumps(dict(desired.parameters)),
        trust=desired.trust,
        suspension=json.dumps(asdict(desired.suspension)) if desired.suspension else None,
        created_at=stamp(environment.created_at),
        updated_at=stamp(environment.updated_at),
        change=json.dumps(asdict(environment.change)) if environment.change else None,
        comment_id=environment.comment_id,
        serving=environment.serving,
        approved_sha=environment.approved_sha,
        volume_epoch=environment.volume_epoch,
        has_cloned_data=environment.has_cloned_data,
        depth=desired.depth,
        min_idle=desired.min_idle,
        asleep_runs=json.dumps(sorted(environment.asleep_runs)),
    )


def environment_of(columns: Sequence[Any]) -> Environment:
    row = EnvironmentRow._make(columns)
    return Environment(
        id=row.id,
        key=EnvironmentKey(row.app, row.subject),
        name=row.name,
        host=row.host,
        desired=_desired_of(row),
        created_at=moment(row.created_at),
        updated_at=moment(row.updated_at),
        change=ChangeLink(**json.loads(row.change)) if row.change else None,
        comment_id=row.comment_id,
        serving=row.serving,
        approved_sha=row.approved_sha,
        volume_epoch=row.volume_epoch,
        has_cloned_data=bool(row.has_cloned_data),
        asleep_runs=frozenset(json.loads(row.asleep_runs)),
    )


def pair_of(columns: Sequence[Any]) -> tuple[Environment, Deployment | None]:
    """An environment with its deployment, from a row of an outer join of both."""
    first, second = columns[: len(EnvironmentRow._fields)], columns[len(EnvironmentRow._fields) :]
    return environment_of(first), None if second[0] is None else deployment_of(second)


def _desired_of(row: EnvironmentRow) -> Desired:
    return Desired(
        run=RunState(row.run),
        generation=row.generation,
        revision=Revision(row.sha, row.ref),
        parameters=json.loads(row.parameters),
        trust=Trust(row.trust),
        suspension=_suspension_of(json.loads(row.suspension)) if row.suspension else None,
        depth=Depth(row.depth),
        min_idle=row.min_idle,
    )


def _suspension_of(data: dict[str, Any]) -> Suspension:
    return Suspension(
        SuspensionReason(data["reason"]),
        data["message"],
        data["hint"],
        data.get("place", 0),
        data.get("rule", ""),
    )


def deployment_row(deployment: Deployment) -> DeploymentRow:
    attempt = deployment.attempt
    return DeploymentRow(
        id=deployment.id,
        environment_id=deployment.environment_id,
        sha=deployment.revision.sha,
        ref=deployment.revision.ref,
        generation=attempt.generation,
        failures=attempt.failures,
        retry_at=_stamp_or_none(attempt.retry_at),
        outcome=json.dumps(asdict(attempt.outcome)) if attempt.outcome else None,
        final=attempt.final,
        healthy_runs=json.dumps(dict(attempt.healthy_runs)),
        created_at=stamp(deployment.created_at),
        image=deployment.image,
        starting_at=_stamp_or_none(deployment.starting_at),
        checking_at=_stamp_or_none(deployment.checking_at),
        live_at=_stamp_or_none(deployment.live_at),
        ended_at=_stamp_or_none(deployment.ended_at),
        log=deployment.log,
        building_at=_stamp_or_none(deployment.building_at),
        build=deployment.build,
        manifest=json.dumps(asdict(deployment.manifest)),
        services=_SERVICES.dump_json(deployment.services).decode(),
        failed_services=_FAILURES.dump_json(dict(attempt.failed_services)).decode(),
    )


def deployment_of(columns: Sequence[Any]) -> Deployment:
    row = DeploymentRow._make(columns)
    return Deployment(
        id=row.id,
        environment_id=row.environment_id,
        revision=Revision(row.sha, row.ref),
        attempt=_attempt_of(row),
        created_at=moment(row.created_at),
        image=row.image,
        starting_at=_moment_or_none(row.starting_at),
        checking_at=_moment_or_none(row.checking_at),
        live_at=_moment_or_none(row.live_at),
        ended_at=_moment_or_none(row.ended_at),
        log=row.log,
        building_at=_moment_or_none(row.building_at),
        build=row.build,
        manifest=_manifest_of(json.loads(row.manifest)),
        services=_SERVICES.validate_json(row.services),
    )


def _manifest_of(data: dict[str, Any]) -> Manifest:
    hooks = {
        moment: tuple(Hook(tuple(hook["command"]), hook["service"]) for hook in found)
        for moment, found in data.pop("hooks", {}).items()
    }
    command, findings = (tuple(data.pop(key, ())) for key in ("command", "findings"))
    pictures = _pictures_of(**data.pop("pictures", {}))
    return Manifest(**data, command=command, hooks=Hooks(**hooks), findings=findings, pictures=pictures)


def _pictures_of(
    routes: Sequence[str] = (), widths: Sequence[int] = (), ignored: Sequence[Mapping[str, Any]] = ()
) -> PictureSpec:
    return PictureSpec(tuple(routes), tuple(widths), tuple(Box(**box) for box in ignored))


def _attempt_of(row: DeploymentRow) -> Attempt:
    return Attempt(
        generation=row.generation,
        failures=row.failures,
        retry_at=_moment_or_none(row.retry_at),
        outcome=Outcome(**json.loads(row.outcome)) if row.outcome else None,
        final=bool(row.final),
        healthy_runs=json.loads(row.healthy_runs),
        failed_services=_FAILURES.validate_json(row.failed_services),
    )


def delivery_row(delivery: Delivery) -> DeliveryRow:
    return DeliveryRow(delivery.id, delivery.forge, delivery.event, delivery.payload)


def delivery_of(columns: Sequence[Any]) -> Delivery:
    row = DeliveryRow._make(columns)
    return Delivery(row.id, row.forge, row.event, row.payload)


def delivery_record_of(columns: Sequence[Any]) -> DeliveryRecord:
    forge, delivery, event, about, received_at, finished_at, outcome, is_set_aside = columns
    return DeliveryRecord(
        forge=forge,
        delivery=delivery,
        event=event,
        about=about,
        received_at=moment(received_at),
        finished_at=_moment_or_none(finished_at),
        outcome=outcome or "",
        is_set_aside=bool(is_set_aside),
    )


def refused_row(refused: RefusedDeliveries) -> RefusedRow:
    return RefusedRow(
        refused.forge, refused.reason, refused.count, stamp(refused.at), refused.message, refused.hint
    )


def refused_of(columns: Sequence[Any]) -> RefusedDeliveries:
    row = RefusedRow._make(columns)
    return RefusedDeliveries(row.forge, row.reason, row.total, moment(row.at), row.message, row.hint)


def change_row(change: Change) -> ChangeRow:
    return ChangeRow(
        repository_id=change.repository.id,
        number=change.number,
        owner=change.repository.owner,
        repository=change.repository.name,
        is_open=change.is_open,
        head_sha=change.head_sha,
        head_ref=change.head_ref,
        head_repository=json.dumps(asdict(change.head_repository)) if change.head_repository else None,
        base_ref=change.base_ref,
        title=change.title,
        author=change.author,
        url=change.url,
        updated_at=stamp(change.updated_at),
        merged=change.merged,
        head_before=change.head_before,
        labels=json.dumps(change.labels),
        draft=change.draft,
        description=change.description,
        author_is_bot=change.author_is_bot,
    )


def change_of(columns: Sequence[Any]) -> Change:
    row = ChangeRow._make(columns)
    return Change(
        repository=Repository(row.repository_id, row.owner, row.repository),
        number=row.number,
        is_open=bool(row.is_open),
        head_sha=row.head_sha,
        head_ref=row.head_ref,
        head_repository=Repository(**json.loads(row.head_repository)) if row.head_repository else None,
        base_ref=row.base_ref,
        title=row.title,
        author=row.author,
        url=row.url,
        updated_at=moment(row.updated_at),
        merged=bool(row.merged),
        head_before=row.head_before,
        labels=tuple(json.loads(row.labels)),
        draft=bool(row.draft),
        description=row.description,
        author_is_bot=bool(row.author_is_bot),
    )


def snapshot_row(snapshot: Snapshot) -> SnapshotRow:
    return SnapshotRow(
        id=snapshot.id,
        app=snapshot.app,
        number=snapshot.number,
        state=snapshot.state,
        created_at=stamp(snapshot.created_at),
        created_by=snapshot.created_by,
        origin=snapshot.origin,
        name=snapshot.name,
        sha=snapshot.revision.sha,
        ref=snapshot.revision.ref,
        images=json.dumps(dict(snapshot.images)),
        volumes=json.dumps([asdict(each) for each in snapshot.volumes]),
        is_masked=snapshot.is_masked,
        forks_allowed=snapshot.forks_allowed,
        storage=snapshot.storage,
        is_chosen=snapshot.is_chosen,
        secrets_of=json.dumps(dict(snapshot.secrets_of)),
        progress=snapshot.progress,
        problem=json.dumps(asdict(snapshot.problem)) if snapshot.problem else None,
    )


def snapshot_of(columns: Sequence[Any]) -> Snapshot:
    row = SnapshotRow._make(columns)
    return Snapshot(
        id=row.id,
        app=row.app,
        number=row.number,
        state=SnapshotState(row.state),
        created_at=moment(row.created_at),
        created_by=row.created_by,
        origin=row.origin,
        name=row.name,
        revision=Revision(row.sha, row.ref),
        images=json.loads(row.images),
        volumes=tuple(SnapshotVolume(**each) for each in json.loads(row.volumes)),
        is_masked=bool(row.is_masked),
        forks_allowed=bool(row.forks_allowed),
        storage=row.storage,
        is_chosen=bool(row.is_chosen),
        secrets_of=json.loads(row.secrets_of),
        progress=row.progress,
        problem=Outcome(**json.loads(row.problem)) if row.problem else None,
    )


def repository_row(app: str, repository: Repository) -> RepositoryRow:
    return RepositoryRow(app, repository.id, repository.owner, repository.name)


def repository_of(columns: Sequence[Any]) -> SeenRepository:
    row = RepositoryRow._make(columns)
    return SeenRepository(row.app, Repository(row.repository_id, row.owner, row.name))


def _stamp_or_none(moment: datetime | None) -> int | None:
    return None if moment is None else stamp(moment)


def _moment_or_none(stamp: int | None) -> datetime | None:
    return None if stamp is None else moment(stamp)
