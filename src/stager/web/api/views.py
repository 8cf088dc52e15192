"""Environments and deployments as the API and the pages show them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel, Field

from stager.control.control_plane import ControlPlane
from stager.control.environments.queries import Row
from stager.control.reconciler.status_page import live_status
from stager.domain.deployment import DeployedService, Deployment, Phase, deployed_sha, phase_of
from stager.domain.diagnosis.stages import Stage
from stager.domain.environment import Environment
from stager.domain.failure import Failure, failure_of
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action
from stager.domain.rollback import effect_on_data, title
from stager.domain.service_status import ServiceState, ServiceStatus
from stager.domain.status import State, summary_of
from stager.ports.firewall import Blocked


class ChangeView(BaseModel):
    """The pull request that an environment belongs to."""

    repository: str
    number: int
    title: str
    author: str
    url: str


class BlockedView(BaseModel):
    """A destination that the firewall blocked for an environment's instances."""

    address: str
    port: int = Field(description="0 if the protocol has no ports.")
    protocol: str = Field(description="`tcp`, `udp`, `icmp`, or a number.")
    count: int = Field(description="Minimum number of attempts.")
    last: datetime
    egress_allow: str = Field(description="The entry of `egress_allow` that allows it; may be empty.")


class ServiceView(BaseModel):
    """A service of a preview."""

    name: str
    state: ServiceState
    message: str = Field(description="Its latest failure, if it isn't healthy since; may be empty.")
    reason: str = Field(description="The failure's reason slug; may be empty.")
    url: str = Field(description="Its own URL; empty unless it is routed.")
    image: str = Field(description="The declared image; empty if it runs an image of the repository.")
    is_main: bool = Field(description="Whether it answers at the preview's URL.")
    is_job: bool = Field(description="Whether it runs to its end, once for each deployment.")
    is_built: bool = Field(description="Whether its image was built from the commit.")
    is_reused: bool = Field(description="Whether its instance was kept from an earlier deployment.")
    volumes: list[str] = Field(description="The names of its volumes.")


class VolumeView(BaseModel):
    """A named volume of a preview."""

    name: str
    generation: int = Field(description="The only generation that has it; 0 for a volume that is kept.")
    size: int | None = Field(description="Bytes on disk; null when unknown.")
    services: list[str] = Field(description="The names of the services that mount it.")


class RollbackView(BaseModel):
    """An earlier revision of a preview that can be launched again."""

    generation: int = Field(description="Its last deployment.")
    sha: str
    revision: str = Field(description="What it is called in sentences, such as `commit 0123456`.")
    data: str = Field(description="What launching it does to the volumes; empty if there are none.")


class FailureView(BaseModel):
    """Why a deployment isn't live, or not whole."""

    code: str = Field(description="A slug that is stable across versions.")
    stage: Stage
    service: str = Field(description="The service that failed; empty for the main one, or for all.")
    message: str = Field(description="What happened.")
    cause: str = Field(description="The likely cause in the log; requires permission to read logs.")
    hint: str = Field(description="The change that mends it; may be empty.")
    excerpt: list[str] = Field(
        description="The last lines of the log, without secrets; requires permission to read logs."
    )
    retryable: bool = Field(description="Whether the same commit may succeed when it is tried again.")
    retry_at: datetime | None = Field(description="When Stager tries it again; null if it doesn't.")


class EnvironmentView(BaseModel):
    """A preview with its current state."""

    id: str
    app: str = Field(description="The application: its entry in `images:`.")
    name: str = Field(description="The branch, or the name of the launch.")
    url: str
    state: State
    summary: str = Field(description="Which commit is deployed, which one is live, in a sentence or two.")
    message: str = Field(description="A description of the state.")
    hint: str = Field(description="What to do about it; may be empty.")
    reason: str = Field(description="A reason slug; may be empty.")
    place: int = Field(description="In the queue of those that wait for room; 0 unless it waits.")
    generation: int = Field(description="Increases with each requested deployment.")
    serving: int | None = Field(
        description="The generation that visitors see; null if they see a status page."
    )
    sha: str = Field(description="The deployed commit; after a roll back not the pull request's newest.")
    expires_at: datetime | None = Field(
        description="When it expires unless somebody visits it or pushes; null if that isn't soon."
    )
    last_visit: datetime | None = Field(
        description="The last request that it served, accurate to ten minutes; null if there was none."
    )
    is_pinned: bool = Field(description="Whether it never expires, and is never evicted for another.")
    rollback: RollbackView | None = Field(
        description="What a roll back launches again; null if there is nothing, and in lists."
    )
    withheld: list[str] = Field(
        description="The names of secrets withheld from code of forks; requires permission to read them."
    )
    warnings: list[str] = Field(
        description="Warnings, such as that untrusted code was built in the shared builder."
    )
    findings: list[str] = Field(
        description="What its Compose file leaves open and what of it has no effect, with file and line."
    )
    blocked: list[BlockedView] = Field(
        description="Recently blocked connections; requires permission to read logs."
    )
    services: list[ServiceView] = Field(description="Empty until the commit's services are known.")
    failure: FailureView | None = Field(description="Of the desired generation; null if there is none.")
    change: ChangeView | None
    created_at: datetime
    updated_at: datetime


class DeploymentView(BaseModel):
    """A deployment of an environment."""

    id: str
    generation: int
    phase: Phase
    sha: str
    ref: str
    image: str
    reason: str
    message: str
    created_at: datetime
    building_at: datetime | None = Field(description="The start of the build; null if nothing is built.")
    starting_at: datetime | None
    checking_at: datetime | None
    live_at: datetime | None
    ended_at: datetime | None
    notes: list[str] = Field(description="Failures of handlers, which didn't affect the preview.")
    failure: FailureView | None = Field(description="Why it failed; null if it didn't.")


async def current(control: ControlPlane, environment_id: str, actor: Actor) -> EnvironmentView:
    """Return the current view of an environment. Raises `Refused` (404) unless the actor may see it."""
    row = await control.environments.queries.row(environment_id, actor)
    blocked = await control.environments.queries.blocked() if row.visibility.logs else {}
    return view_of(control, row, blocked.get(environment_id, ()))


async def deployments_of(control: ControlPlane, environment_id: str, actor: Actor) -> list[DeploymentView]:
    """Return the views of an environment's deployments, newest first. Raises `Refused` (404) unless the actor
    may see it."""
    environment, deployments = await control.environments.queries.deployments(environment_id, actor)
    with_log = await control.identity.authorizer.may(actor, Action.READ_LOGS, environment.app)
    return [
        deployment_view_of(environment, deployment, notes, with_log=with_log)
        for deployment, notes in deployments
    ]


def view_of(control: ControlPlane, row: Row, blocked: Sequence[Blocked] = ()) -> EnvironmentView:
    """Return the view of an environment with the deployment of its desired generation.

    Args:
        blocked: connections that the firewall has blocked; shown to those who may read its logs.
    """
    environment = row.environment
    status, change = live_status(environment, row.deployment, control.builds.queue), environment.change
    return EnvironmentView(
        id=environment.id,
        app=environment.app,
        name=environment.name,
        url=control.routing.urls.url(environment.host),
        state=status.state,
        summary=summary_of(environment, status, row.deployment, row.serving),
        message=status.message,
        hint=status.hint,
        reason=status.reason,
        place=status.place,
        generation=environment.desired.generation,
        serving=environment.serving,
        sha=deployed_sha(environment, row.deployment),
        expires_at=row.notice.expires_at if row.notice else None,
        last_visit=row.last_visit,
        is_pinned=row.is_pinned,
        rollback=_rollback_view_of(row.rollback) if row.rollback else None,
        withheld=list(control.applications.withheld(environment.app, environment.desired.trust))
        if row.visibility.secret_names
        else [],
        warnings=[
            *control.applications.warnings(
                environment.app, environment.desired.trust, [each.service.spec for each in row.services]
            ),
            *(row.problems if row.visibility.logs else ()),
        ],
        findings=list(row.deployment.manifest.findings) if row.deployment else [],
        blocked=[_blocked_view_of(each) for each in blocked] if row.visibility.logs else [],
        services=[_service_view_of(control, environment, each) for each in row.services],
        failure=failure_view_of(
            row.deployment if environment.desired.keeps_instances else None, with_log=row.visibility.logs
        ),
        change=ChangeView(
            repository=f"{change.owner}/{change.repository}",
            number=change.number,
            title=change.title,
            author=change.author,
            url=change.url,
        )
        if change
        else None,
        created_at=environment.created_at,
        updated_at=environment.updated_at,
    )


def _rollback_view_of(earlier: Deployment) -> RollbackView:
    return RollbackView(
        generation=earlier.generation,
        sha=earlier.revision.sha,
        revision=title(earlier),
        data=effect_on_data(earlier),
    )


def _service_view_of(control: ControlPlane, environment: Environment, status: ServiceStatus) -> ServiceView:
    service, failure = status.service, status.failure
    host = service.host_in(environment)
    return ServiceView(
        name=service.name,
        state=status.state,
        message=failure.message if failure else "",
        reason=failure.reason if failure else "",
        url=control.routing.urls.url(host) if host else "",
        image=service.spec.image,
        is_main=service.is_main,
        is_job=service.spec.is_job,
        is_built=bool(service.build),
        is_reused=status.is_reused,
        volumes=_volumes_of(service),
    )


def _volumes_of(service: DeployedService) -> list[str]:
    """The names of a service's volumes."""
    return list(dict.fromkeys(mount.volume for mount in service.spec.mounts if mount.volume))


async def volume_views_of(control: ControlPlane, environment_id: str, actor: Actor) -> list[VolumeView]:
    """Return the volumes of an environment with their sizes. Raises what `Queries.volumes` does."""
    volumes = await control.environments.queries.volumes(environment_id, actor)
    services = (await control.environments.queries.row(environment_id, actor)).services
    users = {each.service.name: _volumes_of(each.service) for each in services}
    return [
        VolumeView(
            name=volume.name,
            generation=volume.generation,
            size=volume.size,
            services=[name for name, names in users.items() if volume.name in names],
        )
        for volume in volumes
    ]


def _blocked_view_of(blocked: Blocked) -> BlockedView:
    return BlockedView(
        address=blocked.address,
        port=blocked.port,
        protocol=blocked.protocol,
        count=blocked.count,
        last=blocked.last,
        egress_allow=blocked.opens,
    )


def deployment_view_of(
    environment: Environment, deployment: Deployment, notes: tuple[str, ...], *, with_log: bool
) -> DeploymentView:
    """Return the view of a deployment.

    Args:
        with_log: whether the viewer may see logs.
    """
    outcome = deployment.attempt.outcome
    return DeploymentView(
        id=deployment.id,
        generation=deployment.generation,
        phase=phase_of(deployment, environment),
        sha=deployment.revision.sha,
        ref=deployment.revision.ref,
        image=deployment.image,
        reason=outcome.reason if outcome else "",
        message=outcome.message if outcome else "",
        created_at=deployment.created_at,
        building_at=deployment.building_at,
        starting_at=deployment.starting_at,
        checking_at=deployment.checking_at,
        live_at=deployment.live_at,
        ended_at=deployment.ended_at,
        notes=list(notes),
        failure=failure_view_of(deployment, with_log=with_log),
    )


def failure_view_of(deployment: Deployment | None, *, with_log: bool) -> FailureView | None:
    """Return the view of a deployment's failure; None if it has none. See `failure_of`."""
    failure = failure_of(deployment, with_log=with_log)
    return as_failure_view(failure) if failure else None


def as_failure_view(failure: Failure) -> FailureView:
    """Return the view of a failure."""
    return FailureView(
        code=failure.code,
        stage=failure.stage,
        service=failure.service,
        message=failure.message,
        cause=failure.cause,
        hint=failure.hint,
        excerpt=list(failure.excerpt),
        retryable=failure.retryable,
        retry_at=failure.retry_at,
    )
