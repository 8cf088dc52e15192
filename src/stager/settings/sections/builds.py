"""How images are built from repositories, and which commands run inside an instance."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    Strict,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_serializer,
    model_validator,
)

from stager.domain.external import ServerHooks
from stager.domain.recipe import Hook, Hooks, Recipe
from stager.settings.loading.context import FolderPath
from stager.settings.loading.refusals import InvalidValue, refuse
from stager.settings.values.scalars import (
    NOT_BOOLEAN,
    POSITIVE,
    Duration,
    Form,
    Size,
    Words,
    one_or_many,
    read_words,
)
from stager.settings.values.secret import Secret
from stager.settings.values.section import Section, Task

Value = TypeVar("Value")


def within_repository(value: str) -> str:
    """Normalise a path within the repository.

    Raises:
        InvalidValue: it leads out of it, or is empty.
    """
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or not value or not value.isprintable():
        raise InvalidValue('should be a path within the repository such as "web"')
    return str(path)


InsidePath = Annotated[str, AfterValidator(within_repository), Form("path")]


def _relative(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or not value or not value.isprintable() or path.name in ("", ".."):
        raise InvalidValue('should be a path within the repository such as "Dockerfile"')
    return str(path)


RelativePath = Annotated[str, AfterValidator(_relative), Form("path")]
"""One that may begin with `..`: the folder that it is relative to is known at build time only."""


def _runnable(command: tuple[str, ...]) -> tuple[str, ...]:
    if not command or not command[0]:
        raise InvalidValue("should be a command with a program")
    return command


def _runnable_if_any(command: tuple[str, ...]) -> tuple[str, ...]:
    return _runnable(command) if command else command


Command = Annotated[Words, AfterValidator(_runnable)]


class HookCommand(Section):
    """A command that runs inside an instance of a service. A text or a list is the `command` in the main
    service."""

    unknown_key_hint: ClassVar = "a hook has `service` and `command`"
    form: ClassVar = "{service: worker, command: bin/warm}"

    service: str = ""
    """Name of the service; if empty, the main one."""

    command: Command
    """Command to run, as text in shell syntax or as a list."""

    @model_serializer
    def _short(self) -> dict[str, Any] | list[str]:
        command = list(self.command)
        return {"service": self.service, "command": command} if self.service else command


def _as_hook(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Read the short form of a hook, its command. Problems with it have the path of the hook."""
    if isinstance(value, dict | HookCommand):
        return validate(value)
    return HookCommand.model_construct(service="", command=_runnable(read_words(value)))


def _one_or_many_hooks(value: Any) -> Any:
    return [value] if isinstance(value, dict) else one_or_many(value)


HookList = Annotated[
    tuple[
        Annotated[
            HookCommand,
            WrapValidator(_as_hook, json_schema_input_type=HookCommand | str | list[str]),
            Form("command or mapping"),
        ],
        ...,
    ],
    BeforeValidator(
        _one_or_many_hooks,
        json_schema_input_type=HookCommand | str | list[HookCommand | str | list[str]],
    ),
]


def _as_written(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def nameable(variables: dict[str, Value]) -> dict[str, Value]:
    """Refuse all invalid names of environment variables at once."""
    wrong = [name for name in variables if not name or "=" in name or "\0" in name]
    if wrong:
        refuse(*(((name,), "isn't a valid name of a variable") for name in wrong))
    return variables


Variables = Annotated[
    dict[str, Annotated[str, BeforeValidator(_as_written, json_schema_input_type=str | float | bool)]],
    AfterValidator(nameable),
]


AUTO = "auto"


def as_build(data: Any) -> Any:
    """Turn the short forms of `build` into a mapping: `auto`, or the context."""
    if isinstance(data, str):
        return {"auto": True} if data == AUTO else {"context": data}
    return data


class RepositoryBuild(Section):
    """How the image is built, in the repository file."""

    auto: Annotated[bool, Strict()] = False
    """Where the context has no Dockerfile, use one of its folders', or else generate one for the
    [detected framework](../how-to/start-without-a-dockerfile.md). `build: auto` is short for it."""

    context: InsidePath = "."
    """Build context: a folder of the repository, relative to its root."""

    dockerfile: RelativePath = "Dockerfile"
    """Path of the Dockerfile, relative to `context`. It may be outside of the context, such as
    `../docker/web.Dockerfile`, but not outside of the repository."""

    target: str = ""
    """Stage to build; if empty, the last one."""

    args: Variables = Field(default_factory=dict)
    """Values of the Dockerfile's `ARG` lines. They are readable in the image: use `secrets` for secrets.
    Arguments that BuildKit itself reads, proxies (`http_proxy` and the like) and `BUILDKIT_*`, are allowed in
    the configuration only."""

    @model_validator(mode="after")
    def _auto_without_dockerfile(self) -> Self:
        if self.auto and "dockerfile" in self.model_fields_set:
            refuse((("dockerfile",), "conflicts with `auto`, which finds the Dockerfile; remove one of them"))
        return self

    @model_validator(mode="after")
    def _dockerfile_within_the_repository(self) -> Self:
        # Where only the Dockerfile is given here, the context may be given elsewhere.
        is_known = "context" in self.model_fields_set or ".." not in self.dockerfile
        if is_known and posixpath.normpath(posixpath.join(self.context, self.dockerfile)).startswith(".."):
            refuse((("dockerfile",), "should be a path within the repository, and leads out of it"))
        return self


BUILDKIT_ARGUMENTS = re.compile(r"(http|https|ftp|no|all)_proxy|buildkit_.*", re.IGNORECASE | re.DOTALL)
"""Arguments that BuildKit takes without an `ARG` line (Dockerfile reference, "Predefined ARGs" and "BuildKit
built-in build args"). Proxies aren't part of the cache's key, so a build through a proxy of its choice fills
steps that every other build takes from the cache. `BUILDKIT_SYNTAX` replaces the frontend, and
`BUILDKIT_CACHE_MOUNT_NS` opens other builds' cache mounts."""


def without_buildkit_arguments(build: RepositoryBuild | None) -> RepositoryBuild | None:
    """Refuse all arguments that affect other builds at once."""
    wrong = [name for name in (build.args if build else ()) if BUILDKIT_ARGUMENTS.fullmatch(name)]
    if wrong:
        refuse(*((("args", name), "can't be given here, only in the configuration") for name in wrong))
    return build


class Build(RepositoryBuild):
    """How the image is built from the commit. A text is the `context`, or `auto`."""

    secrets: dict[str, Secret] = Field(default_factory=dict)
    """BuildKit secrets by their ids, for `RUN --mount=type=secret,id=...`. Code from forks doesn't get
    them."""

    timeout: Annotated[Duration, POSITIVE] = 1_800.0
    """Time limit of a build."""

    @property
    def recipe(self) -> Recipe:
        """The recipe as a domain value."""
        return Recipe(
            context=self.context,
            dockerfile=self.dockerfile,
            target=self.target,
            auto=self.auto,
            arguments=self.args,
            secrets={name: secret.reveal() for name, secret in self.secrets.items()},
        )


def _with_context(data: Any) -> Any:
    if isinstance(data, bool):
        return {} if data else None
    return as_build(data)


OptionalBuild = Annotated[
    Build | None, BeforeValidator(_with_context, json_schema_input_type=Build | str | bool | None)
]


class HookCommands(Section):
    """Commands that run inside an instance of the main service; `{service: NAME, command: ...}` is one in
    another service. A command runs again if Stager is killed while it runs."""

    after_launch: HookList = ()
    """Commands to run at each push, once their service is healthy: before services that wait for it start,
    and before the preview gets requests. Such as database migrations."""

    before_kill: HookList = ()
    """Commands to run before the preview is removed. One in a service that doesn't run is left out."""

    @property
    def hooks(self) -> Hooks:
        """The commands as a domain value."""
        return Hooks(_hooks(self.after_launch), _hooks(self.before_kill))


def _hooks(commands: tuple[HookCommand, ...]) -> tuple[Hook, ...]:
    return tuple(Hook(each.command, each.service) for each in commands)


class ServerHookCommands(Section):
    """Commands that run on the server, as Stager's user and without a shell, to create something outside of
    Stager for each preview; see [A database elsewhere](../how-to/external-database.md). The repository file
    can't have them."""

    before_launch: Annotated[Words, AfterValidator(_runnable_if_any)] = ()
    """Command to run once for each preview, before anything is built or started. It prints `{"variables":
    {...}, "secrets": {...}}`: environment variables of the services that run the repository's code."""

    before_kill: Annotated[Words, AfterValidator(_runnable_if_any)] = ()
    """Command to run once the preview is removed or killed. It is repeated until it exits with 0."""

    timeout: Annotated[Duration, POSITIVE] = 300.0
    """Time limit of each run."""

    folder: Annotated[FolderPath, Field(validate_default=True)] = Path()
    """Working directory, relative to the configuration's folder, where a program with a relative path such
    as `./database.sh` is."""

    forks: Literal["deny", "allow"] = "deny"
    """Whether the commands run for code from forks, which then gets the variables and secrets."""

    @property
    def hooks(self) -> ServerHooks:
        """The commands as a domain value."""
        return ServerHooks(
            self.before_launch, self.before_kill, self.timeout, self.forks == "allow", str(self.folder)
        )


def required_port(port: int | None, build: Build | None) -> None:
    """Refuse an application without a port, unless a Dockerfile may declare it."""
    if port is None and build is None:
        refuse((("port",), "is required"))


class Builds(Section):
    """The build queue, for all applications with `build`."""

    max_concurrent: Annotated[int, Field(ge=1), NOT_BOOLEAN] = 2
    """Maximum number of concurrent builds."""

    min_free_disk: Size = 2 << 30
    """Free space on Docker's disk that a build requires to start."""

    cache_size: Size | None = None
    """Maximum size of BuildKit's cache. If absent, the cache isn't pruned; other programs may use it too."""

    keep_revisions: Annotated[int, Field(ge=0), NOT_BOOLEAN] = 1
    """How many earlier revisions of each preview keep their images, for
    [`stager rollback`](../how-to/roll-back.md)."""

    cgroup_parent: str = ""
    """Control group for builds, if the engine's builder supports it; limits their memory and CPU time."""

    max_source_size: Annotated[Size, POSITIVE] = 1 << 30
    """Maximum size of a commit, fetched and checked out."""

    submodules: bool = True
    """Whether submodules are fetched, from the repository's own host; with `local_forge`, from the same
    folder."""

    fetch_timeout: Annotated[Duration, POSITIVE] = 300.0
    """Time limit for fetching a commit."""


class ImagesAndBuilds(Task):
    """An application's image is prebuilt, or Stager builds it from the commit (`build`)."""

    title: ClassVar = "Images and builds"
    nested: ClassVar[tuple[str, ...]] = ("", "build", "hooks", "hooks.after_launch", "server_hooks")
    example: ClassVar = """\
images:
  shop:                      # built from the commit
    repo_owner: acme
    build:
      context: web
      target: runtime
      args: {NODE_VERSION: "22"}
      secrets: {npm: "${NPM_TOKEN}"}
    port: 3000
    health_path: /up
    env: {RAILS_ENV: staging}
    hooks:
      after_launch: bin/migrate
    server_hooks:
      before_launch: ./database.sh create
      before_kill: ./database.sh drop
  docs:                      # built by CI and pushed to a registry
    image: registry.example.org/docs:{sha}
    port: 80
builds:
  max_concurrent: 4
  cache_size: 20g
"""

    builds: Builds = Builds()
    """The build queue."""
