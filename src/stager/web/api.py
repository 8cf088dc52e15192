"""The JSON API. Ids are opaque; what is listed here stays from version to version."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from stager.control.handling import told_of
from stager.domain.commands import Launch
from stager.domain.deployment import Deployment, phase_of
from stager.domain.environment import Environment
from stager.domain.errors import Refused
from stager.domain.status import State, status_of
from stager.ports.store import Transaction
from stager.web.problems import Problem
from stager.web.services import Known, Served, Services

LONGEST_LOG = 5_000

_ANSWERS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request makes no sense here.", "model": Problem},
    401: {"description": "Nobody that we know.", "model": Problem},
    404: {"description": "There is none of this id.", "model": Problem},
    409: {"description": "It can't be, as things stand.", "model": Problem},
    422: {"description": "The request isn't valid.", "model": Problem},
    503: {"description": "Not now.", "model": Problem},
}

router = APIRouter(prefix="/api/v1", tags=["environments"], responses=_ANSWERS)

Id = Annotated[str, Path(description="The environment's id.", max_length=64)]


class ChangeView(BaseModel):
    """The pull request that an environment belongs to."""

    repository: str
    number: int
    title: str
    author: str
    url: str


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
    withheld: list[str] = Field(description="The names of the secrets that code from forks doesn't get.")
    change: ChangeView | None
    created_at: datetime
    updated_at: datetime


class DeploymentView(BaseModel):
    """One attempt to bring one revision up."""

    id: str
    generation: int
    phase: str
    sha: str
    ref: str
    image: str
    reason: str
    message: str
    created_at: datetime
    starting_at: datetime | None
    checking_at: datetime | None
    live_at: datetime | None
    ended_at: datetime | None
    notes: list[str] = Field(description="What handlers failed at; it cost the preview nothing.")


class LaunchBody(BaseModel):
    """What to launch."""

    image_name: str = Field(description="The entry under `images:`.")
    container_name: str = Field(description="The branch, or any other name.")
    parameters: dict[str, str] = Field(
        default_factory=dict, description="Environment variables for the instance."
    )


@router.get("/environments")
async def list_environments(
    services: Served,
    _: Known,
    app: Annotated[str, Query(description="Only this application's.")] = "",
    gone: Annotated[bool, Query(description="Also those that are gone.")] = False,
) -> list[EnvironmentView]:
    """All environments, oldest first."""
    pairs = await services.store.read(lambda tx: _listed(tx, gone=gone))
    return [_view(services, *pair) for pair in pairs if app in ("", pair[0].app)]


@router.post("/environments", status_code=202)
async def launch(services: Served, actor: Known, body: LaunchBody) -> EnvironmentView:
    """Have a preview running, afresh when it runs already. Answers at once."""
    command = Launch(body.image_name, body.container_name, body.parameters)
    environment = await services.commands.launch(command, actor)
    return await _current(services, environment.id)


@router.get("/environments/{environment}")
async def get_environment(services: Served, _: Known, environment: Id) -> EnvironmentView:
    """One environment."""
    return await _current(services, environment)


@router.delete("/environments/{environment}", status_code=202)
async def kill(services: Served, actor: Known, environment: Id) -> EnvironmentView:
    """Have an environment removed. Answers at once."""
    await services.commands.kill_by_id(environment, actor)
    return await _current(services, environment)


@router.post("/environments/{environment}/redeploy", status_code=202)
async def redeploy(services: Served, actor: Known, environment: Id) -> EnvironmentView:
    """Have an environment started afresh, with what it was last wished for. Answers at once."""
    await services.commands.redeploy(environment, actor)
    return await _current(services, environment)


@router.get("/environments/{environment}/deployments")
async def list_deployments(services: Served, _: Known, environment: Id) -> list[DeploymentView]:
    """An environment's deployments, newest first."""
    found, deployments = await services.store.read(lambda tx: _history(tx, environment))
    told = await services.store.read(
        lambda tx: {d.generation: told_of(tx, environment, d.generation) for d in deployments}
    )
    return [_deployment_view(found, d, told[d.generation].notes) for d in deployments]


@router.get(
    "/environments/{environment}/log",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {}}, "description": "The last lines."}},
)
async def get_log(
    services: Served,
    _: Known,
    environment: Id,
    lines: Annotated[int, Query(ge=1, le=LONGEST_LOG, description="How many lines.")] = 200,
) -> Response:
    """The last lines of the newest instance's output; of the newest deployment's, when nothing is there."""
    found, deployments = await services.store.read(lambda tx: _history(tx, environment))
    instances = await services.instances.find(found.id)
    if instances:
        newest = max(instances, key=lambda i: i.generation)
        return PlainTextResponse(await services.instances.logs(newest.id, lines))
    kept = deployments[0].log if deployments else ""
    return PlainTextResponse("\n".join(kept.splitlines()[-lines:]))


def _listed(tx: Transaction, *, gone: bool) -> list[tuple[Environment, Deployment | None]]:
    environments = tx.environments(present=None if gone else True)
    return [(e, tx.deployment_of(e.id, e.desired.generation)) for e in environments]


def _history(tx: Transaction, environment_id: str) -> tuple[Environment, list[Deployment]]:
    environment = tx.environment(environment_id)
    if environment is None:
        raise Refused(f'There is no environment "{environment_id}".', reason="unknown", status=404)
    return environment, tx.deployments(environment_id)


async def _current(services: Services, environment_id: str) -> EnvironmentView:
    environment, deployments = await services.store.read(lambda tx: _history(tx, environment_id))
    generation = environment.desired.generation
    current = next((d for d in deployments if d.generation == generation), None)
    return _view(services, environment, current)


def _view(services: Services, environment: Environment, deployment: Deployment | None) -> EnvironmentView:
    status, change = status_of(environment, deployment), environment.change
    return EnvironmentView(
        id=environment.id,
        app=environment.app,
        name=environment.name,
        url=services.addresses.url(environment.host),
        state=status.state,
        message=status.message,
        hint=status.hint,
        reason=status.reason,
        generation=environment.desired.generation,
        serving=environment.serving,
        sha=environment.desired.revision.sha,
        withheld=list(services.applications.withheld(environment.app, environment.desired.trust)),
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


def _deployment_view(
    environment: Environment, deployment: Deployment, notes: tuple[str, ...]
) -> DeploymentView:
    outcome = deployment.attempt.outcome
    return DeploymentView(
        id=deployment.id,
        generation=deployment.generation,
        phase=phase_of(deployment, environment).value,
        sha=deployment.revision.sha,
        ref=deployment.revision.ref,
        image=deployment.image,
        reason=outcome.reason if outcome else "",
        message=outcome.message if outcome else "",
        created_at=deployment.created_at,
        starting_at=deployment.starting_at,
        checking_at=deployment.checking_at,
        live_at=deployment.live_at,
        ended_at=deployment.ended_at,
        notes=list(notes),
    )
