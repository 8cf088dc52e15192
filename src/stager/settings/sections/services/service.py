"""One service. The same keys in the configuration and in the repository file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from stager.domain import catalogue
from stager.domain.recipe import Recipe
from stager.domain.service import Condition, ServiceSpec
from stager.settings.loading.refusals import Path, refuse
from stager.settings.sections.builds import (
    RepositoryBuild,
    Variables,
    as_build,
    nameable,
    without_buildkit_arguments,
)
from stager.settings.sections.foreign_keys import FOREIGN_SERVICE_KEYS
from stager.settings.sections.services.health import OptionalHealth
from stager.settings.sections.services.values import (
    Folder,
    OptionalFolder,
    OptionalImage,
    OptionalMemory,
    WrittenMount,
    read_mount,
)
from stager.settings.values.scalars import NOT_BOOLEAN, ONE_OR_MANY, Duration, Form, PortNumber, Words
from stager.settings.values.secret import Secret
from stager.settings.values.section import Section

ConditionName = Literal["started", "healthy", "completed", "ready"]


def _as_conditions(value: Any) -> Any:
    """Turn a name or a list of names into a mapping."""
    if isinstance(value, str):
        value = [value] if value else []
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return dict.fromkeys(value, "ready")
    return value


class RepositoryService(Section):
    """A service. A text is the `image`, or an entry of the [catalogue](services.md#catalogue):
    `database: postgres:16`. Without `image` and `build`, it runs the application's own image with another
    command, such as a worker."""

    unknown_key_hint: ClassVar = "an environment variable goes under `env`"
    misplaced: ClassVar = FOREIGN_SERVICE_KEYS
    form: ClassVar = "postgres:16"

    image: Annotated[OptionalImage, Field(examples=["postgres:16"])] = ""
    """Image of the service; it is pulled if it isn't on the machine."""

    build: Annotated[
        RepositoryBuild | None,
        BeforeValidator(as_build, json_schema_input_type=RepositoryBuild | str | None),
        AfterValidator(without_buildkit_arguments),
    ] = None
    """How the image is built from the commit: `auto`, a folder of the repository, or a mapping. Services with
    the same build share one image."""

    command: Words | None = None
    """Command to run instead of the image's `CMD`. An empty list is no command."""

    entrypoint: Words | None = None
    """Program to run instead of the image's `ENTRYPOINT`. An empty list is no program."""

    env: Variables = Field(default_factory=dict, examples=["{POSTGRES_DB: shop}"])
    """Environment variables of this service, in addition to those of the application for services that run
    the repository's code."""

    routed: Annotated[PortNumber | None, Field(examples=["3000"])] = None
    """Port of the service that gets a host of its own, `<service>--<preview>.<domain>`, with the access
    policy of the preview. If absent, only the other services reach it, by its name."""

    health: OptionalHealth = None
    """When it counts as healthy. If absent, the image's `HEALTHCHECK` decides, or else that it has run for 2
    seconds."""

    depends_on: Annotated[
        dict[str, ConditionName] | None,
        BeforeValidator(
            _as_conditions, json_schema_input_type=dict[str, ConditionName] | list[str] | str | None
        ),
        Form("list of names, or mapping of: `started` or `healthy` or `completed` or `ready`"),
        Field(examples=["[database]"]),
    ] = None
    """What other services must have reached before this one starts: a mapping of their names, or a list for
    `ready`, which is `completed` for a job and `healthy` for others. If absent, a service that runs the
    repository's code waits for all images from elsewhere to be healthy and for all jobs to be completed. An
    empty list waits for nothing."""

    job: bool = False
    """Whether it runs to its end, once for each push, such as database migrations."""

    profiles: Annotated[tuple[str, ...], ONE_OR_MANY] = ()
    """Names, one of which must be in the application's `profiles` for the service to run. If empty, it always
    runs."""

    volumes: Annotated[tuple[WrittenMount, ...], Field(examples=["[data:/data]"])] = ()
    """Mounts: `NAME:/path` is a volume of the preview, `./file:/path` a copy of a file or folder of the
    commit, `/path` a volume of the instance alone; `:ro` at the end makes it read-only."""

    tmpfs: Annotated[tuple[Folder, ...], ONE_OR_MANY, Field(examples=["[/tmp]"])] = ()
    """Folders that are kept in memory."""

    memory: OptionalMemory = None
    """Memory limit, at least `6m`. If absent, an equal share of what the other services leave of the
    application's `memory`."""

    cpus: Annotated[float | None, Field(ge=0.01, allow_inf_nan=False, examples=["0.5"]), NOT_BOOLEAN] = None
    """CPU limit in cores. If absent, what the other services leave of the application's `cpus`; code from
    forks gets a share as with `memory`."""

    user: str = ""
    """User that it runs as, such as `node` or `1000:1000`. If empty, the image's."""

    working_dir: OptionalFolder = ""
    """Working directory. If empty, the image's."""

    stop_grace_period: Annotated[Duration | None, Form("duration")] = None
    """Time between SIGTERM and SIGKILL. If absent, the application's."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        found = tuple(self._conflicts())
        if found:
            refuse(*found)
        return self

    def _conflicts(self) -> Iterator[tuple[Path, str]]:
        if self.image and self.build:
            yield ("image",), "conflicts with `build`, which makes the image; remove one of them"
        if self.job and self.routed:
            yield ("routed",), "conflicts with `job`, which ends before requests arrive; remove one of them"
        if self.job and self.health:
            yield ("health",), "conflicts with `job`, which is done once it exits with 0; remove one of them"
        if self.health and self.health.path and not self.routed:
            yield (
                ("health", "path"),
                "needs `routed`, the port of the request; or write `{port: 8080}` or `{command: ...}`",
            )
        targets = Counter([*(read_mount(each).target for each in self.volumes), *self.tmpfs])
        for target in sorted(each for each, count in targets.items() if count > 1):
            yield ("volumes",), f"has two mounts at {target}; remove one of them"

    @property
    def own_image(self) -> bool:
        """Whether it runs the application's own image."""
        return not (self.image or self.build)

    def variables(self) -> dict[str, str]:
        """The environment variables that aren't secrets."""
        return dict(self.env)

    def spec(self, name: str, conditions: Mapping[str, Condition]) -> ServiceSpec:
        """Return the service as a domain value, completed by the catalogue."""
        spec = ServiceSpec(
            name,
            image=self.image,
            build=self._recipe(),
            command=self.command,
            entrypoint=self.entrypoint,
            variables=self.variables(),
            port=self.routed,
            check=self.health.check if self.health else None,
            depends_on=conditions,
            is_job=self.job,
            mounts=tuple(map(read_mount, self.volumes)),
            tmpfs=self.tmpfs,
            memory=self.memory,
            cpus=self.cpus,
            user=self.user,
            working_dir=self.working_dir,
            stop_grace_period=self.stop_grace_period,
            profiles=self.profiles,
        )
        entry = catalogue.find(self.image) if self.image and not self.job else None
        return entry.complete(spec) if entry else spec

    def _recipe(self) -> Recipe | None:
        build = self.build
        return (
            Recipe(build.context, build.dockerfile, build.target, build.args, auto=build.auto)
            if build
            else None
        )


class Service(RepositoryService):
    """A service beside the application. A text is the `image`, or an entry of the
    [catalogue](services.md#catalogue): `database: postgres:16`. Without `image` and `build`, it runs the
    application's own image with another command, such as a worker."""

    build: Annotated[
        RepositoryBuild | None,
        BeforeValidator(as_build, json_schema_input_type=RepositoryBuild | str | None),
    ] = None
    """How the image is built from the commit: `auto`, a folder of the repository, or a mapping. Services with
    the same build share one image. BuildKit secrets are those of the application's `build`."""

    env: dict[str, Secret] = Field(default_factory=dict, examples=["{POSTGRES_DB: shop}"])  # type: ignore[assignment]
    """Environment variables of this service, in addition to those of the application for services that run
    the repository's code. Code from forks doesn't get values that refer to a variable or a file, such as
    `${TOKEN}` or `file:token`."""

    @field_validator("env")
    @classmethod
    def _nameable(cls, env: dict[str, Secret]) -> dict[str, Secret]:
        return nameable(env)

    @model_validator(mode="after")
    def _generated(self) -> Self:
        entry = catalogue.find(self.image) if self.image else None
        own = sorted(self.secrets().keys() & entry.variables.keys()) if entry else ()
        if own:
            refuse(
                *(
                    (("env", name), "is set for each preview; remove it, or write the value itself")
                    for name in own
                )
            )
        return self

    def variables(self) -> dict[str, str]:
        return {name: value.reveal() for name, value in self.env.items() if not value.is_reference}

    def secrets(self) -> dict[str, str]:
        """The environment variables that code from forks doesn't get."""
        return {name: value.reveal() for name, value in self.env.items() if value.is_reference}


def as_service(value: Any) -> Any:
    """Turn the short form of a service, its image, into a mapping."""
    return {"image": value} if isinstance(value, str) else value
