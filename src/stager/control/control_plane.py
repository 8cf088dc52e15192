"""The control plane, put together: from ports and what the configuration says to parts that know each other.

`assembly` makes one over the real drivers, `stager.testing` and the tests over fakes; so all of them run the
same.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from stager.control.applications import Applications
from stager.control.builds.gc import Workshop
from stager.control.builds.images import Making
from stager.control.builds.queue import Builds
from stager.control.coalescing_tasks import Errands
from stager.control.environments.capacity import Room
from stager.control.environments.change_feed import Watch
from stager.control.environments.commands import Commands
from stager.control.environments.desired_state import Wishes
from stager.control.environments.records import Memory
from stager.control.environments.share_links import Sharing
from stager.control.identity.access import Access, Roles
from stager.control.identity.api_tokens import Tokens
from stager.control.identity.audit import Audit
from stager.control.identity.login_flows import CurrentLogins
from stager.control.identity.sessions import Lifetimes, Sessions
from stager.control.identity.sign_in import SigningIn
from stager.control.identity.throttle import Tries
from stager.control.metrics import Metrics
from stager.control.plugins.action_calls import Calls
from stager.control.plugins.invoker import Runner
from stager.control.plugins.lifecycle import Handling
from stager.control.pull_requests.comment_commands import Speaking
from stager.control.pull_requests.deduplication import Once
from stager.control.pull_requests.forges import Forges
from stager.control.pull_requests.merge_queue import MergeQueue
from stager.control.pull_requests.policy import Policy
from stager.control.pull_requests.resync import Resync
from stager.control.pull_requests.webhooks import Intake
from stager.control.reconciler.actions import Steps
from stager.control.reconciler.config_retries import SecondTries
from stager.control.reconciler.context import Tools
from stager.control.reconciler.controller import Intervals, Supervisor
from stager.control.reconciler.unexpected_errors import Failures
from stager.control.reporting.deployments import Deployments, Statuses
from stager.control.reporting.pr_comment import Commenting
from stager.control.reporting.reporter import Reporter, Voice
from stager.control.routing.edge_proxy import Outposts
from stager.control.routing.route_table import Publisher
from stager.control.routing.urls import Addresses
from stager.control.routing.visitor_access import Guards
from stager.ports.clock import Clock, Ids
from stager.ports.engine import Images, Instances, Prober
from stager.ports.firewall import Firewall
from stager.ports.forge import Webhooks
from stager.ports.handlers import (
    AuthenticationStrategy,
    ContainerRotationStrategy,
    EventListener,
    PostLaunchHandler,
    PreKillHandler,
    PreLaunchHandler,
)
from stager.ports.router import Router
from stager.ports.secret_box import Seal
from stager.ports.store import Store


@dataclass(frozen=True, slots=True)
class World:
    """The ports.

    Args:
        webhooks: who reads deliveries, by the forge that they are recorded under.
        forges: those that can be asked.
        workshop: None where nothing is built.
        outposts: what stands before the router.
        seal: keeps what proves who people are.
        firewall: what guards instances; None where nothing does.
        logins: sign-ins under way; None where nobody signs in elsewhere.
    """

    store: Store
    images: Images
    instances: Instances
    prober: Prober
    router: Router
    clock: Clock
    ids: Ids
    seal: Seal
    webhooks: Mapping[str, Webhooks] = field(default_factory=dict)
    forges: Forges = field(default_factory=Forges)
    workshop: Workshop | None = None
    outposts: Outposts | None = None
    logins: CurrentLogins | None = None
    firewall: Firewall | None = None


@dataclass(frozen=True, slots=True)
class Cast:
    """The handlers and strategies that the configuration names, each kind in its order."""

    listeners: Sequence[EventListener] = ()
    pre_launch: Sequence[PreLaunchHandler] = ()
    post_launch: Sequence[PostLaunchHandler] = ()
    pre_kill: Sequence[PreKillHandler] = ()
    authentication: Sequence[AuthenticationStrategy] = ()
    rotation: ContainerRotationStrategy | None = None


@dataclass(frozen=True, slots=True)
class Conduct:
    """What else the configuration says.

    Args:
        max_previews: None for any number.
        installation: the id by which our comments are told from another Stager's.
        comments: whether pull requests get a comment.
        removes_comments: whether that goes with the preview.
        deployments: whether the forge's own deployments are kept up to date.
        statuses: whether commits bear a status.
        roles: what it says of people.
        key: signs who may see private previews.
        lifetimes: how long sessions last.
    """

    intervals: Intervals = field(default_factory=Intervals)
    max_previews: int | None = None
    installation: str = "installation"
    comments: bool = False
    removes_comments: bool = False
    deployments: bool = False
    statuses: bool = False
    roles: Roles = field(default_factory=Roles)
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    lifetimes: Lifetimes = field(default_factory=Lifetimes)


class Core:
    """One control plane. It does nothing before `supervisor.run`."""

    def __init__(
        self,
        world: World,
        addresses: Addresses,
        applications: Applications,
        cast: Cast | None = None,
        conduct: Conduct | None = None,
        *,
        runner: Runner | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._world, self._cast, self._conduct = world, cast or Cast(), conduct or Conduct()
        self.addresses, self.applications = addresses, applications
        self.watch, self.metrics = Watch(), metrics or Metrics()
        self.failures = Failures()
        self._runner = runner or Runner(self.metrics)
        self._memory = Memory(world.store)
        self.publisher = Publisher(world.router, world.outposts)
        self.guards = self._guards()
        self._wishes = Wishes(addresses, world.clock, world.ids)
        self.handling = self._handling()
        self.builds = self._builds()
        self.making = self._making()
        self.steps = Steps(self._tools())
        self.room = self._room()
        self.audit = Audit(world.store, world.clock)
        self.tokens = Tokens(world.store, world.clock, world.ids, world.seal, self.audit)
        self.sessions = Sessions(
            world.store,
            world.clock,
            ids=world.ids,
            seal=world.seal,
            audit=self.audit,
            lifetimes=self._lifetimes(),
        )
        self.access = self._access()
        self.signing_in = self._signing_in()
        self.commands = self._commands()
        self.intake = self._intake()
        self.resync = Resync(world.store, world.forges, applications, self.intake, world.clock)
        self.supervisor = self._supervisor()
        self.calls = Calls(self._cast.listeners, self._runner)
        self.sharing = self._sharing()
        self._told = Errands(self.handling.launched)
        self.watch.listen(self._told.ask)
        self.reporter = self._reporter()

    def wake(self, environment: str) -> None:
        """Have a worker look at this environment."""
        self.supervisor.wake(environment)

    async def close(self) -> None:
        """Stop what goes on beside the workers; the supervisor is the caller's to stop."""
        await self._told.close()
        if self.reporter:
            await self.reporter.close()
        if self.builds:
            await self.builds.close()

    def _lifetimes(self) -> Lifetimes:
        """As configured, but no longer than what a strategy found out at a sign-in is good for."""
        by_strategy = {
            type(strategy).__name__: timedelta(seconds=most)
            for strategy in self._cast.authentication
            if (most := strategy.signed_in_for()) is not None
        }
        return replace(self._conduct.lifetimes, by_strategy=by_strategy)

    def _guards(self) -> Guards:
        return Guards(
            store=self._world.store,
            applications=self.applications,
            addresses=self.addresses,
            publisher=self.publisher,
            clock=self._world.clock,
            key=self._conduct.key,
        )

    def _handling(self) -> Handling:
        return Handling(
            self._world.store,
            self.addresses,
            self._runner,
            pre_launch=self._cast.pre_launch,
            post_launch=self._cast.post_launch,
            pre_kill=self._cast.pre_kill,
        )

    def _builds(self) -> Builds | None:
        shop = self._world.workshop
        return Builds(shop.sources, shop.builder, shop.logs, at_once=shop.at_once) if shop else None

    def _making(self) -> Making:
        world, shop = self._world, self._world.workshop
        return Making(
            memory=self._memory,
            store=world.store,
            images=world.images,
            clock=world.clock,
            forges=world.forges,
            sources=shop.sources if shop else None,
            builder=shop.builder if shop else None,
            builds=self.builds,
        )

    def _tools(self) -> Tools:
        world = self._world
        return Tools(
            memory=self._memory,
            making=self.making,
            instances=world.instances,
            prober=world.prober,
            publisher=self.publisher,
            guards=self.guards,
            addresses=self.addresses,
            applications=self.applications,
            watch=self.watch,
            clock=world.clock,
            metrics=self.metrics,
            handling=self.handling,
            failures=self.failures,
            firewall=world.firewall,
        )

    def _room(self) -> Room:
        return Room(
            store=self._world.store,
            wishes=self._wishes,
            addresses=self.addresses,
            watch=self.watch,
            wake=self.wake,
            runner=self._runner,
            limit=self._conduct.max_previews,
            strategy=self._cast.rotation,
        )

    def _access(self) -> Access:
        return Access(
            self._cast.authentication,
            applications=self.applications,
            audit=self.audit,
            tokens=self.tokens,
            sessions=self.sessions,
            tries=Tries(self._world.clock.now),
            roles=self._conduct.roles,
            runner=self._runner,
        )

    def _signing_in(self) -> SigningIn:
        logins = self._world.logins or CurrentLogins(None, lambda: "", self._world.clock.now)
        return SigningIn(
            self._cast.authentication,
            logins,
            sessions=self.sessions,
            access=self.access,
            audit=self.audit,
            clock=self._world.clock,
        )

    def _commands(self) -> Commands:
        return Commands(
            store=self._world.store,
            memory=self._memory,
            instances=self._world.instances,
            applications=self.applications,
            wishes=self._wishes,
            watch=self.watch,
            tell=self.steps.showing.tell,
            wake=self.wake,
            room=self.room,
            clock=self._world.clock,
            access=self.access,
            check_branch=self.making.check_branch,
        )

    def _intake(self) -> Intake:
        world, once = self._world, Once(self._world.store, self._world.clock)
        return Intake(
            store=world.store,
            webhooks=world.webhooks,
            forges=world.forges,
            listeners=self._cast.listeners,
            applications=self.applications,
            wishes=self._wishes,
            policy=Policy(world.forges),
            speaking=Speaking(
                world.store, world.forges, self.applications, self.commands, audit=self.audit, once=once
            ),
            once=once,
            watch=self.watch,
            wake=self.wake,
            clock=world.clock,
            metrics=self.metrics,
            runner=self._runner,
            room=self.room,
            merge_queue=MergeQueue(
                world.store, world.forges, self.applications, enabled=self._conduct.statuses
            ),
        )

    def _sharing(self) -> Sharing:
        return Sharing(
            store=self._world.store,
            commands=self.commands,
            access=self.access,
            guards=self.guards,
            clock=self._world.clock,
            ids=self._world.ids,
        )

    def _supervisor(self) -> Supervisor:
        world = self._world
        return Supervisor(
            store=world.store,
            instances=world.instances,
            router=world.router,
            publisher=self.publisher,
            guards=self.guards,
            steps=self.steps,
            intake=self.intake,
            resync=self.resync if world.forges else None,
            clock=world.clock,
            intervals=self._conduct.intervals,
            watch=self.watch,
            outposts=world.outposts,
            clear_away=self._clear_away if world.workshop else None,
            at_start=self._second_tries().begin,
            firewall=world.firewall,
        )

    def _second_tries(self) -> SecondTries:
        return SecondTries(self._world.store, self._wishes, self.applications, self._conduct.key)

    async def _clear_away(self) -> int:
        shop, builds = self._world.workshop, self.builds
        return await shop.sweep(self._world.store, builds.fresh()) if shop and builds else 0

    def _reporter(self) -> Reporter | None:
        """Who tells people in the forges' own places; None where nobody is told."""
        world, conduct = self._world, self._conduct
        parts = (world.store, world.forges, self.addresses)
        voices: dict[str, Voice] = {}
        if conduct.comments:
            removes = conduct.removes_comments
            voices["comment"] = Commenting(*parts, self.applications, conduct.installation, removes=removes)
        if conduct.deployments:
            voices["deployment"] = Deployments(*parts)
        if conduct.statuses:
            voices["status"] = Statuses(*parts)
        if not world.forges or not voices:
            return None
        reporter = Reporter(voices)
        self.watch.listen(reporter.changed)
        return reporter
