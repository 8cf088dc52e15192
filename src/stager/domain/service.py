"""The services of an application: what each runs, how it is checked, what it stores, and what it waits for.

The fields are the common part of the Compose Specification
(https://github.com/compose-spec/compose-spec/blob/main/05-services.md), which `.stager.yml`, the
configuration and Compose files are read into.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from stager.domain.errors import Fault
from stager.domain.profile import Limits
from stager.domain.recipe import Recipe

MAIN_SERVICE = "web"
"""The name of the main service, unless a Compose file gives it another one."""

MAX_SERVICES = 30
"""Services of a preview. Its network has 29 addresses by default; see `networks.prefix_length`."""

MAX_NAME = 40
"""Characters of a service's name. A host label has 63, and needs room for the preview's name."""

SETTLED_SECONDS = 2.0
"""Seconds that a service without a health check must run to be healthy."""

_NAME = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")


def is_service_name(name: str) -> bool:
    """Whether it can be a part of a service's host."""
    return len(name) <= MAX_NAME and _NAME.fullmatch(name) is not None


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
    CLONE = "clone"
    """For one generation, and it starts as a copy of the application's current snapshot."""


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
        profiles: names, one of which must be active for it to run; empty if it always runs.
        provides: environment variables that the main service and the other built ones get.
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
    profiles: tuple[str, ...] = ()
    provides: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_built(self) -> bool:
        """Whether it runs code of the repository."""
        return not self.image

    @property
    def listening_port(self) -> int | None:
        """The port that it listens on for requests or, without them, for its health check."""
        return self.port or (self.check.port if self.check else None)

    @property
    def checked_port(self) -> int | None:
        """The port that its health check connects to; None if it makes no connection."""
        if self.check is None:
            return self.port
        return None if self.check.is_disabled else self.check.port or self.port

    @property
    def is_stateful(self) -> bool:
        """Whether its old instance must stop before the next one starts: an image from elsewhere, such as a
        database, that writes to a volume. The repository's own code may share its volumes."""
        return not self.is_built and any(mount.volume and not mount.is_read_only for mount in self.mounts)


UNBOUNDED_VOLUMES = "Named volumes have no size limit, so code from a fork can fill the disk with them."
"""The warning about volumes of untrusted code."""


def has_volumes(services: Iterable[ServiceSpec]) -> bool:
    """Whether one of these services writes to a named volume, whose size isn't limited."""
    return any(m.volume and not m.is_read_only for service in services for m in service.mounts)


@dataclass(frozen=True, slots=True)
class Stack:
    """All services of an application.

    Args:
        services: the main one among them.
        main: the name of the service that answers at the environment's own host.
        volumes: the named volumes that aren't kept for the environment's life have another policy here.
    """

    services: tuple[ServiceSpec, ...]
    main: str = MAIN_SERVICE
    volumes: Mapping[str, VolumePolicy] = field(default_factory=dict)

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


def generated_names(spec: ServiceSpec) -> frozenset[str]:
    """Return the names of the generated secrets in the variables and the command of a service."""
    texts = (*spec.variables.values(), *(spec.command or ()), *(spec.entrypoint or ()))
    return frozenset(name for text in texts for name in _GENERATED.findall(text))


def provided(services: Iterable[ServiceSpec]) -> dict[str, str]:
    """Return the variables that these services provide. Of services with the same variable the first counts,
    except that `NAME_URL` is always that of the service NAME."""
    services = tuple(services)
    found: dict[str, str] = {}
    for service in services:
        found = {**service.provides, **found}
    own = {own_url(service.name): service.provides.get(own_url(service.name)) for service in services}
    return found | {name: value for name, value in own.items() if value is not None}


def own_url(service: str) -> str:
    """The name of the variable with the URL of this service: `CACHE_URL` for `cache`."""
    return f"{service.upper().replace('-', '_')}_URL"


MIB = 1 << 20
MIN_MEMORY = 32 * MIB
"""Bytes that a service without a declared `memory` must get."""
MIN_CPUS = 0.05
"""Cores that a service without declared `cpus` must get."""


def share_limits(
    limits: Limits, services: Iterable[ServiceSpec], *, divides_cpus: bool = True
) -> dict[str, Limits]:
    """Divide an application's limits among the services of a generation: declared values as given, the rest
    evenly among the others. Processes and log size are divided evenly.

    Args:
        divides_cpus: whether the rest of the cores is divided. Otherwise each of the others may use all of
            it, so that a database isn't set up with a third of a core while the rest waits for it.

    Raises:
        Fault: `limits-exceeded`: they declare more than the limit, or leave too little for the others.
    """
    services = tuple(services)
    memory = _shares(
        "memory",
        limits.memory,
        {service.name: service.memory for service in services},
        minimum=MIN_MEMORY,
        text=lambda size: f"{-(-size // MIB):.0f} MiB",
    )
    declared = {service.name: service.cpus for service in services}
    cpus = _shares("cpus", limits.cpus, declared, minimum=MIN_CPUS, text=lambda cores: f"{round(cores, 2):g}")
    if not divides_cpus:
        rest = limits.cpus - sum(value for value in declared.values() if value is not None)
        cpus = {name: rest if value is None else value for name, value in declared.items()}
    return {
        name: replace(
            limits,
            memory=int(memory[name]),
            cpus=cpus[name],
            pids=max(1, limits.pids // len(services)),
            log_size=max(1, limits.log_size // len(services)),
        )
        for name in memory
    }


def _shares(
    setting: str,
    limit: float,
    declared: Mapping[str, float | None],
    *,
    minimum: float,
    text: Callable[[float], str],
) -> dict[str, float]:
    given = {name: value for name, value in declared.items() if value is not None}
    rest, others = limit - sum(given.values()), len(declared) - len(given)
    if rest < 0 or (others and rest / others < minimum):
        figures = ", ".join(f"{name} {text(value)}" for name, value in given.items())
        needs = f" and the other {others} need at least {text(minimum)} each" if others else ""
        raise Fault(
            f"The services need more than the application's `{setting}` of {text(limit)}:"
            f" {figures or 'none is declared'}{needs},"
            f" {text(sum(given.values()) + others * minimum)} in total.",
            hint=f"Increase `{setting}` of the application in the configuration, or declare less for a"
            " service.",
            reason="limits-exceeded",
        )
    return {name: rest / others if value is None else value for name, value in declared.items()}
