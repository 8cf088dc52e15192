"""The services of an application: what each runs, how it is checked, what it stores, and what it waits for.

The fields are the common part of the Compose Specification
(https://github.com/compose-spec/compose-spec/blob/main/05-services.md), which `.stager.yml`, the
configuration and Compose files are read into.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from stager.domain.recipe import Recipe

MAIN_SERVICE = "web"
"""The name of the main service, unless a Compose file gives it another one."""

SETTLED_SECONDS = 2.0
"""Seconds that a service without a health check must run to be healthy."""


class Condition(StrEnum):
    """What a service waits for in another one."""

    STARTED = "started"
    HEALTHY = "healthy"
    COMPLETED = "completed"
    """It exited with 0."""


class VolumePolicy(StrEnum):
    """How long a volume lives. It is removed with its environment in any case."""

    KEEP = "keep"
    """For the environment's life."""
    FRESH = "fresh"
    """For one generation."""


@dataclass(frozen=True, slots=True)
class ServiceCheck:
    """A service's health check: a request, a connection, or a command. At most one of `path`, `port` and
    `command` is set.

    Args:
        path: path of a request to the service's port, which must answer 2xx or 3xx.
        port: port that must accept a TCP connection.
        command: command inside the instance that must exit with 0.
        is_disabled: whether there is no check, not even the image's.
        interval: seconds between two tries.
        timeout: seconds for one try.
        start_timeout: seconds until the service is given up; None for the application's.
    """

    path: str = ""
    port: int | None = None
    command: tuple[str, ...] = ()
    is_disabled: bool = False
    interval: float = 1.0
    timeout: float = 10.0
    start_timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount of a service. With neither `volume` nor `content`, it is a volume of the instance alone.

    Args:
        target: absolute path inside the instance.
        volume: a named volume of the environment.
        content: a file or folder of the commit, relative to the repository's root; the instance gets a copy.
    """

    target: str
    volume: str = ""
    content: str = ""
    is_read_only: bool = False


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service, as declared.

    Args:
        name: lower-case letters, digits and single dashes or underscores; under this name the other services
            of its generation reach it.
        image: reference of the image; empty if it is built.
        build: how the image is built from the commit; None for `image`. With neither, the service runs the
            image of the main service.
        command: split into words; None for the image's own, empty for no command.
        entrypoint: split into words; None for the image's own, empty for no entrypoint.
        variables: environment variables.
        port: the port that gets the requests for the service's host; None if it isn't routed.
        check: the health check; None for the image's own, or else that of `SETTLED_SECONDS`.
        depends_on: by the name of another service, what it must have reached before this one is started.
        is_job: whether it runs to its end, once in each generation.
        mounts: in the declared order.
        tmpfs: paths with an empty file system in memory.
        memory: bytes; None for a share of what the others leave of the application's limit.
        cpus: cores; None as for `memory`.
        aliases: further names under which it is reached.
        user: user and group that it runs as; empty for the image's.
        working_dir: empty for the image's.
        stop_grace_period: seconds between `stop_signal` and SIGKILL; None for the application's.
        shared_memory: bytes of /dev/shm; None for the engine's default.
    """

    name: str
    image: str = ""
    build: Recipe | None = None
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None
    check: ServiceCheck | None = None
    depends_on: Mapping[str, Condition] = field(default_factory=dict)
    is_job: bool = False
    mounts: tuple[Mount, ...] = ()
    tmpfs: tuple[str, ...] = ()
    memory: int | None = None
    cpus: float | None = None
    aliases: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""
    stop_grace_period: float | None = None
    shared_memory: int | None = None

    @property
    def is_built(self) -> bool:
        """Whether it runs code of the repository."""
        return not self.image

    @property
    def is_stateful(self) -> bool:
        """Whether its old instance must stop before the next one starts: an image from elsewhere, such as a
        database, that writes to a volume. The repository's own code may share its volumes."""
        return not self.is_built and any(mount.volume and not mount.is_read_only for mount in self.mounts)


@dataclass(frozen=True, slots=True)
class Stack:
    """All services of an application.

    Args:
        services: the main one among them.
        main: the name of the service that answers at the environment's own host.
        volumes: the named volumes that aren't kept for the environment's life have another policy here.
        ignored: sentences on keys and mounts of the file that have no effect, each with its line.
    """

    services: tuple[ServiceSpec, ...]
    main: str = MAIN_SERVICE
    volumes: Mapping[str, VolumePolicy] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    @property
    def main_service(self) -> ServiceSpec:
        return next(service for service in self.services if service.name == self.main)


_GENERATED = re.compile("\0generated:([^\0]+)\0")


def generated(name: str) -> str:
    """Return the placeholder of a generated secret, for the value of a variable. It contains NUL, which no
    declared value has.

    Args:
        name: the same name is the same secret in all services of an environment.
    """
    return f"\0generated:{name}\0"


def with_generated(text: str, secret_of: Callable[[str], str]) -> str:
    """Replace the placeholders of generated secrets in a value.

    Args:
        secret_of: returns the secret of a name.
    """
    return _GENERATED.sub(lambda match: secret_of(match[1]), text)
