"""The engines that `test_engine` tests: one word describes to both what an instance does."""

from __future__ import annotations

import functools
import itertools
import json
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any, Protocol

import pytest

from stager.domain.application import Container
from stager.domain.environment import ChangeLink, InstanceLabels
from stager.domain.profile import Egress, Limits, ProfileName, profile_of
from stager.domain.route import Endpoint
from stager.domain.source import Revision, Trust
from stager.engines.docker import (
    DockerImages,
    DockerInstances,
    DockerMemory,
    DockerPower,
    NetworkPool,
    connect,
)
from stager.engines.probe import HttpProber
from stager.ports.clock import RandomIds
from stager.ports.engine import Images, Instances, InstanceSpec, Listener, Power, Prober
from stager.testing import FakeEngine, Program
from stager.testing.fakes.program import Inner
from tests.docker_socket import remove_labelled

IMAGE = "stager-base/static:1"
PORT = 8080
DOCKER = "unix:///var/run/docker.sock"
PYTHON = "stager-base/python:1"
SECOND = 1_000_000_000
"""Docker counts nanoseconds."""
LIMITS = Limits(memory=64 << 20, cpus=0.5, pids=50, log_size=1 << 20)
POOL = IPv4Network("10.203.240.0/20")
"""A corner of the default pool, so that what else runs on this machine isn't in the way."""

_COMMANDS = {
    "serves": "echo ready; exec httpd -f -p 8080 -h /etc",
    "exits": "echo first; echo last; exit 3",
    "runs": "echo ready; exec sleep 600",
    "serves-itself": "httpd -p 127.0.0.1:8080 -h /etc; exec httpd -f -p 127.0.0.1:8081 -h /etc",
    "hungry": "exec dd if=/dev/zero of=/dev/null bs=800M",
    "has-a-hungry-child": "dd if=/dev/zero of=/dev/null bs=800M; exit 1",
    "forgives-its-child": "dd if=/dev/zero of=/dev/null bs=800M; exit 0",
}
_PROGRAMS = {
    "serves": Program(status=404, output="ready", listeners=(Listener(IPv6Address("::"), PORT),)),
    "serves-itself": Program(
        status=None,
        listeners=(Listener(IPv4Address("127.0.0.1"), PORT), Listener(IPv4Address("127.0.0.1"), 8081)),
    ),
    "exits": Program(exit_code=3, output="first\nlast"),
    "runs": Program(status=None, output="ready", listeners=()),
    "hungry": Program(exit_code=137, hungry=True),
    "has-a-hungry-child": Program(exit_code=1, hungry=True),
    "forgives-its-child": Program(exit_code=0),
    "unstartable": Program(starts=False),
    "well": Program(healthy=True, check_output="fine"),
    "ill": Program(healthy=False, check_output="no table"),
    "uncheckable": Program(healthy=False, checkable=False, check_output="sh: curl: not found"),
}
_HEALTHCHECKS = {
    "well": "echo fine",
    "ill": "echo no table; exit 1",
    "uncheckable": "curl -f http://localhost || exit 1",
}
_INNER = {
    "speaks": Inner(0, "first\nlast"),
    "fails": Inner(3, "no such table"),
    "complains": Inner(1, "on the other stream"),
    "talks": Inner(0, "x" * 1_000_000 + "\nthe end"),
    "hangs": Inner(0, "begun", seconds=600.0),
    "isnt-there": Inner(there=False),
    "listens": Inner(listens=True),
}
_LISTENS = """\
while read -r word rest; do
  case $word in
    exit) exit "$rest" ;;
    size) stty size ;;
    kind) echo "$TERM" ;;
    *) echo "you said $word" ;;
  esac
done
"""
_SERVER = """\
import os, socket
server = socket.create_server(("", 8080))
while True:
    connection, _ = server.accept()
    connection.sendall(os.environ["WHO"].encode())
    connection.close()
"""
_CLIENT = """\
import socket, sys
try:
    found = {info[4][0] for info in socket.getaddrinfo(sys.argv[1], 8080, socket.AF_INET, socket.SOCK_STREAM)}
except OSError:
    found = set()
for address in found:
    try:
        with socket.create_connection((address, 8080), 1) as connection:
            print(connection.recv(100).decode())
    except OSError:
        pass
"""
_INNER_COMMANDS = {
    "speaks": ("sh", "-c", "echo first; echo last"),
    "fails": ("sh", "-c", "echo no such table; exit 3"),
    "complains": ("sh", "-c", "echo on the other stream >&2; exit 1"),
    "talks": ("sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo the end"),
    "hangs": ("sh", "-c", "echo begun; sleep 600"),
    "isnt-there": ("no-such-program", "--now"),
    "listens": ("sh", "-c", _LISTENS),
}


class Engine(Protocol):
    """An engine under test."""

    images: Images
    instances: Instances
    power: Power
    prober: Prober
    reference: str
    """An image that it has."""

    async def spec(self, does: str, labels: InstanceLabels) -> InstanceSpec:
        """What makes an instance that `serves`, `exits`, `runs` without listening, is `unstartable`, exceeds
        its memory (`hungry`), `serves-itself` on loopback addresses, or whose image's own check finds it
        `well` or `ill`, or can't be run in it (`uncheckable`)."""

    def inner(self, does: str) -> Sequence[str]:
        """A command to run inside, which `speaks`, `fails`, `complains` on the error stream, `talks` a
        megabyte, `hangs` after its first line, `isnt-there`, or `listens` on a terminal: `FakeTerminal`."""

    async def service(self, labels: InstanceLabels, who: str, **more: Any) -> InstanceSpec:
        """The spec of a service that listens on `PORT` and answers with `who`. Its aliases are the name of
        its service and those in `more`."""

    async def reached(self, instance: str, name: str) -> set[str]:
        """The answers that an instance of such a service gets at all addresses of this name."""

    async def kill(self, instance: str) -> None:
        """End its process without Stager's API."""

    async def variables(self, instance: str) -> dict[str, str]:
        """Its environment variables, the image's included."""


_numbers = itertools.count(1)


def spec_of(
    labels: InstanceLabels,
    image: str,
    command: tuple[str, ...] = (),
    stop_grace_period: float = 1.0,
    parameters: Mapping[str, Any] | None = None,
) -> InstanceSpec:
    """An instance of a small application that listens on `PORT`."""
    container = Container(command or None, PORT, stop_grace_period, parameters or {})
    return InstanceSpec(labels, image, container, profile_of(labels.profile, LIMITS, Egress()))


def service_of(labels: InstanceLabels, image: str, who: str, more: dict[str, Any]) -> InstanceSpec:
    """A spec of `Engine.service`."""
    aliases = (labels.service, *more.pop("aliases", ()))
    settings = {"mounts": more.pop("mounts", ()), "command": more.pop("command", None)}
    spec = with_settings(spec_of(labels, image), **settings)
    return replace(spec, aliases=aliases, per_commit={"WHO": who}, **more)


def with_settings(spec: InstanceSpec, **settings: Any) -> InstanceSpec:
    """The same instance with other settings of its container."""
    return replace(spec, container=replace(spec.container, **settings))


def instance_labels(environment: str = "e1", generation: int = 1, service: str = "web") -> InstanceLabels:
    """A full one, of a deployment of its own."""
    return InstanceLabels(
        environment=environment,
        service=service,
        deployment=f"d{next(_numbers)}",
        generation=generation,
        app="shop",
        subject="change:github:10/7",
        name="feature/Übergröße 'x'; $(reboot)",
        host="feature-x.preview.test",
        revision=Revision("c0ffee", "feature/x"),
        trust=Trust.TRUSTED,
        profile=ProfileName.STANDARD,
        change=ChangeLink(
            "github:10", "acme", "shop", 7, "main", 'A "title" 🚀', "ann", "https://forge.test/7"
        ),
        parameters={"GREETING": 'hallo\n"Welt"', "EMPTY": ""},
    )


def docker_spec(does: str, labels: InstanceLabels, image: str) -> InstanceSpec:
    """What `Engine.spec` returns for an engine that runs containers.

    Args:
        image: the id of `IMAGE`.
    """
    if does in _HEALTHCHECKS:
        check = {"Test": ["CMD-SHELL", _HEALTHCHECKS[does]], "Interval": SECOND, "Retries": 1}
        return spec_of(labels, image, ("sleep", "600"), parameters={"Healthcheck": check})
    if does != "unstartable":
        return spec_of(labels, image, ("sh", "-c", _COMMANDS[does]))
    # With an init of Docker's it would start, and end when the init doesn't find the command.
    parameters = {"HostConfig": {"Init": False}}
    return spec_of(labels, image, ("no-such-program",), stop_grace_period=10.0, parameters=parameters)


def docker_service(labels: InstanceLabels, image: str, who: str, more: dict[str, Any]) -> InstanceSpec:
    """What `Engine.service` returns for an engine that runs containers.

    Args:
        image: the id of `PYTHON`.
    """
    return service_of(labels, image, who, {"command": ("python3", "-c", _SERVER), **more})


def inner_command(does: str) -> Sequence[str]:
    """What `Engine.inner` returns for an engine that runs containers."""
    return _INNER_COMMANDS[does]


async def reached(instances: Instances, instance: str, name: str) -> set[str]:
    """What `Engine.reached` returns for an engine that runs containers."""
    ran = await instances.run(instance, ("python3", "-c", _CLIENT, name), 20.0)
    assert ran.exit_code == 0, ran.output
    return set(ran.output.split())


class FakeEngineUnderTest:
    reference = IMAGE

    def __init__(self) -> None:
        self._engine = FakeEngine()
        self._engine.add_image(self.reference)
        self.images: Images = self._engine
        self.instances: Instances = self._engine
        self.power: Power = self._engine
        self.prober: Prober = self._engine

    async def spec(self, does: str, labels: InstanceLabels) -> InstanceSpec:
        program = replace(_PROGRAMS[does], inner=_INNER, variables={"PATH": "/bin"})
        image = self._engine.add_image(f"{does}-{labels.deployment}", program)
        return spec_of(labels, image)

    def inner(self, does: str) -> Sequence[str]:
        return (does,)

    async def service(self, labels: InstanceLabels, who: str, **more: Any) -> InstanceSpec:
        return service_of(labels, await self._engine.resolve(self.reference), who, more)

    async def reached(self, instance: str, name: str) -> set[str]:
        return {self._engine.variables(each)["WHO"] for each in self._engine.reached(instance, name)}

    async def kill(self, instance: str) -> None:
        self._engine.end(instance)

    async def variables(self, instance: str) -> dict[str, str]:
        return self._engine.variables(instance)


class DockerUnderTest:
    """Docker, as an installation of its own."""

    reference = IMAGE

    def __init__(self, installation: str) -> None:
        self.installation = installation
        self.docker = connect(DOCKER)
        self.http = HttpProber()
        self.images: Images = DockerImages(self.docker)
        self.instances: Instances = DockerInstances(
            self.docker, installation, NetworkPool(self.docker, installation, POOL, 28)
        )
        self.power: Power = DockerPower(self.docker, DockerMemory(DOCKER, installation, None))
        self.prober: Prober = self.http

    async def spec(self, does: str, labels: InstanceLabels) -> InstanceSpec:
        return docker_spec(does, labels, await self.images.resolve(self.reference))

    def inner(self, does: str) -> Sequence[str]:
        return inner_command(does)

    async def service(self, labels: InstanceLabels, who: str, **more: Any) -> InstanceSpec:
        return docker_service(labels, await self.images.resolve(PYTHON), who, more)

    async def reached(self, instance: str, name: str) -> set[str]:
        return await reached(self.instances, instance, name)

    async def kill(self, instance: str) -> None:
        _docker("kill", instance)

    def processes(self, instance: str) -> list[str]:
        """What runs in it, without Docker's init: the command lines."""
        rows = _docker("top", instance, "-eo", "pid,args").splitlines()[1:]
        return [row.split(None, 1)[1].strip() for row in rows if "docker-init" not in row]

    async def variables(self, instance: str) -> dict[str, str]:
        shown = _docker("inspect", "--format", "{{json .Config.Env}}", instance)
        return dict(pair.split("=", 1) for pair in json.loads(shown))


@asynccontextmanager
async def docker_under_test(installation: str = "") -> AsyncIterator[DockerUnderTest]:
    """Docker, with nothing left behind at the end. Skips where there is none, or not the image.

    Args:
        installation: its id; empty for a new one.
    """
    reason = why_no_docker()
    if reason:
        pytest.skip(reason)
    installation = installation or f"test-{RandomIds().new()}"
    engine = DockerUnderTest(installation)
    try:
        yield engine
    finally:
        await engine.http.close()
        await engine.docker.close()
        remove_labelled(f"stager.installation={installation}")


@functools.cache
def why_no_docker() -> str:
    """Why Docker can't be tested here; empty when it can."""
    try:
        _docker("image", "inspect", IMAGE)
    except FileNotFoundError:
        return "there is no docker command: scripts/test installs it"
    except subprocess.CalledProcessError as error:
        return f"no Docker engine with {IMAGE} ({error.stderr.strip()}): scripts/test starts one and makes it"
    return ""


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def unused_endpoint() -> Endpoint:
    """Where nothing answers."""
    return Endpoint("127.0.0.1", 9)
