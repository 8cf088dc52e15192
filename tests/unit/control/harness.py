"""A control plane over fakes on virtual time, which can be killed and started again over the same fakes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Self

from stager.control.control_plane import Intervals, Options
from stager.control.environments.capacity import CapacityOptions
from stager.control.identity.authorizer import Roles
from stager.control.identity.login_flows import LoginFlows
from stager.control.identity.package import IdentityOptions
from stager.control.plugins.package import PluginSet
from stager.control.reporting.package import ReportOptions
from stager.domain.allocation import Limits
from stager.domain.application import Application
from stager.domain.commands import Kill, Launch
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment, Instance
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.domain.names import SlugRule
from stager.domain.profile import Limits as InstanceLimits
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
LIMITS = InstanceLimits(memory=2**28, cpus=1.0, pids=100, log_size=2**20)
SHOP = Application("shop", IMAGE, 3000, LIMITS, start_timeout=60.0, drain_timeout=5.0)
DOMAIN = "preview.test"
HOME = Endpoint(path="/run/stager.sock")
ANN = Actor("ann", "test", role=Role.ADMINISTRATOR)


def listeners() -> list[EventListener]:
    """The listeners of the walkthrough."""
    return [LaunchOnGithubPullRequestOpened(), KillOnGithubPullRequestClosed()]


KEY = b"k" * 32
"""Signs visitor cookies and share links."""


@dataclass
class Harness(Fakes):
    """Fakes, and the control plane that runs over them.

    Args:
        applications: the configured applications.
        listeners: the configured event listeners.
        credentials: whether Stager may call the forge's API; without, it only gets deliveries.
        reports: whether pull requests get a comment.
        removes: whether the comment is removed with the preview.
        announces: whether deployments and commit statuses are reported.
        webhooks: parses GitHub's deliveries, in addition to those of the fake forge.
        at_once: maximum number of concurrent builds.
        max_previews: None: unlimited.
        limits: of capacity, without `max_previews`.
        keep_gone: how long records of removed environments are kept.
        authentication: the configured strategies.
        roles: the configured roles.
        logins: sign-ins in progress.
        scheme: of all URLs.
        template: of the hosts of previews.
        slugs: the rule for their slugs.
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
    limits: Limits = field(default_factory=Limits)
    keep_gone: timedelta = timedelta(days=30)
    authentication: Sequence[AuthenticationStrategy] = ()
    roles: Roles = field(default_factory=Roles)
    logins: LoginFlows | None = None
    scheme: str = "http"
    template: str = "{slug}.{domain}"
    slugs: SlugRule = "standard"
    clock: Clock = field(default_factory=LoopClock, kw_only=True)
    engine: FakeEngine = field(default_factory=lambda: FakeEngine(LoopClock()), kw_only=True)
    _running: RunningControlPlane | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.engine.add_image(IMAGE)

    @asynccontextmanager
    async def open(self, *, rest: bool = True) -> AsyncIterator[Self]:
        """Run a control plane within the block."""
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
                capacity=CapacityOptions(replace(self.limits, previews=self.max_previews)),
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
            slugs=self.slugs,
        )

    @property
    def running(self) -> RunningControlPlane:
        """The control plane that runs now."""
        assert self._running is not None
        return self._running

    async def start(self, wire: Tripwire | None = None, *, rest: bool = True) -> RunningControlPlane:
        """Start a control plane whose calls of ports all pass `wire`.

        Args:
            rest: wait until it is at rest.
        """
        self._running = RunningControlPlane(self, wire or Tripwire())
        if rest:
            await self.rest()
        return self._running

    async def kill(self) -> None:
        """Kill the control plane where it is. It can't clean up: its calls from now on have no effect."""
        running, self._running = self._running, None
        if running is not None:
            await running.kill()

    async def rest(self, seconds: float = 300.0) -> None:
        """Wait, on virtual time, until everything is at rest.

        Args:
            seconds: how long.
        """
        await asyncio.sleep(seconds)

    async def skip(self, seconds: float) -> None:
        """Let virtual time pass while no control plane runs, then start another one. An hour in which
        one runs takes a tenth of a second of real time.

        Args:
            seconds: how long.
        """
        await self.kill()
        await asyncio.sleep(seconds)
        await self.start()

    @property
    def outside(self) -> str:
        """The state of all fakes, as a text that can be compared."""
        engine, router, forge, builder = self.engine, self.router, self.forge, self.builder
        reported = (forge.comments, forge.deployments, forge.statuses)
        made = (builder._made, engine._containers, engine._networks, engine.ran)
        fetched = (self.sources.fetched, len(self.sources.folders), self.logs._logs)
        return repr((self.store._tables, made, router.table, reported, fetched))

    # Actions of people and forges.

    async def launch(self, name: str = "master", app: str = "shop", **parameters: str) -> Environment:
        return await self.running.commands.launch(Launch(app, name, parameters), ANN)

    async def stop(self, name: str = "master", app: str = "shop") -> Environment | None:
        """Kill a preview manually."""
        return await self.running.commands.kill(Kill(app, name), ANN)

    async def deliver(self, *events: Event) -> None:
        """Deliver these events, in this order."""
        for event in events:
            await self.running.inbox.receive(self.forge.delivery(event))

    # Observations.

    async def environments(self, *, present: bool | None = None) -> list[Environment]:
        return await self.store.read(lambda tx: tx.environments(present=present))

    async def the(self, environment: Environment | None = None) -> Environment:
        """The environment as it is now; by default the only one that there is."""
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
        """Where the router sends requests to this host."""
        return self.router.table.routes.get(host)

    def served(self, host: str) -> Instance | None:
        """The running instance that serves requests to this host."""
        target = self.target(host)
        return next((i for i in self.engine.there() if i.endpoint and i.endpoint == target), None)

    async def assert_live(self, environment: Environment | None = None, *, generation: int = 0) -> Instance:
        """Assert that it serves the desired generation, or this one, with no other instance left. Returns the
        instance that serves."""
        there = await self.the(environment)
        instance = self.served(there.host)
        assert instance is not None, f"{there.host} leads to {self.target(there.host)}"
        assert instance.generation == (generation or there.desired.generation)
        assert there.serving == instance.generation
        assert [i for i in self.engine.there(there.id) if i.service == instance.service] == [instance]
        if not generation:
            assert (await self.status(there)).state is State.LIVE
        return instance

    async def assert_gone(self, environment: Environment | None = None) -> None:
        """Assert that nothing of it is left except its status page."""
        there = await self.the(environment)
        assert self.engine.there(there.id) == []
        assert not isinstance(self.target(there.host), Endpoint)
        assert there.serving is None


class RunningControlPlane:
    """One control plane, from its start until it is killed."""

    def __init__(self, harness: Harness, wire: Tripwire) -> None:
        self.wire = wire
        self.clock = harness.clock
        self.control_plane = control_plane(harness, harness.configuration(), wire.around)
        plane = self.control_plane
        self.metrics, self.applications, self.controller = plane.metrics, plane.applications, plane.controller
        self.urls, self.routes = plane.routing.urls, plane.routing.routes
        self.actions, self.reporter = plane.reconciler.actions, plane.reporting.reporter
        self.inbox, self.resync = plane.pull_requests.inbox, plane.pull_requests.resync
        self.commands, self.waiters = plane.environments.commands, plane.environments.waiters
        self.problems = plane.reconciler.readiness.problems
        self.change_feed = plane.environments.change_feed
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await self.urls.load()
        await self.routes.adopt()
        await self.routes.set_home(self.urls.domain, HOME)
        await self.controller.run()

    async def kill(self) -> None:
        """See `Harness.kill`. Raises the error that it failed with, if it did."""
        self.wire.cut()
        self.task.cancel()
        await self.control_plane.close()
        self.wire.bury()
        with suppress(asyncio.CancelledError):
            await self.task
