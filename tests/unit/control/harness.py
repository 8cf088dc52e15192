"""A whole control plane over fakes, that can be killed and started again over what outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

from stager.control.control_plane import Intervals, Options
from stager.control.identity.authorizer import Roles
from stager.control.identity.login_flows import LoginFlows
from stager.control.identity.package import IdentityOptions
from stager.control.plugins.package import PluginSet
from stager.control.reporting.package import ReportOptions
from stager.domain.application import Application
from stager.domain.commands import Kill, Launch
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment, Instance
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.domain.profile import Limits
from stager.domain.pull_requests.events import Event
from stager.domain.route import Endpoint, Target
from stager.domain.status import State, Status, status_of
from stager.handlers.pull_requests import KillOnGithubPullRequestClosed, LaunchOnGithubPullRequestOpened
from stager.ports.clock import Clock
from stager.ports.forge import Webhooks
from stager.ports.handlers import AuthenticationStrategy, EventListener
from stager.ports.store import Transaction
from stager.testing import FakeEngine
from stager.testing.control_plane import Configuration, Fakes, control_plane
from tests.unit.control.tripwire import Tripwire
from tests.unit.control.virtual_time import LoopClock

IMAGE = "acme/shop:1"
LIMITS = Limits(memory=2**28, cpus=1.0, pids=100, log_size=2**20)
SHOP = Application("shop", IMAGE, 3000, LIMITS, start_timeout=60.0, drain_timeout=5.0)
DOMAIN = "preview.test"
HOME = Endpoint(path="/run/stager.sock")
ANN = Actor("ann", "test", role=Role.ADMINISTRATOR)


def listeners() -> list[EventListener]:
    """Those of the walkthrough."""
    return [LaunchOnGithubPullRequestOpened(), KillOnGithubPullRequestClosed()]


KEY = b"k" * 32
"""Signs who may see private previews."""


@dataclass
class Harness(Fakes):
    """What outlives a control plane: store, engine, router and forge; and the one that lives at the moment.

    Args:
        applications: what can be launched.
        listeners: the event listeners.
        credentials: whether the forge can be asked; without, only what it tells is known.
        reports: whether there is a comment.
        removes: whether that goes with the preview.
        announces: whether there are deployments and statuses.
        webhooks: who reads GitHub's deliveries, beside the forge's own.
        at_once: how many builds may run at a time.
        max_previews: how many previews there may be; None for any number.
        keep_gone: how long what is gone is remembered.
        authentication: who knows people.
        roles: what the configuration says of them.
        logins: sign-ins under way.
        scheme: what URLs begin with.
        template: how hosts are made.
    """

    applications: Sequence[Application] = (SHOP,)
    listeners: Sequence[EventListener] = field(default_factory=listeners)
    credentials: bool = True
    reports: bool = True
    removes: bool = False
    announces: bool = True
    domain: str = DOMAIN
    webhooks: Webhooks | None = None
    at_once: int = 2
    max_previews: int | None = None
    keep_gone: timedelta = timedelta(days=30)
    authentication: Sequence[AuthenticationStrategy] = ()
    roles: Roles = field(default_factory=Roles)
    logins: LoginFlows | None = None
    scheme: str = "http"
    template: str = "{slug}.{domain}"
    clock: Clock = field(default_factory=LoopClock, kw_only=True)
    engine: FakeEngine = field(default_factory=lambda: FakeEngine(LoopClock()), kw_only=True)
    _life: Life | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.engine.add_image(IMAGE)

    @asynccontextmanager
    async def open(self, *, rest: bool = True) -> AsyncIterator[Self]:
        """The house with a control plane in it, for as long as the block lasts."""
        await self.start(rest=rest)
        try:
            yield self
        finally:
            await self.kill()

    def configuration(self) -> Configuration:
        """What a control plane is configured with."""
        reports = ReportOptions(
            comments=self.reports,
            removes_comments=self.removes,
            deployments=self.announces,
            statuses=self.announces,
        )
        return Configuration(
            self.applications,
            PluginSet(listeners=self.listeners, authentication=self.authentication),
            Options(
                intervals=Intervals(keep_gone=self.keep_gone),
                max_previews=self.max_previews,
                reports=reports,
                key=KEY,
                identity=IdentityOptions(self.roles),
            ),
            self.logins,
            has_credentials=self.credentials,
            webhooks={"github": self.webhooks} if self.webhooks else {},
            concurrent_builds=self.at_once,
            domain=self.domain,
            scheme=self.scheme,
            host_template=self.template,
        )

    @property
    def life(self) -> Life:
        """The control plane that lives now."""
        assert self._life is not None
        return self._life

    async def start(self, wire: Tripwire | None = None, *, rest: bool = True) -> Life:
        """Have a control plane, all of whose calls go over `wire`; at rest already, unless told otherwise."""
        self._life = Life(self, wire or Tripwire())
        if rest:
            await self.rest()
        return self._life

    async def kill(self) -> None:
        """End the control plane where it stands. It has no chance to tidy up: nothing that it calls from
        now on arrives."""
        life, self._life = self._life, None
        if life is not None:
            await life.die()

    async def rest(self, seconds: float = 300.0) -> None:
        """Let so much time pass, in which everything should come to rest."""
        await asyncio.sleep(seconds)

    @property
    def outside(self) -> str:
        """All that outlives a control plane, put so that it can be compared."""
        engine, router, forge, builder = self.engine, self.router, self.forge, self.builder
        told = (forge.comments, forge.deployments, forge.statuses)
        made = (builder._made, engine._containers, engine._networks, engine.ran)
        fetched = (self.sources.fetched, len(self.sources.folders), self.logs._logs)
        return repr((self.store._tables, made, router.table, told, fetched))

    # What people and forges do.

    async def launch(self, name: str = "master", app: str = "shop", **parameters: str) -> Environment:
        return await self.life.commands.launch(Launch(app, name, parameters), ANN)

    async def stop(self, name: str = "master", app: str = "shop") -> Environment | None:
        """Kill by hand."""
        return await self.life.commands.kill(Kill(app, name), ANN)

    async def tell(self, *events: Event) -> None:
        """Deliver these events, in this order."""
        for event in events:
            await self.life.webhook_consumer.receive(self.forge.delivery(event))

    # What is to be seen.

    async def environments(self, *, present: bool | None = None) -> list[Environment]:
        return await self.store.read(lambda tx: tx.environments(present=present))

    async def the(self, environment: Environment | None = None) -> Environment:
        """The environment as it is now; the only one that there is, unless told which."""
        if environment is None:
            [environment] = await self.environments()
        found = await self.store.read(lambda tx: tx.environment(environment.id))
        assert found is not None
        return found

    async def deployment(self, environment: Environment | None = None) -> Deployment:
        """The deployment of the desired generation."""
        there = await self.the(environment)
        found = await self.store.read(lambda tx: tx.deployment_of(there.id, there.desired.generation))
        assert found is not None
        return found

    async def status(self, environment: Environment | None = None) -> Status:
        there = await self.the(environment)

        def work(tx: Transaction) -> Deployment | None:
            return tx.deployment_of(there.id, there.desired.generation)

        return status_of(there, await self.store.read(work))

    def target(self, host: str) -> Target | None:
        """Where the router leads this host's visitors."""
        return self.router.table.routes.get(host)

    def served(self, host: str) -> Instance | None:
        """The running instance that this host's visitors reach."""
        target = self.target(host)
        return next((i for i in self.engine.there() if i.endpoint and i.endpoint == target), None)

    async def assert_live(self, environment: Environment | None = None, *, generation: int = 0) -> Instance:
        """It serves the desired generation, or this one, and nothing else is left. Returns what serves."""
        there = await self.the(environment)
        instance = self.served(there.host)
        assert instance is not None, f"{there.host} leads to {self.target(there.host)}"
        assert instance.generation == (generation or there.desired.generation)
        assert there.serving == instance.generation
        assert self.engine.there(there.id) == [instance]
        if not generation:
            assert (await self.status(there)).state is State.LIVE
        return instance

    async def assert_gone(self, environment: Environment | None = None) -> None:
        """Nothing of it is left but a page that says so."""
        there = await self.the(environment)
        assert self.engine.there(there.id) == []
        assert not isinstance(self.target(there.host), Endpoint)
        assert there.serving is None


class Life:
    """One control plane, from its start to its end."""

    def __init__(self, house: Harness, wire: Tripwire) -> None:
        self.wire = wire
        self.clock = house.clock
        self.control_plane = control_plane(house, house.configuration(), wire.around)
        plane = self.control_plane
        self.metrics, self.applications, self.controller = plane.metrics, plane.applications, plane.controller
        self.addresses, self.routes = plane.routing.urls, plane.routing.routes
        self.steps, self.reporter = plane.reconciler.actions, plane.reporting.reporter
        self.webhook_consumer, self.resync = plane.pull_requests.webhooks, plane.pull_requests.resync
        self.commands, self.waiters = plane.environments.commands, plane.environments.waiters
        self.watch = plane.environments.change_feed
        self.task = asyncio.create_task(self._live())

    async def _live(self) -> None:
        await self.addresses.load()
        await self.routes.adopt()
        await self.routes.set_home(self.addresses.domain, HOME)
        await self.controller.run()

    async def die(self) -> None:
        """See `Harness.kill`. Raises what it had failed with before."""
        self.wire.cut()
        self.task.cancel()
        await self.control_plane.close()
        self.wire.bury()
        with suppress(asyncio.CancelledError):
            await self.task
