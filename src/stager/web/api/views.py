"""Environments and deployments as the API and Stager's own pages show them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, Field

from stager.control.control_plane import ControlPlane
from stager.control.environments.lookup import existing
from stager.control.plugins.lifecycle import notes_of
from stager.control.reconciler.status_page import live_status
from stager.domain.deployment import Deployment, Phase, phase_of
from stager.domain.environment import Environment
from stager.domain.errors import StagerError
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action, may
from stager.domain.status import State
from stager.ports.firewall import Blocked
from stager.ports.store import Transaction


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


def listed(tx: Transaction, *, gone: bool) -> list[tuple[Environment, Deployment | None]]:
    """All environments, with what is wished for; without those that are gone, unless asked."""
    return tx.environments_with_deployments(present=None if gone else True)


def history(tx: Transaction, environment_id: str) -> tuple[Environment, list[Deployment]]:
    """An environment with its deployments, newest first. Raises `Refused` (404) when there is none."""
    environment = existing(tx, environment_id)
    return environment, tx.deployments(environment_id)


@dataclass(frozen=True, slots=True)
class Visibility:
    """What somebody gets to see of an application's previews. False for nothing at all."""

    any: bool
    secret_names: bool = False
    logs: bool = False

    def __bool__(self) -> bool:
        return self.any


async def sight_of(control: ControlPlane, actor: Actor, app: str) -> Visibility:
    """What this actor sees of this application's previews."""
    role = await control.identity.authorizer.role(actor, app)
    seen = (Action.SEE, Action.READ_SECRET_NAMES, Action.READ_LOGS)
    return Visibility(*(may(role, action) for action in seen))


async def current(control: ControlPlane, environment_id: str, actor: Actor) -> EnvironmentView:
    """The view of an environment as it is now. Raises `Refused` (404) unless there is one that
    they may see."""
    found = await control.environments.queries.visible(environment_id, actor)
    sight = await sight_of(control, actor, found.app)
    environment, deployments = await control.ports.store.read(lambda tx: history(tx, environment_id))
    generation = environment.desired.generation
    current = next((d for d in deployments if d.generation == generation), None)
    blocked = await blocked_of(control) if sight.logs else {}
    return view_of(control, environment, current, sight, blocked.get(environment_id, ()))


async def blocked_of(control: ControlPlane) -> dict[str, list[Blocked]]:
    """What previews were kept from, by environment; nothing while nobody can tell."""
    found: dict[str, list[Blocked]] = {}
    if control.ports.firewall is not None:
        with suppress(StagerError):
            for each in await control.ports.firewall.blocked():
                found.setdefault(each.environment, []).append(each)
    return found


async def deployments_of(control: ControlPlane, environment_id: str, actor: Actor) -> list[DeploymentView]:
    """The views of an environment's deployments, newest first. Raises `Refused` (404) when there is none that
    they may see."""
    await control.environments.queries.visible(environment_id, actor)
    found, deployments = await control.ports.store.read(lambda tx: history(tx, environment_id))
    told = await control.ports.store.read(
        lambda tx: {d.generation: notes_of(tx, environment_id, d.generation) for d in deployments}
    )
    return [deployment_view_of(found, d, told[d.generation]) for d in deployments]


def view_of(
    control: ControlPlane,
    environment: Environment,
    deployment: Deployment | None,
    sight: Visibility,
    blocked: Sequence[Blocked] = (),
) -> EnvironmentView:
    """The view of an environment with the deployment of its desired generation.

    Args:
        blocked: what it was kept from; shown to those who may read its logs.
    """
    status, change = live_status(environment, deployment, control.builds.queue), environment.change
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
        if sight.secret_names
        else [],
        warnings=list(control.applications.warnings(environment.app, environment.desired.trust)),
        blocked=[_blocked_view_of(each) for each in blocked] if sight.logs else [],
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
