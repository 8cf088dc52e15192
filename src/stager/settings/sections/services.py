"""The services beside an application: its database, workers, jobs. The same keys in the configuration and in
the repository file."""

from __future__ import annotations

import posixpath
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
    model_validator,
)

from stager.domain import catalogue
from stager.domain.names import did_you_mean
from stager.domain.recipe import Recipe
from stager.domain.service import MAIN_SERVICE, Condition, Mount, ServiceCheck, ServiceSpec, VolumePolicy
from stager.domain.stack import USUAL_NAMES, StackDeclaration, dependency_problems
from stager.settings.loading.refusals import InvalidValue, Path, refuse
from stager.settings.sections.builds import (
    RepositoryBuild,
    Variables,
    as_build,
    nameable,
    within_repository,
    without_buildkit_arguments,
)
from stager.settings.sections.defaults import MIN_MEMORY
from stager.settings.sections.foreign_keys import FOREIGN_SERVICE_KEYS
from stager.settings.values.scalars import (
    NOT_BOOLEAN,
    ONE_OR_MANY,
    POSITIVE,
    Duration,
    Form,
    PortNumber,
    Size,
    UrlPath,
    Words,
    is_reference,
)
from stager.settings.values.secret import Secret
from stager.settings.values.section import Section, Task

MAX_SERVICES = 30
"""A network of the default `networks.prefix_length` has 13 addresses; a larger one has more."""

MAX_PROBLEMS = 100
"""Problems with `depends_on` that are reported: finding a similar name takes time."""

_NAME = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")
_VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
MAX_NAME = 40
"""Characters of a service's or volume's name. A host label has 63, and needs room for the preview's name."""


def name_problem(name: str) -> str:
    """What is wrong with the name of a service; empty if nothing is."""
    if name == "localhost" or len(name) > MAX_NAME or not _NAME.fullmatch(name):
        return (
            "should have a name of lower-case letters, digits and single dashes, of at most"
            f" {MAX_NAME} characters, such as `worker`"
        )
    return ""


def _service_name(value: str) -> str:
    if name_problem(value):
        raise InvalidValue('should be a name of a service such as "app"')
    return value


def _image(value: str) -> str:
    if value and not is_reference(value):
        raise InvalidValue(
            'should be an image such as "postgres:16"; for a command of the application\'s own image, write'
            " `{command: ...}`"
        )
    return value


def _enough_memory(size: int | None) -> int | None:
    if size is not None and size < MIN_MEMORY:
        raise ValueError('should be "6m" at least, which is Docker\'s minimum')
    return size


def _folder(value: str) -> str:
    if not value.startswith("/") or ".." in value.split("/") or ":" in value or not value.isprintable():
        raise InvalidValue('should be an absolute path such as "/tmp"')
    return posixpath.normpath(value)


def read_mount(value: str) -> Mount:
    """Parse a mount: `NAME:/path`, `./file:/path` or `/path`, with `:ro` for a read-only one.

    Raises:
        InvalidValue, ValueError: it has another form, or leads out of the repository.
    """
    source, target, is_read_only = _parts(value)
    if not target.startswith("/") or ".." in target.split("/") or target == "/" or not value.isprintable():
        raise InvalidValue('should be "NAME:/path", "./file:/path" or "/path", with an absolute path inside')
    target = posixpath.normpath(target)
    if not source:
        return Mount(target, is_read_only=is_read_only)
    if _VOLUME.fullmatch(source) and len(source) <= MAX_NAME:
        return Mount(target, volume=source, is_read_only=is_read_only)
    return Mount(target, content=_content(source), is_read_only=is_read_only)


def _parts(value: str) -> tuple[str, str, bool]:
    parts = value.split(":")
    is_read_only = len(parts) > 1 and parts[-1] in ("ro", "rw")
    if is_read_only:
        *parts, mode = parts
        is_read_only = mode == "ro"
    if len(parts) > 2:
        raise InvalidValue('should be "NAME:/path", with ":ro" at most behind it')
    return ("", parts[0], is_read_only) if len(parts) == 1 else (parts[0], parts[1], is_read_only)


def _content(source: str) -> str:
    if source.startswith(("/", "~")):
        raise ValueError(
            f"mounts {source} of this machine, which isn't supported; write a named volume, such as"
            " `data:/path`, or a file of the repository, such as `./file:/path`"
        )
    path = posixpath.normpath(source)
    if path.startswith("..") or "\\" in path:
        raise ValueError(f"mounts {source}, which leads out of the repository; write a path within it")
    return path


def _mount(value: str) -> str:
    read_mount(value)
    return value


ConditionName = Literal["started", "healthy", "completed", "ready"]


def _as_conditions(value: Any) -> Any:
    """Turn a name or a list of names into a mapping."""
    if isinstance(value, str):
        value = [value] if value else []
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return dict.fromkeys(value, "ready")
    return value


class Health(Section):
    """When a service counts as healthy: a request, a connection, or a command. A text is the `path`, a number
    the `port`, a list the `command`; `none` switches off the image's own check, too."""

    unknown_key_hint: ClassVar = "a check is a path, a port or a command"
    misplaced: ClassVar = {
        "test": "is called `command`; write `command: [pg_isready]`",
        "retries": "isn't supported; a service is checked until `start_timeout`",
        "start_period": "is called `start_timeout`; write `start_timeout: 1m`",
        "start_interval": "is called `interval`; write `interval: 1s`",
        "disable": "is written `health: none`",
    }
    form: ClassVar = "{path: /up}"

    path: Annotated[UrlPath | None, Form("path")] = None
    """Path of a request to the port in `routed`, healthy with status 2xx or 3xx."""

    port: Annotated[PortNumber | None, Field(examples=["5432"])] = None
    """Port that must accept a TCP connection."""

    command: Words = ()
    """Command inside the instance that must exit with 0. If empty, there is none."""

    disabled: bool = False
    """Whether there is no check, not even the image's; `health: none` is short for it."""

    interval: Annotated[Duration, POSITIVE] = 1.0
    """Time between two tries."""

    timeout: Annotated[Duration, POSITIVE] = 10.0
    """Time for one try."""

    start_timeout: Annotated[Annotated[Duration, POSITIVE] | None, Form("duration")] = None
    """Time until the service must be healthy. If absent, the application's `start_timeout`."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [key for key in ("path", "port", "command") if getattr(self, key)]
        if len(given) > 1:
            refuse(((given[1],), f"conflicts with `{given[0]}`; remove one of them"))
        if given and self.disabled:
            refuse(((given[0],), "conflicts with `disabled`; remove one of them"))
        return self

    @property
    def check(self) -> ServiceCheck | None:
        """The check as a domain value; None if only its times are given, or nothing."""
        if not (self.path or self.port or self.command or self.disabled):
            return None
        return ServiceCheck(
            path=self.path or "",
            port=self.port,
            command=self.command,
            is_disabled=self.disabled,
            interval=self.interval,
            timeout=self.timeout,
            start_timeout=self.start_timeout,
        )


def _as_health(value: Any) -> Any:
    if value == "none":
        return {"disabled": True}
    if isinstance(value, list):
        return {"command": value}
    if isinstance(value, int) and not isinstance(value, bool):
        return {"port": value}
    if isinstance(value, str) and value.startswith("/"):
        return {"path": value}
    if isinstance(value, str | bool):
        raise InvalidValue(
            'should be a path such as "/up", a port, or "none"; for a command, write `{command: ...}`'
        )
    return value


OptionalHealth = Annotated[
    Health | None,
    BeforeValidator(_as_health, json_schema_input_type=Health | str | int | list[str] | None),
]


class RepositoryService(Section):
    """A service. A text is the `image`, or an entry of the [catalogue](services.md#catalogue):
    `database: postgres:16`. Without `image` and `build`, it runs the application's own image with another
    command, such as a worker."""

    unknown_key_hint: ClassVar = "an environment variable goes under `env`"
    misplaced: ClassVar = FOREIGN_SERVICE_KEYS
    form: ClassVar = "postgres:16"

    image: Annotated[
        str, AfterValidator(_image), Form("image reference"), Field(examples=["postgres:16"])
    ] = ""
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

    volumes: Annotated[
        tuple[Annotated[str, AfterValidator(_mount)], ...], Field(examples=["[data:/data]"])
    ] = ()
    """Mounts: `NAME:/path` is a volume of the preview, `./file:/path` a copy of a file or folder of the
    commit, `/path` a volume of the instance alone; `:ro` at the end makes it read-only."""

    tmpfs: Annotated[
        tuple[Annotated[str, AfterValidator(_folder)], ...], ONE_OR_MANY, Field(examples=["[/tmp]"])
    ] = ()
    """Folders that are kept in memory."""

    memory: Annotated[Size | None, AfterValidator(_enough_memory), Form("size")] = None
    """Memory limit, at least `6m`. If absent, an equal share of what the other services leave of the
    application's `memory`."""

    cpus: Annotated[float | None, Field(ge=0.01, allow_inf_nan=False, examples=["0.5"]), NOT_BOOLEAN] = None
    """CPU limit in cores. If absent, a share as with `memory`."""

    user: str = ""
    """User that it runs as, such as `node` or `1000:1000`. If empty, the image's."""

    working_dir: Annotated[str, AfterValidator(lambda path: _folder(path) if path else ""), Form("path")] = ""
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


def needs_code(data: Mapping[str, Any]) -> bool:
    """Whether the services of an application, as written, are built or declared in its repository."""
    services = data.get("services")
    entries = services.values() if isinstance(services, dict) else ()
    return bool(data.get("compose")) or any(isinstance(each, dict) and each.get("build") for each in entries)


def read_compose(value: object) -> bool | str:
    """Parse `compose`: `true`, `false`, or a path within the repository.

    Raises:
        InvalidValue: it is something else.
    """
    if isinstance(value, bool) or not value:
        return bool(value)
    if not isinstance(value, str):
        raise InvalidValue('should be true, or a path within the repository such as "compose.yaml"')
    return within_repository(value)


@dataclass(frozen=True, slots=True)
class ConfiguredServices:
    """The validation context of a repository file.

    Args:
        names: of the services that the configuration declares.
    """

    names: frozenset[str] = frozenset()


OF_THE_APPLICATION: Mapping[str, str] = {
    **dict.fromkeys(("build", "command", "env", "stop_grace_period"), "{key}"),
    "routed": "port",
    "health": "health_path",
    "image": "image",
}
"""Keys that the application itself has for its main service, by those of a service."""
NOT_OF_THE_MAIN = ("job", "profiles")


class ServiceKeys(Section):
    """The keys about services that applications and repository files have."""

    compose: Annotated[
        bool | str,
        PlainValidator(read_compose, json_schema_input_type=bool | str),
        Form("`true`, `false` or path"),
    ] = False
    """Take the services from the Compose file of the commit: `true` for `compose.yaml` or
    `docker-compose.yml` at the root, or a path. It takes the place of `services`."""

    web: str = ""
    """Name of the main service, which answers at the preview's own host. If empty, `web`; with `compose`, the
    only service with ports once databases and tools are left out."""

    volumes: Annotated[dict[str, Literal["keep", "fresh"]], Field(examples=["{uploads: fresh}"])] = Field(
        default_factory=dict
    )
    """How long named volumes live, by name: `keep`: for the preview's life, the default; `fresh`: empty at
    each push."""

    profiles: Annotated[tuple[str, ...], ONE_OR_MANY] = ()
    """Active profiles: services with one of them run, too."""

    @abstractmethod
    def entries(self) -> Mapping[str, RepositoryService]:
        """The services by name."""

    @field_validator("web")
    @classmethod
    def _main_name(cls, name: str) -> str:
        return _service_name(name) if name else name

    @model_validator(mode="after")
    def _services_fit_together(self, info: ValidationInfo) -> Self:
        configured = info.context if isinstance(info.context, ConfiguredServices) else ConfiguredServices()
        found = [*self._wrong_entries(), *self._wrong_keys()]
        found = found or [*self._wrong_dependencies(configured.names)]
        if found:
            refuse(*found)
        return self

    @property
    def main(self) -> str:
        return self.web or MAIN_SERVICE

    def _wrong_keys(self) -> Iterator[tuple[Path, str]]:
        entries = self.entries()
        if self.compose and entries:
            yield ("compose",), "conflicts with `services`; remove one of them"
        if len(entries) > MAX_SERVICES:
            yield ("services",), f"has {len(entries)} services; {MAX_SERVICES} are allowed"
        used = {read_mount(each).volume for entry in entries.values() for each in entry.volumes}
        used |= {f"{name}-data" for name, entry in entries.items() if catalogue.find(entry.image)}
        unused = () if self.compose else sorted(self.volumes.keys() - used)
        for name in unused[:MAX_SERVICES]:
            hint = (
                did_you_mean(name, used) if len(used) <= MAX_SERVICES else ""
            ) or "mount it under a service, such as `volumes: [data:/data]`"
            yield ("volumes", name), f"isn't mounted by any service; {hint}"

    def _wrong_entries(self) -> Iterator[tuple[Path, str]]:
        for name, entry in self.entries().items():
            problem = name_problem(name)
            if problem:
                yield ("services", name), problem
            elif name == self.main:
                yield from _wrong_for_main(name, entry)
            elif entry.own_image and not (entry.command or entry.entrypoint):
                yield (
                    ("services", name),
                    "should have an image, a build or a command; write `{image: postgres:16}`,"
                    " `{build: FOLDER}` or `{command: bin/worker}`",
                )

    def _wrong_dependencies(self, configured: frozenset[str]) -> Iterator[tuple[Path, str]]:
        specs = tuple(self._specs())
        names = {self.main, *configured, *(spec.name for spec in specs)}
        for problem in islice(dependency_problems(specs, names), MAX_PROBLEMS):
            yield ("services", problem.service, "depends_on"), problem.message

    def _specs(self) -> Iterator[ServiceSpec]:
        entries = self.entries()
        jobs = {name for name, entry in entries.items() if entry.job}
        for name, entry in entries.items():
            conditions = {
                on: Condition(given if given != "ready" else "completed" if on in jobs else "healthy")
                for on, given in (entry.depends_on or {}).items()
            }
            yield entry.spec(name, conditions)

    @property
    def declared(self) -> StackDeclaration:
        """What this file declares about services, as a domain value."""
        return StackDeclaration(
            services=tuple(self._specs()),
            compose=None if not self.compose else USUAL_NAMES if self.compose is True else self.compose,
            main=self.web,
            volumes={name: VolumePolicy(policy) for name, policy in self.volumes.items()},
            profiles=frozenset(self.profiles),
            ordered=frozenset(name for name, entry in self.entries().items() if entry.depends_on is not None),
        )


def _wrong_for_main(name: str, entry: RepositoryService) -> Iterator[tuple[Path, str]]:
    for key in sorted(entry.model_fields_set):
        if key in OF_THE_APPLICATION:
            there = OF_THE_APPLICATION[key].format(key=key)
            yield (
                ("services", name, key),
                f'belongs to the application itself, which is the service "{name}"; write `{there}` beside'
                " `services`, or give this service another name",
            )
        elif key in NOT_OF_THE_MAIN:
            yield ("services", name, key), f'isn\'t possible for the main service, "{name}"'


class Services(Task):
    """An application's database, workers and jobs, in containers beside it. Also in the
    [repository file](repository-file.md). [Services](services.md) describes their start, their variables and
    their volumes."""

    title: ClassVar = "Services"
    nested: ClassVar[tuple[str, ...]] = (
        "services.NAME",
        "services.NAME.build",
        "services.NAME.health",
    )
    example: ClassVar = """\
images:
  shop:
    build: .
    port: 8000
    memory: 1g
    services:
      database: postgres:16                        # an entry of the catalogue
      cache: redis:7
      mail: maildev                                # its page has a host of its own
      migrate: {command: python manage.py migrate, job: true}
      worker: {command: celery -A shop worker}     # the application's own image
      search:
        image: elasticsearch:8.15.0
        env: {discovery.type: single-node}
        health: 9200
        volumes: [search-data:/usr/share/elasticsearch/data]
        memory: 512m
      admin: {build: {context: admin}, routed: 3001, health: {path: /up}}
      beat: {command: celery -A shop beat, profiles: cron}
      web:                                         # the application itself
        volumes: [uploads:/app/uploads]
    volumes: {search-data: fresh}
    profiles: []                                   # or [cron]
"""
