"""A control plane over fakes, for the harness of plugin authors and for Stager's own tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from stager.control.control_plane import ControlPlane, Options
from stager.control.forges import Forges
from stager.control.identity.login_flows import LoginFlows
from stager.control.plugins.package import PluginSet
from stager.control.ports import BuildPorts, Ports
from stager.control.routing.urls import Urls
from stager.domain.application import Application, Applications
from stager.domain.names import SlugRule
from stager.ports.clock import Clock, SystemClock
from stager.ports.forge import Webhooks
from stager.testing.fakes.builder import FakeBuilder
from stager.testing.fakes.clock import SequentialIds
from stager.testing.fakes.data import FakeData
from stager.testing.fakes.engine import FakeEngine
from stager.testing.fakes.firewall import FakeFirewall
from stager.testing.fakes.forge import FORGE, FakeForge, as_forge
from stager.testing.fakes.logs import MemoryLogs
from stager.testing.fakes.machine import FakeMachine
from stager.testing.fakes.nodes import FakeNodes
from stager.testing.fakes.router import FakeRouter
from stager.testing.fakes.secret_box import FakeSecretBox
from stager.testing.fakes.server_commands import FakeServerCommands
from stager.testing.fakes.sources import FakeSources
from stager.testing.fakes.store import MemoryStore

DOMAIN = "preview.test"

T = TypeVar("T")


class Around(Protocol):
    """Wraps a port, for a test that observes or interrupts its calls."""

    def __call__(self, port: T, /) -> T:
        """The wrapped port."""


@dataclass(kw_only=True)
class Fakes:
    """Fakes of everything outside a control plane. They outlive it, as the real ones do."""

    clock: Clock = field(default_factory=SystemClock)
    store: MemoryStore = field(default_factory=MemoryStore)
    engine: FakeEngine = field(default_factory=lambda: FakeEngine(SystemClock()))
    firewall: FakeFirewall = field(default_factory=FakeFirewall)
    router: FakeRouter = field(default_factory=FakeRouter)
    forge: FakeForge = field(default_factory=FakeForge)
    ids: SequentialIds = field(default_factory=SequentialIds)
    sources: FakeSources = field(default_factory=lambda: FakeSources({"Dockerfile": "FROM scratch"}))
    logs: MemoryLogs = field(default_factory=MemoryLogs)
    machine: FakeMachine = field(default_factory=FakeMachine)
    server_commands: FakeServerCommands = field(default_factory=FakeServerCommands)

    def __post_init__(self) -> None:
        self.engine.firewall = self.firewall
        self.builder = FakeBuilder(self.engine)
        self.data = FakeData(self.engine)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a control plane over fakes is configured with.

    Args:
        has_credentials: whether Stager may call the forge's API; without, it only gets deliveries.
        webhooks: of other forges, by name.
        concurrent_builds: at most.
        scheme: of all URLs.
        host_template: how hosts of previews are made.
        slugs: the rule for their slugs.
    """

    applications: Sequence[Application]
    plugins: PluginSet = field(default_factory=PluginSet)
    options: Options = field(default_factory=Options)
    logins: LoginFlows | None = None
    has_credentials: bool = True
    webhooks: Mapping[str, Webhooks] = field(default_factory=dict)
    concurrent_builds: int = 2
    domain: str = DOMAIN
    scheme: str = "http"
    host_template: str = "{slug}.{domain}"
    slugs: SlugRule = "standard"


def control_plane(fakes: Fakes, configuration: Configuration, around: Around | None = None) -> ControlPlane:
    """Build a control plane over these fakes.

    Args:
        around: wraps each port.
    """
    ports = _ports(fakes, configuration, around or _unchanged)
    urls = Urls(
        ports.store,
        domain=configuration.domain,
        scheme=configuration.scheme,
        template=configuration.host_template,
        slugs=configuration.slugs,
    )
    applications = Applications({a.name: a for a in configuration.applications})
    return ControlPlane(
        ports, urls, applications, configuration.plugins, configuration.options, configuration.logins
    )


def _ports(fakes: Fakes, configuration: Configuration, around: Around) -> Ports:
    forge, engine, data = around(fakes.forge), around(fakes.engine), around(fakes.data)
    return Ports(
        store=around(fakes.store),
        images=engine,
        instances=engine,
        power=engine,
        prober=engine,
        router=around(fakes.router),
        clock=fakes.clock,
        ids=fakes.ids,
        secret_box=FakeSecretBox(),
        server_commands=around(fakes.server_commands),
        firewall=fakes.firewall,
        machine=fakes.machine,
        data=data,
        workbench=data,
        nodes=FakeNodes(),
        webhooks={FORGE: forge, **configuration.webhooks},
        forges=Forges([as_forge(forge)] if configuration.has_credentials else []),
        builds=BuildPorts(
            around(fakes.sources),
            around(fakes.builder),
            fakes.logs,
            at_once=configuration.concurrent_builds,
        ),
    )


def _unchanged(port: T, /) -> T:
    return port
