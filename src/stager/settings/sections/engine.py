"""The container engine, and what can't be configured with Docker Swarm."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, field_validator, model_validator

from stager.settings.loading.refusals import InvalidValue, Path, refuse
from stager.settings.sections.applications import App
from stager.settings.sections.defaults import Defaults
from stager.settings.sections.pictures import PictureSettings
from stager.settings.values.network import Address
from stager.settings.values.scalars import Form
from stager.settings.values.section import Section

DEFAULT_ENGINE = "unix:///var/run/docker.sock"
_ENGINE = re.compile(r"(unix:///|tcp://|https?://)\S")
_REPOSITORY = re.compile(r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")

_WHY_A_REGISTRY = "because nodes pull images from it; Debian's package `docker-registry` is one"

EngineKind = Literal["docker", "swarm"]

_USER = r"[a-z_][a-z0-9_-]{0,31}"
"""A name of a user as `useradd` of Debian takes it. It never is an option of `ssh`."""


def _user(value: str) -> str:
    if not re.fullmatch(_USER, value):
        raise InvalidValue('should be the name of a user, such as "stager-node"')
    return value


class Engine(Section):
    """The container engine."""

    form: ClassVar = "{kind: swarm, registry: 10.0.0.1:5000}"

    kind: EngineKind = "docker"
    """`docker`: previews run on one machine. `swarm`: they run on all nodes of a Docker Swarm of which this
    machine is a manager; see [Two machines](../how-to/two-machines.md)."""

    registry: Annotated[str, Form("host:port/path")] = ""
    """With `kind: swarm`: the registry from which the nodes pull the images that previews run, such as
    `10.0.0.1:5000` or `registry.example.org:443/previews`. Docker's own configuration has the credentials
    (`docker login`) and allows a registry without TLS (`insecure-registries`)."""

    ssh_user: Annotated[str, AfterValidator(_user)] = "stager-node"
    """With `kind: swarm`: the user on each node, in its group `docker`, by whom Stager reaches the node's
    Docker over SSH."""

    socket: str = ""
    """Address of Docker: `unix://`, `tcp://`, `http://` or `https://`. If empty, the environment variable
    `DOCKER_HOST`, and without it `unix:///var/run/docker.sock`."""

    connect_via: Literal["auto", "address", "loopback"] = "auto"
    """How Stager connects to instances: by their own `address`, by a port published on the `loopback`
    interface, or, with `auto`, by whichever works. No effect with `kind: swarm`."""

    @field_validator("registry")
    @classmethod
    def _host_and_port(cls, registry: str) -> str:
        return check_registry(registry) if registry else ""

    @field_validator("socket")
    @classmethod
    def _address(cls, socket: str) -> str:
        if socket and not _ENGINE.match(socket):
            raise InvalidValue(f'should be an address such as "{DEFAULT_ENGINE}"')
        return socket

    @model_validator(mode="after")
    def _registry_of_a_swarm(self) -> Self:
        if self.kind == "swarm" and not self.registry:
            refuse((("registry",), f"is required with `kind: swarm`, {_WHY_A_REGISTRY}"))
        if self.registry and self.kind != "swarm":
            refuse((("registry",), "has no effect without `kind: swarm`; add that, or remove this"))
        return self

    def resolved(self, environ: Mapping[str, str]) -> Self:
        """Return these settings with the address filled in. Raises ValueError if that of the environment is
        invalid."""
        default = environ.get("DOCKER_HOST", "") or DEFAULT_ENGINE
        if not self.socket and not _ENGINE.match(default):
            raise ValueError(
                f"has no valid address: the environment variable DOCKER_HOST is {default}; set `socket`"
            )
        return self.model_copy(update={"socket": self.socket or default})


def check_registry(registry: str) -> str:
    """Check `host:port[/path]`. Raises InvalidValue or ValueError."""
    if "://" in registry:
        without = registry.partition("://")[2].rstrip("/")
        raise ValueError(f"should be without scheme; write `registry: {without}`")
    authority, slash, path = registry.partition("/")
    try:
        address = Address.read(authority)
    except InvalidValue:
        address = Address("", 0)
    if not address.port or (slash and not _REPOSITORY.fullmatch(path)):
        raise InvalidValue(
            'should be host:port such as "10.0.0.1:5000" or "registry.example.org:443/previews"'
        )
    return registry


def impossible_on_swarm(
    images: Mapping[str, App], defaults: Defaults, pictures: PictureSettings
) -> Iterator[tuple[Path, str]]:
    """Yield the settings that Stager can't apply with Docker Swarm, by their paths."""
    yield from ((("defaults", key), why) for key, why in _egress(defaults, Defaults()))
    for name, app in images.items():
        yield from ((("images", name, *path), why) for path, why in _of_application(app, defaults))
    if pictures.image:
        yield (
            ("pictures", "image"),
            "can't be used with `engine.kind: swarm`, which takes no pictures; remove it",
        )


def _of_application(app: App, defaults: Defaults) -> Iterator[tuple[Path, str]]:
    if "forks" in app.model_fields_set and app.forks != "off":
        yield (
            ("forks",),
            "can't be used with `engine.kind: swarm`: Swarm can't confine code from forks;"
            ' write `forks: "off"`, or use `kind: docker`',
        )
    yield from (((key,), why) for key, why in _egress(app, defaults))
    if "data" in app.model_fields_set:
        yield ("data",), f"{_NO_SNAPSHOTS}; remove it, or use `kind: docker`"
    cloned = (name for name, policy in app.volumes.items() if policy == "clone")
    yield from ((("volumes", name), f"{_NO_SNAPSHOTS}; write `keep` or `fresh`") for name in cloned)


_NO_SNAPSHOTS = "can't be used with `engine.kind: swarm`, which has no snapshots yet"
_NO_EGRESS = "isn't enforced with `engine.kind: swarm`; remove it, and limit it in the nodes' own firewall"


def _egress(given: Defaults, inherited: Defaults) -> Iterator[tuple[str, str]]:
    if given.egress not in ("private", inherited.egress):
        yield "egress", _NO_EGRESS
    if given.egress_allow and given.egress_allow != inherited.egress_allow:
        yield "egress_allow", _NO_EGRESS
