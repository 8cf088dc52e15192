"""What a deployment was created from, as it was when it was prepared, and what changed between two of them.

Secrets are recorded by name only. A mark, which can't be reversed without the installation's key, tells
whether a value is another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from stager.domain.text import binary_size


class Source(StrEnum):
    """Where an environment variable comes from."""

    REPOSITORY = "repository"
    """A file of the commit, such as `.stager.yml` or the Compose file."""
    CONFIGURATION = "configuration"
    SERVICE = "service"
    """Another service of the preview provides it, such as `DATABASE_URL`."""
    HOOK = "hook"
    """The server hook `before_launch`."""
    HANDLER = "handler"
    LAUNCH = "launch"
    """A parameter of the launch."""
    STAGER = "stager"


@dataclass(frozen=True, slots=True)
class VariableRecord:
    """An environment variable of a service.

    Args:
        value: empty for a secret.
        mark: another one for another value.
    """

    name: str
    source: Source
    value: str = ""
    is_secret: bool = False
    mark: str = ""


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """A mount of a service.

    Args:
        name: of the volume; empty for one of the instance alone.
        content: the mounted file or folder of the commit; empty for a volume.
        policy: `keep`, `fresh` or `clone`; empty without a name.
    """

    target: str
    name: str = ""
    content: str = ""
    policy: str = ""
    is_read_only: bool = False

    def __str__(self) -> str:
        what = self.name or self.content or "a volume of its own"
        notes = ", ".join(filter(None, (self.policy, "read-only" if self.is_read_only else "")))
        return f"{what} at {self.target}" + (f" ({notes})" if notes else "")


@dataclass(frozen=True, slots=True)
class ServiceConfiguration:
    """The configuration of one service.

    Args:
        image: the reference of its image; empty if it was built from the commit.
        image_id: the engine's id of the image.
        dockerfile: the path of the Dockerfile, relative to the repository's root; empty unless it was built.
        target: the stage that was built; empty for the last one.
        build_arguments: with their values.
        build_secrets: their names.
        command: None for the image's own.
        entrypoint: as `command`.
        port: on which it listens; None if it isn't known or there is none.
        health_check: in words, such as `GET /health`.
        memory: bytes.
        depends_on: the names of services, each with what it waits for.
    """

    name: str
    is_main: bool = False
    is_job: bool = False
    image: str = ""
    image_id: str = ""
    dockerfile: str = ""
    target: str = ""
    build_arguments: Mapping[str, str] = field(default_factory=dict)
    build_secrets: tuple[str, ...] = ()
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    port: int | None = None
    health_check: str = ""
    memory: int = 0
    cpus: float = 0.0
    processes: int = 0
    depends_on: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[VolumeRecord, ...] = ()
    variables: tuple[VariableRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Configuration:
    """The configuration of a deployment.

    Args:
        egress: what it may connect to, in words.
        hooks: the commands that run after its launch, in words.
    """

    services: tuple[ServiceConfiguration, ...] = ()
    trust: str = ""
    egress: str = ""
    hooks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting that differs between two deployments.

    Args:
        service: empty for a setting of the whole preview.
        setting: such as `port`, or `variable DEBUG`.
        before: empty if it is new, and for a secret.
        after: empty if it was removed, and for a secret.
        words: what happened: `added`, `removed` or `changed`.
    """

    service: str
    setting: str
    before: str
    after: str
    words: str


def differences(before: Configuration, after: Configuration) -> tuple[Difference, ...]:
    """Return what changed, in the order of the newer configuration. Variables that Stager itself sets differ
    with each deployment, and aren't compared; nor are the ids of images that were built."""
    return tuple(_differences(before, after))


def _differences(before: Configuration, after: Configuration) -> Iterator[Difference]:
    for setting in ("trust", "egress"):
        yield from _one("", setting, getattr(before, setting), getattr(after, setting))
    yield from _one("", "hooks", "; ".join(before.hooks), "; ".join(after.hooks))
    old = {service.name: service for service in before.services}
    new = {service.name: service for service in after.services}
    for name in dict.fromkeys([*new, *old]):
        if name not in old or name not in new:
            words = "added" if name in new else "removed"
            yield Difference(name, "service", "", "", words)
        else:
            yield from _of_service(old[name], new[name])


def _of_service(before: ServiceConfiguration, after: ServiceConfiguration) -> Iterator[Difference]:
    old, new = settings_of(before), settings_of(after)
    for setting in dict.fromkeys([*new, *old]):
        yield from _one(after.name, setting, old.get(setting, ""), new.get(setting, ""))
    earlier, later = _compared(before), _compared(after)
    for name in dict.fromkeys([*later, *earlier]):
        yield from _of_variable(after.name, earlier.get(name), later.get(name))


def _one(service: str, setting: str, before: str, after: str) -> Iterator[Difference]:
    if before != after:
        words = "changed" if before and after else "added" if after else "removed"
        yield Difference(service, setting, before, after, words)


def _compared(service: ServiceConfiguration) -> dict[str, VariableRecord]:
    return {each.name: each for each in service.variables if each.source is not Source.STAGER}


def _of_variable(
    service: str, before: VariableRecord | None, after: VariableRecord | None
) -> Iterator[Difference]:
    one = after or before
    if one is None or (before and after and before.mark == after.mark):
        return
    old, new = before.value if before else "", after.value if after else ""
    words = "changed" if before and after else "added" if after else "removed"
    yield Difference(service, f"variable {one.name}", old, new, words)


def settings_of(service: ServiceConfiguration) -> dict[str, str]:
    """Return the settings of a service as text, without its variables and those that aren't set."""
    found = {
        "image": service.image,
        "Dockerfile": service.dockerfile,
        "build target": service.target,
        "build arguments": ", ".join(f"{name}={value}" for name, value in service.build_arguments.items()),
        "build secrets": ", ".join(service.build_secrets),
        "entrypoint": _words(service.entrypoint),
        "command": _words(service.command),
        "port": str(service.port or ""),
        "health check": service.health_check,
        "memory": binary_size(service.memory) if service.memory else "",
        "CPUs": f"{service.cpus:.3g}" if service.cpus else "",
        "processes": str(service.processes or ""),
        "depends on": ", ".join(f"{name} ({what})" for name, what in service.depends_on.items()),
        "volumes": ", ".join(map(str, service.volumes)),
    }
    return {name: value for name, value in found.items() if value}


def _words(command: tuple[str, ...] | None) -> str:
    if command is None:
        return ""
    return " ".join(command) or "none"
