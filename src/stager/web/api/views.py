"""Environments and deployments as the API and Stager's own pages show them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel, Field

from stager.control.control_plane import ControlPlane
from stager.control.environments.queries import Row
from stager.control.reconciler.status_page import live_status
from stager.domain.deployment import Deployment, Phase, phase_of
from stager.domain.environment import Environment
from stager.domain.identity.actor import Actor
from stager.domain.status import State
from stager.ports.firewall import Blocked


class ChangeView(BaseModel):
    """The pull request that an environment belongs to."""

    repository: str
    number: int
    title: str
    author: str
    url: str


class BlockedView(BaseModel):
    """Something that an environment's instances were kept from connecting to."""

    address: str
    port: int = Field(description="0 where the protocol has none.")
    protocol: str = Field(description="`tcp`, `udp`, `icmp`, or a number.")
    count: int = Field(description="Attempts, at least.")
    last: datetime
    opens: str = Field(description="The entry of `egress_allow` that opens it; may be empty.")


class EnvironmentView(BaseModel):
    """One preview, as it stands."""

    id: str
    app: str = Field(description="The entry under `images:`.")
    name: str = Field(description="The branch, or the name given by hand.")
    url: str
    state: State
    message: str = Field(description="The state in a sentence.")
    hint: str = Field(description="What to do about it; may be empty.")
    reason: str = Field(description="A slug where something is the matter.")
    generation: int = Field(description="Grows with each wish for a new deployment.")
    serving: int | None = Field(description="The generation that visitors see; null when they see a page.")
    sha: str
    withheld: list[str] = Field(
        description="The names of the secrets that code from forks doesn't get, for whoever may read them."
    )
    warnings: list[str] = Field(
        description="What people should know of it, such as that its code was built beside trusted code."
    )
    blocked: list[BlockedView] = Field(
        description="What the firewall kept it from lately, for whoever may read its logs."
    )
    change: ChangeView | None
    created_at: datetime
    updated_at: datetime


class DeploymentView(BaseModel):
    """One attempt to bring one revision up."""

    id: str
    generation: int
    phase: Phase
    sha: str
    ref: str
    image: str
    reason: str
    message: str
    created_at: datetime
    building_at: datetime | None = Field(
        description="Since then its image is made; null where nothing is built."
    )
    starting_at: datetime | None
    checking_at: datetime | None
    live_at: datetime | None
    ended_at: datetime | None
    notes: list[str] = Field(description="What handlers failed at; it cost the preview nothing.")


async def current(control: ControlPlane, environment_id: str, actor: Actor) -> EnvironmentView:
    """The view of an environment as it is now. Raises `Refused` (404) unless the actor may see it."""
    row = await control.environments.queries.row(environment_id, actor)
    blocked = await control.environments.queries.blocked() if row.visibility.logs else {}
    return view_of(control, row, blocked.get(environment_id, ()))


async def deployments_of(control: ControlPlane, environment_id: str, actor: Actor) -> list[DeploymentView]:
    """The views of an environment's deployments, newest first. Raises `Refused` (404) unless the actor may
    see it."""
    environment, deployments = await control.environments.queries.deployments(environment_id, actor)
    return [deployment_view_of(environment, deployment, notes) for deployment, notes in deployments]


def view_of(control: ControlPlane, row: Row, blocked: Sequence[Blocked] = ()) -> EnvironmentView:
    """The view of an environment with the deployment of its desired generation.

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
        message=status.message,
        hint=status.hint,
        reason=status.reason,
        generation=environment.desired.generation,
        serving=environment.serving,
        sha=environment.desired.revision.sha,
        withheld=list(control.applications.withheld(environment.app, environment.desired.trust))
        if row.visibility.secret_names
        else [],
        warnings=list(control.applications.warnings(environment.app, environment.desired.trust)),
        blocked=[_blocked_view_of(each) for each in blocked] if row.visibility.logs else [],
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


def _blocked_view_of(blocked: Blocked) -> BlockedView:
    return BlockedView(
        address=blocked.address,
        port=blocked.port,
        protocol=blocked.protocol,
        count=blocked.count,
        last=blocked.last,
        opens=blocked.opens,
    )


def deployment_view_of(
    environment: Environment, deployment: Deployment, notes: tuple[str, ...]
) -> DeploymentView:
    """The view of one of this environment's deployments."""
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
    )
