"""The API for what environments were: the configuration of their deployments, and their events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from fastapi import Path, Query
from pydantic import BaseModel, Field

from stager.domain.configuration import (
    Configuration,
    Difference,
    ServiceConfiguration,
    Source,
    VariableRecord,
)
from stager.domain.history import Event, EventKind
from stager.web.api.router import Id, api_router
from stager.web.context import Control, Known

router = api_router("environments")

Generation = Annotated[int, Path(description="The deployment's generation.", ge=1, le=1 << 31)]
MAX_EVENTS = 200


class VariableView(BaseModel):
    """An environment variable as it was."""

    name: str
    source: Source = Field(description="Where it came from.")
    secret: bool
    value: str | None = Field(description="Null for a secret.")

    @classmethod
    def of(cls, one: VariableRecord) -> Self:
        """Return the view of a variable."""
        value = None if one.is_secret else one.value
        return cls(name=one.name, source=one.source, secret=one.is_secret, value=value)


class MountView(BaseModel):
    """A mount of a service as it was."""

    target: str = Field(description="The path inside the container.")
    volume: str = Field(description="The volume's name; empty for one of the container alone.")
    content: str = Field(description="The mounted file or folder of the commit; may be empty.")
    policy: str = Field(description="`keep`, `fresh` or `clone`; empty unless it is a named volume.")
    read_only: bool


class ServiceConfigurationView(BaseModel):
    """The configuration of a service as it was."""

    name: str
    main: bool = Field(description="Whether it answers at the preview's URL.")
    job: bool
    image: str = Field(description="The image's reference; empty if it was built from the commit.")
    image_id: str
    dockerfile: str = Field(description="The path of the Dockerfile; empty unless it was built.")
    target: str = Field(description="The stage that was built; empty for the last one.")
    build_arguments: dict[str, str]
    build_secrets: list[str] = Field(description="Their names.")
    entrypoint: list[str] | None = Field(description="Null for the image's own.")
    command: list[str] | None = Field(description="Null for the image's own.")
    port: int | None
    health_check: str = Field(description="In words.")
    memory: int = Field(description="Bytes.")
    cpus: float
    processes: int
    depends_on: dict[str, str]
    volumes: list[MountView]
    variables: list[VariableView]

    @classmethod
    def of(cls, one: ServiceConfiguration) -> Self:
        """Return the view of a service's configuration."""
        same = ("name", "image", "image_id", "dockerfile", "target", "port", "health_check")
        limits = ("memory", "cpus", "processes")
        return cls(
            **{name: getattr(one, name) for name in (*same, *limits)},
            main=one.is_main,
            job=one.is_job,
            build_arguments=dict(one.build_arguments),
            build_secrets=list(one.build_secrets),
            entrypoint=None if one.entrypoint is None else list(one.entrypoint),
            command=None if one.command is None else list(one.command),
            depends_on=dict(one.depends_on),
            volumes=[
                MountView(
                    target=each.target,
                    volume=each.name,
                    content=each.content,
                    policy=each.policy,
                    read_only=each.is_read_only,
                )
                for each in one.volumes
            ],
            variables=[VariableView.of(each) for each in one.variables],
        )


class DifferenceView(BaseModel):
    """A setting that differs from the deployment before."""

    service: str = Field(description="Empty for a setting of the whole preview.")
    setting: str = Field(description="Such as `port` or `variable DEBUG`.")
    change: str = Field(description="`added`, `removed` or `changed`.")
    before: str = Field(description="Empty if it is new, and for a secret.")
    after: str = Field(description="Empty if it was removed, and for a secret.")

    @classmethod
    def of(cls, one: Difference) -> Self:
        """Return the view of a difference."""
        return cls(
            service=one.service, setting=one.setting, change=one.words, before=one.before, after=one.after
        )


class ConfigurationView(BaseModel):
    """What a deployment was created from."""

    generation: int
    trust: str = Field(description="`trusted` or `fork`.")
    egress: str = Field(description="What it may connect to, in words.")
    hooks: list[str] = Field(description="The commands that run after its launch.")
    services: list[ServiceConfigurationView]
    changes: list[DifferenceView] = Field(
        description="What differs from the newest older deployment whose configuration is known."
    )

    @classmethod
    def of(cls, generation: int, one: Configuration, changes: Sequence[Difference]) -> Self:
        """Return the view of a configuration."""
        return cls(
            generation=generation,
            trust=one.trust,
            egress=one.egress,
            hooks=list(one.hooks),
            services=[ServiceConfigurationView.of(each) for each in one.services],
            changes=[DifferenceView.of(each) for each in changes],
        )


class EventView(BaseModel):
    """Something that happened to a preview."""

    at: datetime
    kind: EventKind
    message: str
    generation: int | None = Field(description="The deployment; null for an action.")
    actor: str = Field(description="Who did it; empty for an event of a deployment.")
    result: str = Field(description="Of an action: `done`, `refused` or `failed`.")
    detail: str = Field(description="Why it failed; may be empty.")

    @classmethod
    def of(cls, one: Event) -> Self:
        """Return the view of an event."""
        return cls(
            at=one.at,
            kind=one.kind,
            message=one.words,
            generation=one.generation or None,
            actor=one.actor,
            result=one.result,
            detail=one.detail,
        )


class EventsView(BaseModel):
    """Events of a preview."""

    events: list[EventView] = Field(description="The newest come first.")
    older: str | None = Field(description="The `before` of the next page; null on the last one.")


@router.get("/environments/{environment}/deployments/{generation}/configuration")
async def get_configuration(
    control: Control, actor: Known, environment: Id, generation: Generation
) -> ConfigurationView:
    """Get what a deployment was created from, and what changed since the one before. Secrets have names
    only."""
    found, changes = await control.environments.history.configuration(environment, generation, actor)
    return ConfigurationView.of(generation, found, changes)


@router.get("/environments/{environment}/events")
async def list_events(
    control: Control,
    actor: Known,
    environment: Id,
    limit: Annotated[int, Query(ge=1, le=MAX_EVENTS, description="Maximum number of events.")] = 50,
    before: Annotated[str, Query(max_length=40, description="`older` of the page before.")] = "",
) -> EventsView:
    """List what happened to an environment, newest first; people's actions for administrators only."""
    page = await control.environments.history.events(environment, actor, limit, before)
    return EventsView(events=[EventView.of(each) for each in page.events], older=page.older or None)
