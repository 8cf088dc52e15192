"""The keys about services that applications and repository files have."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainValidator, ValidationInfo, field_validator, model_validator

from stager.domain import catalogue
from stager.domain.names import did_you_mean
from stager.domain.service import MAIN_SERVICE, MAX_SERVICES, Condition, ServiceSpec, VolumePolicy
from stager.domain.stack import USUAL_NAMES, StackDeclaration, dependency_problems
from stager.settings.loading.refusals import InvalidValue, Path, refuse
from stager.settings.sections.builds import within_repository
from stager.settings.sections.services.service import RepositoryService
from stager.settings.sections.services.values import name_problem, read_mount
from stager.settings.values.scalars import ONE_OR_MANY, Form
from stager.settings.values.section import Section

MAX_PROBLEMS = 100
"""Problems with `depends_on` that are reported: finding a similar name takes time."""


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

    volumes: Annotated[dict[str, Literal["keep", "fresh", "clone"]], Field(examples=["{uploads: fresh}"])] = (
        Field(default_factory=dict)
    )
    """How long named volumes live, by name: `keep`: for the preview's life, the default; `fresh`: empty at
    each push; `clone`: at each push a copy of the application's current snapshot."""

    profiles: Annotated[tuple[str, ...], ONE_OR_MANY] = ()
    """Active profiles: services with one of them run, too."""

    @abstractmethod
    def entries(self) -> Mapping[str, RepositoryService]:
        """The services by name."""

    @field_validator("web")
    @classmethod
    def _main_name(cls, name: str) -> str:
        if name and name_problem(name):
            raise InvalidValue('should be a name of a service such as "app"')
        return name

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
