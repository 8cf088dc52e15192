"""The entries under `images:`: the applications that previews are made of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from stager.domain.application import LOCAL_OWNER, Application
from stager.domain.egress import Egress, Reach
from stager.domain.profile import Limits
from stager.settings.loading.refusals import Path, Unfit, refuse
from stager.settings.sections.builds import HookCommands, OptionalBuild, PullRequests, nameable, required_port
from stager.settings.sections.confinement import (
    HOST_CONFIG,
    check_allowed,
    check_host_config,
    check_parameters,
)
from stager.settings.sections.forks import check_application_forks
from stager.settings.sections.privacy import OptionalPrivate
from stager.settings.values.network import OneDestination
from stager.settings.values.scalars import (
    NOT_TRUTH,
    POSITIVE,
    Duration,
    Form,
    ImagePattern,
    ImageReference,
    PortNumber,
    Size,
    UrlPath,
    Words,
    is_reference,
)
from stager.settings.values.secret import Secret
from stager.settings.values.section import Section

MIB = 1 << 20
RepositoryKey = Literal["port", "command", "health_path", "env", "build", "hooks"]
LEAST_MEMORY = 6 * MIB
"""Docker refuses to give a container less."""


class Tuning(Section):
    """Limits, patience and privacy, for all applications under `defaults` or for one under `images`."""

    start_timeout: Annotated[Duration, POSITIVE] = 300.0
    """How long an instance may take until it answers."""

    answer_timeout: Annotated[Duration, POSITIVE] = 10.0
    """How long one response may take while Stager checks whether an instance is ready, such as the first one
    of an application that compiles on demand."""

    stop_grace: Duration = 10.0
    """How long an instance may take to stop after it was asked to, before it is killed."""

    drain_timeout: Duration = 30.0
    """How long requests under way may go on after a refresh, before they are cut."""

    memory: Size = 512 * MIB
    """What an instance may use of memory."""

    cpus: Annotated[float, Field(ge=0.01, allow_inf_nan=False), NOT_TRUTH] = 1.0
    """What an instance may use of processor cores."""

    pids: Annotated[int, Field(ge=1), NOT_TRUTH] = 256
    """How many processes and threads an instance may have."""

    log_size: Annotated[Size, POSITIVE] = 10 * MIB
    """How much of its output is kept."""

    private: OptionalPrivate = None
    """Who may see previews, such as `sign-in`, or `password` with one, or a mapping. Anybody who knows the
    address, if it isn't given."""

    index: bool = False
    """Whether search engines may list previews. By default every response says `X-Robots-Tag: noindex`."""

    egress: Reach = "private"
    """Where previews may connect to, as the root helper guards them: `private`, to private networks and the
    internet; `internet`, to that alone; `none`, nowhere. Code from forks never reaches private networks."""

    egress_allow: Annotated[tuple[OneDestination, ...], Field(max_length=16)] = ()
    """What previews may reach besides, each as `host:port`: a service of this machine's, or a database in a
    private network. Names are looked up again every minute."""

    @field_validator("memory")
    @classmethod
    def _enough(cls, memory: int) -> int:
        if memory < LEAST_MEMORY:
            raise ValueError('should be "6m" at least, which is the least that Docker gives')
        return memory

    @property
    def outward(self) -> Egress:
        """Where previews may connect to."""
        return Egress(self.egress, self.egress_allow)

    @property
    def limits(self) -> Limits:
        """The limits as engines take them."""
        return Limits(self.memory, self.cpus, self.pids, self.log_size)

    def over(self, defaults: Tuning) -> Self:
        """These settings, with what isn't given here taken from `defaults`."""
        wanted = defaults.model_fields_set - self.model_fields_set
        return self.model_copy(update={name: getattr(defaults, name) for name in wanted})


def _full_name(value: str) -> str:
    if value and not re.fullmatch(r"[\w.-]+/[\w.-]+", value, re.ASCII):
        raise Unfit('should be a repository such as "acme/shop"')
    return value


class App(Tuning):
    """One application. Its key is the `image_name` of a launch, and with GitHub the repository's name."""

    stranger: ClassVar = "an environment variable goes under `env`"

    port: PortNumber | None = None
    """Where the application listens inside the instance. With `build` it may be left to the Dockerfile's
    `EXPOSE`."""

    command: Words = ()
    """What to run: text, split into words as a shell would, or a list. It takes the place of the image's
    `CMD`, so that an `ENTRYPOINT` comes before it. The image's own command if empty."""

    build: OptionalBuild = None
    """Has the image built from the change's commit: a folder of the repository, or a mapping."""

    image: ImagePattern = ""
    """The Docker image. The entry's own name if empty. `{sha}` in it is the change's commit, for an image
    that somebody else builds; it is waited for."""

    image_timeout: Annotated[Duration, POSITIVE] = 1_800.0
    """How long an image with `{sha}` in its name is waited for."""

    image_name: ImageReference = ""
    """The first Stager's word for `image`."""

    repo_owner: str = ""
    """Who owns the repository that is named like this entry. Without it, the first repository of this name
    that sends a signed delivery counts, whoever owns it, and no other one after that. To have another one
    count, set this."""

    repo: Annotated[str, AfterValidator(_full_name), Form("owner/name")] = ""
    """The GitHub repository, as `owner/name`, where it isn't named like this entry; in the place of
    `repo_owner`. A repository there has one application."""

    env: dict[str, Secret] = Field(default_factory=dict)
    """Environment variables of every instance. What only refers to a value, as `${TOKEN}` or `file:token`
    does, counts as one of the `secrets`."""

    secrets: dict[str, Secret] = Field(default_factory=dict)
    """Environment variables that code from forks doesn't get."""

    forks: Annotated[Literal["off", "approve", "open"], BeforeValidator(check_application_forks)] = "approve"
    """Whether pull requests from forks get a preview: never, once somebody with push access has approved the
    very commit, or always."""

    pull_requests: PullRequests = PullRequests()
    """Which pull requests get a preview."""

    hooks: HookCommands = HookCommands()
    """Commands that run inside an instance."""

    repository_file: Annotated[str, Form("path")] = ".stager.yml"
    """The repository's own file, for applications with `build`; `.yaml` will do for `.yml`, and the other way
    round. Nothing is read if empty."""

    repository_may: tuple[RepositoryKey, ...] = get_args(RepositoryKey)
    """What the repository's own file may say; the rest of it is refused. It never has more to say than this
    configuration: limits, mounts and privileges stand here alone."""

    health_path: Annotated[UrlPath | None, Form("path")] = None
    """What to ask an instance for to know that it works: 2xx or 3xx will do. If it isn't given, any answer
    of `/` below 500 will."""

    allow_create_params: tuple[str, ...] = ()
    """Names of create parameters that would let an instance out of its box and are nevertheless wanted,
    such as `Binds`."""

    container_create_params: dict[str, Any] = Field(default_factory=dict)
    """Further parameters of Docker's call to create a container, such as `Tty` or `HostConfig`."""

    container_start_params: dict[str, Any] = Field(default_factory=dict)
    """The first Stager's place for what stands in `container_create_params.HostConfig`; it wins over that."""

    @field_validator("env", "secrets")
    @classmethod
    def _nameable(cls, env: dict[str, Secret]) -> dict[str, Secret]:
        return nameable(env)

    @field_validator("allow_create_params")
    @classmethod
    def _worth_allowing(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        check_allowed(names)
        return names

    @field_validator("container_create_params")
    @classmethod
    def _confined(cls, parameters: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        check_parameters(parameters, info.data.get("allow_create_params", ()))
        return parameters

    @field_validator("container_start_params")
    @classmethod
    def _confined_as_well(cls, parameters: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        check_host_config(parameters, info.data.get("allow_create_params", ()))
        return parameters

    @property
    def parameters(self) -> dict[str, Any]:
        """What the engine's create call gets besides."""
        if not self.container_start_params:
            return self.container_create_params
        host = self.container_create_params.get(HOST_CONFIG, {})
        return {**self.container_create_params, HOST_CONFIG: {**host, **self.container_start_params}}

    @model_validator(mode="before")
    @classmethod
    def _build_without_more(cls, data: Any) -> Any:
        """`build:` with nothing behind it means: build it, as usual."""
        return {**data, "build": {}} if isinstance(data, dict) and data.get("build", "") is None else data

    @model_validator(mode="after")
    def _has_port(self) -> Self:
        required_port(self.port, self.build)
        return self

    @model_validator(mode="before")
    @classmethod
    def _one_word_for_image(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("image") and data.get("image_name"):
            refuse((("image_name",), "is the first Stager's word for `image`; give only one of them"))
        return data

    def application(self, name: str, *, is_local: bool = False, shares_builder: bool = False) -> Application:
        """The application that this entry describes.

        Args:
            name: the entry's key.
            is_local: whether its repository is one of `local_forge`.
            shares_builder: see `Application.shares_builder`.
        """
        build = self.build
        return Application(
            name=name,
            image=self.image,
            port=self.port,
            limits=self.limits,
            egress=self.outward,
            command=self.command,
            owner=LOCAL_OWNER if is_local else self.repo_owner,
            repository=self.repo.partition("/")[2],
            variables={key: value.reveal() for key, value in self.env.items() if not value.kept_elsewhere},
            secrets=self._secrets(),
            health_path=self.health_path,
            start_timeout=self.start_timeout,
            answer_timeout=self.answer_timeout,
            drain_timeout=self.drain_timeout,
            stop_grace=self.stop_grace,
            parameters=self.parameters,
            build=build.recipe if build else None,
            build_timeout=build.timeout if build else 0.0,
            image_timeout=self.image_timeout,
            hooks=self.hooks.hooks,
            repository_file=self.repository_file,
            repository_may=frozenset(self.repository_may),
            forks=self.forks,
            shares_builder=shares_builder,
            rules=self.pull_requests.rules,
            privacy=self.private.privacy if self.private else None,
            index=self.index,
        )

    def _secrets(self) -> dict[str, str]:
        """`secrets`, and the entries of `env` whose values come from a variable or a file."""
        referred = {key: value for key, value in self.env.items() if value.kept_elsewhere}
        return {key: value.reveal() for key, value in (referred | self.secrets).items()}

    def named(self, key: str) -> Self:
        """This entry with its image settled."""
        owner = self.repo.partition("/")[0] or self.repo_owner
        return self.model_copy(update={"image": self.image or self.image_name or key, "repo_owner": owner})

    @model_validator(mode="after")
    def _one_owner(self) -> Self:
        if self.repo and self.repo_owner:
            refuse((("repo_owner",), "is in `repo` already; give only one of them"))
        return self


def check_names(images: Mapping[str, App]) -> None:
    """Refuse, all at once, names of applications and repositories that can't be used."""
    found = [*_strange_names(images), *_shared_repositories(images)]
    if found:
        refuse(*found)


def _shared_repositories(images: Mapping[str, App]) -> Iterator[tuple[Path, str]]:
    first: dict[str, str] = {}
    for key, app in images.items():
        full_name = (app.repo or (f"{app.repo_owner}/{key}" if app.repo_owner else "")).lower()
        if full_name and first.setdefault(full_name, key) != key:
            place = "repo" if app.repo else "repo_owner"
            yield (key, place), f"leads to the repository of `images.{first[full_name]}`, which has it alone"


def _strange_names(images: Mapping[str, App]) -> Iterator[tuple[Path, str]]:
    for key, app in images.items():
        if not re.fullmatch(r"[!-~]+", key):
            yield (key,), "should have a name of ASCII characters without spaces"
        elif not (app.image or app.image_name or is_reference(key)):
            yield (key, "image"), "is required, because no Docker image can be called like this entry"
