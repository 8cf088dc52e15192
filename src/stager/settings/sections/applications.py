"""The entries under `images:`: the applications that previews are made of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from stager.domain.application import LOCAL_OWNER, Application
from stager.domain.catalogue import OFFICIAL
from stager.domain.identity.access_policy import Privacy
from stager.domain.names import did_you_mean, slugify
from stager.settings.loading.refusals import InvalidValue, Path, refuse
from stager.settings.sections.access import Private
from stager.settings.sections.builds import (
    HookCommands,
    OptionalBuild,
    ServerHookCommands,
    nameable,
    required_port,
)
from stager.settings.sections.create_params import (
    HOST_CONFIG,
    check_allowed,
    check_host_config,
    check_parameters,
)
from stager.settings.sections.data import Data
from stager.settings.sections.defaults import Defaults
from stager.settings.sections.foreign_keys import FOREIGN_KEYS
from stager.settings.sections.forks import check_application_forks
from stager.settings.sections.pull_requests import PullRequests
from stager.settings.sections.services.keys import ServiceKeys, needs_code
from stager.settings.sections.services.service import RepositoryService, Service, as_service
from stager.settings.sections.services.values import read_mount
from stager.settings.values.scalars import (
    POSITIVE,
    Duration,
    Form,
    ImagePattern,
    ImageReference,
    PortNumber,
    UrlPath,
    Words,
    is_reference,
)
from stager.settings.values.secret import Secret

RepositoryKey = Literal[
    "port", "command", "health_path", "env", "build", "hooks",
    "pictures", "services", "compose", "web", "volumes", "profiles",
]  # fmt: skip


_URL = re.compile(r"(?:[a-z+]+://(?:[^/@]*@)?[^/]+/|git@[^:/]+:)(.+?)(?:\.git)?/?", re.ASCII)
"""The address of a repository, as a browser or git shows it."""


NEEDS_BUILD = "needs the repository's code; replace `image` of the application with `build: .`"


def _full_name(value: str) -> str:
    if not value or re.fullmatch(r"[\w.-]+/[\w.-]+", value, re.ASCII):
        return value
    address = _URL.fullmatch(value)
    if address and re.fullmatch(r"[\w.-]+/[\w.-]+", address[1], re.ASCII):
        raise ValueError(f"should be a name without address; write `repo: {address[1]}`")
    raise InvalidValue('should be a repository such as "acme/shop"')


def _owner(value: str) -> str:
    """Refuse a repository's name, with which no owner would match."""
    if "/" not in value:
        return value
    address = _URL.fullmatch(value)
    name = address[1] if address else value.strip("/")
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name, re.ASCII):
        raise ValueError(f"is the owner alone; write `repo: {name}` instead")
    raise InvalidValue('should be an owner such as "acme"')


class App(ServiceKeys, Defaults):
    """One application. Its key is the `image_name` of a launch and the name of its GitHub repository."""

    unknown_key_hint: ClassVar = "an environment variable goes under `env`"
    misplaced: ClassVar = FOREIGN_KEYS
    form: ClassVar = "{port: 3000}"

    port: Annotated[PortNumber | None, Field(examples=["3000"])] = None
    """Port that the application listens on inside the container. Required without `build`; with it, the
    Dockerfile's `EXPOSE` is the default."""

    command: Words = ()
    """Command to run instead of the image's `CMD`, as text in shell syntax or as a list. An `ENTRYPOINT`
    precedes it. If empty, the image's own."""

    image: ImagePattern = ""
    """Docker image. If empty, the entry's name. `{sha}` is replaced with the commit, for an image that is
    built elsewhere; Stager waits for it."""

    image_timeout: Annotated[Duration, POSITIVE] = 1_800.0
    """Time to wait for an image with `{sha}` in its name."""

    image_name: ImageReference = ""
    """The first Stager's name for `image`."""

    build: OptionalBuild = None
    """Build the image from the commit: `auto`, a folder of the repository, or a mapping."""

    env: dict[str, Secret] = Field(default_factory=dict, examples=["{RAILS_ENV: staging}"])
    """Environment variables of each instance. Values that refer to a variable or a file, such as `${TOKEN}`
    or `file:token`, count as `secrets`."""

    secrets: dict[str, Secret] = Field(default_factory=dict, examples=['{STRIPE_KEY: "${STRIPE_KEY}"}'])
    """Environment variables that code from forks doesn't get."""

    health_path: Annotated[UrlPath | None, Form("path")] = None
    """Path of the health check, healthy with status 2xx or 3xx. If absent, `/` is requested, and any status
    below 500 is healthy."""

    hooks: HookCommands = HookCommands()
    """Commands that run inside an instance."""

    server_hooks: ServerHookCommands = ServerHookCommands()
    """Commands that run on the server, such as to create a database for each preview."""

    services: dict[
        str, Annotated[Service, BeforeValidator(as_service, json_schema_input_type=Service | str)]
    ] = Field(default_factory=dict, examples=["{database: postgres:16}"])
    """Services beside the application, by name: databases, workers, jobs. See [Services](services.md)."""

    repo: Annotated[str, AfterValidator(_full_name), Form("owner/name")] = ""
    """GitHub repository as `owner/name`. One repository belongs to one application."""

    repo_owner: Annotated[str, AfterValidator(_owner)] = ""
    """Owner of the GitHub repository, where its name is the entry's; `repo` replaces it. If both are empty,
    the application is bound to the first repository of this name that sends a signed delivery, regardless of
    its owner, until one of them is set."""

    pull_requests: PullRequests = PullRequests()
    """Which pull requests get a preview; see [Pull requests](#pull-requests)."""

    data: Data = Data()
    """How snapshots of its volumes are made, and who may; see [Data of previews](#data-of-previews)."""

    forks: Annotated[Literal["off", "approve", "open"], BeforeValidator(check_application_forks)] = "approve"
    """Whether pull requests from forks get a preview: `off`: never; `approve`: after a user with push
    access has approved the commit; `open`: always."""

    repository_file: Annotated[str, Form("path")] = ".stager.yml"
    """Path of the [repository file](repository-file.md), for applications with `build`. The endings `.yml`
    and `.yaml` are interchangeable. If empty, no file is read."""

    repository_file_keys: tuple[RepositoryKey, ...] = get_args(RepositoryKey)
    """Keys that the repository file may have; others are rejected."""

    allow_create_params: tuple[str, ...] = ()
    """Create parameters that weaken the container's isolation and are allowed nevertheless, such as
    `Binds`."""

    container_create_params: dict[str, Any] = Field(default_factory=dict)
    """Additional parameters of Docker's container create call, such as `Tty` or `HostConfig`."""

    container_start_params: dict[str, Any] = Field(default_factory=dict)
    """The first Stager's key for `container_create_params.HostConfig`, which it overrides."""

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
    def _allowed_create_params(cls, parameters: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        check_parameters(parameters, info.data.get("allow_create_params", ()))
        return parameters

    @field_validator("container_start_params")
    @classmethod
    def _allowed_start_params(cls, parameters: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        check_host_config(parameters, info.data.get("allow_create_params", ()))
        return parameters

    @property
    def parameters(self) -> dict[str, Any]:
        """The additional parameters of the create call, `container_start_params` merged in."""
        if not self.container_start_params:
            return self.container_create_params
        host = self.container_create_params.get(HOST_CONFIG, {})
        return {**self.container_create_params, HOST_CONFIG: {**host, **self.container_start_params}}

    @model_validator(mode="before")
    @classmethod
    def _build_without_value(cls, data: Any) -> Any:
        """`build:` without a value means to build with the defaults, and so do services of the repository's
        code without `image`."""
        if not isinstance(data, dict) or data.get("build") is not None:
            return data
        is_implied = "build" in data or (
            not (data.get("image") or data.get("image_name")) and needs_code(data)
        )
        return {**data, "build": {}} if is_implied else data

    @model_validator(mode="after")
    def _has_port(self) -> Self:
        required_port(self.port, self.build)
        return self

    @model_validator(mode="before")
    @classmethod
    def _one_key_for_image(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("image") and data.get("image_name"):
            refuse((("image_name",), "is the first Stager's name for `image`; remove one of them"))
        return data

    @model_validator(mode="after")
    def _one_source_of_the_image(self) -> Self:
        named = next((key for key in ("image", "image_name") if getattr(self, key)), "")
        if self.build and named:
            refuse(((named,), "has no effect, because `build` makes the image; remove one of them"))
        return self

    def entries(self) -> Mapping[str, RepositoryService]:
        return self.services

    @model_validator(mode="after")
    def _code_for_the_services(self) -> Self:
        if self.build:
            return self
        found: list[tuple[Path, str]] = [(("compose",), NEEDS_BUILD)] if self.compose else []
        for name, entry in self.services.items():
            found += [(("services", name, "build"), NEEDS_BUILD)] if entry.build else []
            contents = (i for i, each in enumerate(entry.volumes) if read_mount(each).content)
            found += [(("services", name, "volumes", i), NEEDS_BUILD) for i in contents]
        if found:
            refuse(*found)
        return self

    @model_validator(mode="after")
    def _masked_services(self) -> Self:
        """A script for a service that doesn't exist would mask nothing. A commit may declare further ones."""
        known = {self.main, *self.services}
        unknown = [] if self.build else sorted(self.data.mask.keys() - known)
        if unknown:
            hint = did_you_mean(unknown[0], known) or "name one of `services`"
            refuse((("data", "mask", unknown[0]), f"isn't a service of this application; {hint}"))
        return self

    @model_validator(mode="after")
    def _one_owner(self) -> Self:
        owner = self.repo.partition("/")[0]
        if self.repo and self.repo_owner and owner.lower() != self.repo_owner.lower():
            refuse((("repo_owner",), f"conflicts with `repo`, whose owner is {owner}; remove `repo_owner`"))
        return self

    def named(self, key: str) -> Self:
        """Return this entry with the defaults that depend on its key."""
        owner = self.repo.partition("/")[0] or self.repo_owner
        return self.model_copy(update={"image": self.image or self.image_name or key, "repo_owner": owner})

    def application(
        self,
        name: str,
        *,
        is_local: bool = False,
        shares_builder: bool = False,
        fork_images: tuple[str, ...] = (OFFICIAL,),
        confines_forks: bool = True,
    ) -> Application:
        """Return the application that this entry describes. A setting becomes the field of the same name,
        unless `_converted` has it.

        Args:
            name: the entry's key.
            is_local: whether its repository is one of `local_forge`.
            shares_builder: see `Application.shares_builder`.
            fork_images: `forks.images`. Images of services in the configuration are allowed as well.
            confines_forks: whether the engine can confine code from forks; otherwise they get no preview.
        """
        same = {each.name for each in fields(Application)} & type(self).model_fields.keys()
        given: dict[str, Any] = {key: getattr(self, key) for key in same}
        converted = self._converted(is_local=is_local)
        converted |= {} if confines_forks else {"forks": "off"}
        images = (*fork_images, *(entry.image for entry in self.services.values() if entry.image))
        return Application(
            **{**given, **converted, "name": name, "shares_builder": shares_builder, "fork_images": images}
        )

    def _converted(self, *, is_local: bool) -> dict[str, Any]:
        """The fields of an application that aren't the setting of the same name."""
        build = self.build
        return {
            "limits": self.limits,
            "egress": self.outbound,
            "owner": LOCAL_OWNER if is_local else self.repo_owner,
            "repository": self.repo.partition("/")[2],
            "variables": {key: value.reveal() for key, value in self.env.items() if not value.is_reference},
            "secrets": self._secrets(),
            "parameters": self.parameters,
            "build": build.recipe if build else None,
            "build_timeout": build.timeout if build else 0.0,
            "hooks": self.hooks.hooks,
            "server_hooks": self.server_hooks.hooks,
            "repository_file_keys": frozenset(self.repository_file_keys),
            "rules": self.pull_requests.rules,
            "privacy": self.private.privacy if self.private else None,
            "privacy_of_data": self._privacy_of_data,
            "data": self.data.rules,
            "declared": self.declared,
            "service_secrets": {
                name: secrets for name, entry in self.services.items() if (secrets := entry.secrets())
            },
        }

    @property
    def _privacy_of_data(self) -> Privacy | None:
        """With cloned data, previews are public only if `private` says so."""
        if "private" in self.model_fields_set:
            return self.private.privacy if self.private else None
        return Private().privacy

    def _secrets(self) -> dict[str, str]:
        """`secrets`, and the entries of `env` that refer to a variable or a file."""
        references = {key: value for key, value in self.env.items() if value.is_reference}
        return {key: value.reveal() for key, value in (references | self.secrets).items()}


def check_names(images: Mapping[str, App]) -> None:
    """Refuse all invalid names of applications and repositories at once."""
    found = [*_invalid_names(images), *_shared_repositories(images)]
    if found:
        refuse(*found)


def _shared_repositories(images: Mapping[str, App]) -> Iterator[tuple[Path, str]]:
    first: dict[str, str] = {}
    for key, app in images.items():
        full_name = (app.repo or (f"{app.repo_owner}/{key}" if app.repo_owner else "")).lower()
        if full_name and first.setdefault(full_name, key) != key:
            yield (
                (key, "repo" if app.repo else "repo_owner"),
                f"is the repository of `images.{first[full_name]}` already; a repository belongs to one"
                " application",
            )


def _invalid_names(images: Mapping[str, App]) -> Iterator[tuple[Path, str]]:
    for key, app in images.items():
        example = slugify(key) or "shop"
        if not re.fullmatch(r"[!-~]+", key):
            yield (key,), f"should have a name of ASCII characters without spaces, such as `{example}`"
        elif not (app.image or app.image_name or is_reference(key)):
            repository = f", with the repository as `repo: owner/{key}`" if app.build else ", or add `image`"
            yield (key,), f"should be lower-case, such as `{example}`{repository}"
