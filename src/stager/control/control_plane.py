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
from stager.control.builds.gc import BuildPorts
from stager.control.builds.images import ImageResolver
from stager.control.builds.queue import BuildQueue
from stager.control.coalescing_tasks import CoalescingTasks
from stager.control.environments.capacity import Capacity
from stager.control.environments.change_feed import ChangeFeed
from stager.control.environments.commands import Commands
from stager.control.environments.desired_state import DesiredState
from stager.control.environments.records import Records
from stager.control.environments.share_links import ShareLinks
from stager.control.identity.access import Access, Roles
from stager.control.identity.api_tokens import Tokens
from stager.control.identity.audit import Audit
from stager.control.identity.login_flows import LoginFlows
from stager.control.identity.sessions import Lifetimes, Sessions
from stager.control.identity.sign_in import SigningIn
from stager.control.identity.throttle import Throttle
from stager.control.metrics import Metrics
from stager.control.plugins.action_calls import ActionCalls
from stager.control.plugins.invoker import Invoker
from stager.control.plugins.lifecycle import Lifecycle
from stager.control.pull_requests.change_events import ChangeEvents
from stager.control.pull_requests.comment_commands import CommentCommands
from stager.control.pull_requests.current_changes import CurrentChanges
from stager.control.pull_requests.deduplication import Once
from stager.control.pull_requests.forges import Forges
from stager.control.pull_requests.inbox import Inbox
from stager.control.pull_requests.listeners import Listeners
from stager.control.pull_requests.merge_queue import MergeQueue
from stager.control.pull_requests.policy import Policy
from stager.control.pull_requests.resync import Resync
from stager.control.pull_requests.webhooks import EventHandlers, WebhookConsumer
from stager.control.reconciler.actions import Actions
from stager.control.reconciler.config_retries import ConfigRetries
from stager.control.reconciler.context import WorkerContext
from stager.control.reconciler.controller import Controller, Intervals
from stager.control.reconciler.unexpected_errors import UnexpectedErrors
from stager.control.reporting.deployments import CommitStatusSink, DeploymentSink
from stager.control.reporting.pr_comment import PullRequestCommentSink
from stager.control.reporting.reporter import Reporter, Sink
from stager.control.routing.edge_proxy import EdgeProxies
from stager.control.routing.route_table import Routes
from stager.control.routing.urls import Urls
from stager.control.routing.visitor_access import VisitorAccess
from stager.domain.environment import Environment
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
from stager.ports.secret_box import SecretBox
from stager.ports.store import Store


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports.

    Args:
        webhooks: who reads deliveries, by the forge that they are recorded under.
        forges: those that can be asked.
        build_ports: None where nothing is built.
        edge_proxies: what stands before the router.
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
    seal: SecretBox
    webhooks: Mapping[str, Webhooks] = field(default_factory=dict)
    forges: Forges = field(default_factory=Forges)
    build_ports: BuildPorts | None = None
    edge_proxies: EdgeProxies | None = None
    logins: LoginFlows | None = None
    firewall: Firewall | None = None


@dataclass(frozen=True, slots=True)
class PluginSet:
    """The handlers and strategies that the configuration names, each kind in its order."""

    listeners: Sequence[EventListener] = ()
    pre_launch: Sequence[PreLaunchHandler] = ()
    post_launch: Sequence[PostLaunchHandler] = ()
    pre_kill: Sequence[PreKillHandler] = ()
    authentication: Sequence[AuthenticationStrategy] = ()
    rotation: ContainerRotationStrategy | None = None


@dataclass(frozen=True, slots=True)
class Options:
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


class ControlPlane:
    """One control plane. It does nothing before `supervisor.run`."""

    def __init__(
        self,
        ports: Ports,
        addresses: Urls,
        applications: Applications,
        cast: PluginSet | None = None,
        options: Options | None = None,
        *,
        invoker: Invoker | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._ports, self._cast, self._options = ports, cast or PluginSet(), options or Options()
        self.addresses, self.applications = addresses, applications
        self.watch, self.metrics = ChangeFeed(), metrics or Metrics()
        self.failures = UnexpectedErrors()
        self._invoker = invoker or Invoker(self.metrics)
        self.handler_failures = self._invoker.failures
        self._memory = Records(ports.store)
        self.routes = Routes(ports.router, ports.edge_proxies)
        self.visitor_access = self._visitor_access()
        self._desired_state = DesiredState(addresses, ports.clock, ports.ids)
        self.lifecycle = self._lifecycle()
        self.builds = self._builds()
        self.image_resolver = self._image_resolver()
        self.steps = Actions(self._context())
        self.room = self._room()
        self.audit = Audit(ports.store, ports.clock)
        self.tokens = Tokens(ports.store, ports.clock, ports.ids, ports.seal, self.audit)
        self.sessions = Sessions(
            ports.store,
            ports.clock,
            ids=ports.ids,
            seal=ports.seal,
            audit=self.audit,
            lifetimes=self._lifetimes(),
        )
        self.access = self._access()
        self.signing_in = self._signing_in()
        self.commands = self._commands()
        self.change_events = self._change_events()
        self.webhook_consumer = self._webhook_consumer()
        self.resync = Resync(ports.store, ports.forges, applications, self.change_events, ports.clock)
        self.controller = self._controller()
        self.calls = ActionCalls(self._cast.listeners, self._invoker)
        self.share_links = self._share_links()
        self._told = CoalescingTasks(self.lifecycle.launched)
        self.watch.listen(self._told.ask)
        self.reporter = self._reporter()

    def wake(self, environment: str) -> None:
        """Have a worker look at this environment."""
        self.controller.wake(environment)

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
        return replace(self._options.lifetimes, by_strategy=by_strategy)

    def _visitor_access(self) -> VisitorAccess:
        return VisitorAccess(
            store=self._ports.store,
            applications=self.applications,
            addresses=self.addresses,
            routes=self.routes,
            clock=self._ports.clock,
            key=self._options.key,
        )

    def _lifecycle(self) -> Lifecycle:
        return Lifecycle(
            self._ports.store,
            self.addresses,
            self._invoker,
            pre_launch=self._cast.pre_launch,
            post_launch=self._cast.post_launch,
            pre_kill=self._cast.pre_kill,
        )

    def _builds(self) -> BuildQueue | None:
        shop = self._ports.build_ports
        return BuildQueue(shop.sources, shop.builder, shop.logs, at_once=shop.at_once) if shop else None

    def _image_resolver(self) -> ImageResolver:
        ports, shop = self._ports, self._ports.build_ports
        return ImageResolver(
            memory=self._memory,
            store=ports.store,
            images=ports.images,
            clock=ports.clock,
            forges=ports.forges,
            sources=shop.sources if shop else None,
            builder=shop.builder if shop else None,
            builds=self.builds,
        )

    def _context(self) -> WorkerContext:
        ports = self._ports
        return WorkerContext(
            records=self._memory,
            image_resolver=self.image_resolver,
            instances=ports.instances,
            prober=ports.prober,
            routes=self.routes,
            visitor_access=self.visitor_access,
            urls=self.addresses,
            applications=self.applications,
            change_feed=self.watch,
            clock=ports.clock,
            metrics=self.metrics,
            lifecycle=self.lifecycle,
            unexpected_errors=self.failures,
            firewall=ports.firewall,
        )

    def _room(self) -> Capacity:
        return Capacity(
            store=self._ports.store,
            desired_state=self._desired_state,
            addresses=self.addresses,
            watch=self.watch,
            wake=self.wake,
            invoker=self._invoker,
            limit=self._options.max_previews,
            strategy=self._cast.rotation,
        )

    def _access(self) -> Access:
        return Access(
            self._cast.authentication,
            applications=self.applications,
            audit=self.audit,
            tokens=self.tokens,
            sessions=self.sessions,
            throttle=Throttle(self._ports.clock.now),
            roles=self._options.roles,
            invoker=self._invoker,
        )

    def _signing_in(self) -> SigningIn:
        logins = self._ports.logins or LoginFlows(None, lambda: "", self._ports.clock.now)
        return SigningIn(
            self._cast.authentication,
            logins,
            sessions=self.sessions,
            access=self.access,
            audit=self.audit,
            clock=self._ports.clock,
        )

    def _commands(self) -> Commands:
        return Commands(
            store=self._ports.store,
            memory=self._memory,
            instances=self._ports.instances,
            applications=self.applications,
            desired_state=self._desired_state,
            watch=self.watch,
            tell=self.steps.status_page.update,
            wake=self.wake,
            room=self.room,
            clock=self._ports.clock,
            access=self.access,
            check_branch=self.image_resolver.check_branch,
        )

    def _change_events(self) -> ChangeEvents:
        return ChangeEvents(
            self._ports.store,
            self.applications,
            self._desired_state,
            Policy(self._ports.forges),
            Listeners(self._cast.listeners, self._invoker),
            changed=self._changed,
        )

    async def _changed(self, environment: Environment) -> None:
        if environment.desired.should_run:
            await self.room.make(environment)
        self.watch.changed(environment.id)
        self.wake(environment.id)

    def _webhook_consumer(self) -> WebhookConsumer:
        ports, once = self._ports, Once(self._ports.store, self._ports.clock)
        comment_commands = CommentCommands(
            ports.store, ports.forges, self.applications, self.commands, audit=self.audit, once=once
        )
        merge_queue = MergeQueue(ports.store, ports.forges, self.applications, enabled=self._options.statuses)
        return WebhookConsumer(
            ports.store,
            Inbox(ports.store, ports.clock, self.metrics),
            ports.webhooks,
            EventHandlers(self.change_events, comment_commands, merge_queue),
            current=CurrentChanges(ports.forges, ports.clock),
            once=once,
        )

    def _share_links(self) -> ShareLinks:
        return ShareLinks(
            store=self._ports.store,
            commands=self.commands,
            access=self.access,
            visitor_access=self.visitor_access,
            clock=self._ports.clock,
            ids=self._ports.ids,
        )

    def _controller(self) -> Controller:
        ports = self._ports
        return Controller(
            store=ports.store,
            instances=ports.instances,
            router=ports.router,
            routes=self.routes,
            visitor_access=self.visitor_access,
            steps=self.steps,
            webhook_consumer=self.webhook_consumer,
            resync=self.resync if ports.forges else None,
            clock=ports.clock,
            intervals=self._options.intervals,
            watch=self.watch,
            edge_proxies=ports.edge_proxies,
            clear_away=self._clear_away if ports.build_ports else None,
            at_start=self._second_tries().begin,
            firewall=ports.firewall,
        )

    def _second_tries(self) -> ConfigRetries:
        return ConfigRetries(self._ports.store, self._desired_state, self.applications, self._options.key)

    async def _clear_away(self) -> int:
        shop, builds = self._ports.build_ports, self.builds
        return await shop.sweep(self._ports.store, builds.fresh()) if shop and builds else 0

    def _reporter(self) -> Reporter | None:
        """Who tells people in the forges' own places; None where nobody is told."""
        ports, options = self._ports, self._options
        parts = (ports.store, ports.forges, self.addresses)
        sinks: dict[str, Sink] = {}
        if options.comments:
            removes = options.removes_comments
            sinks["comment"] = PullRequestCommentSink(
                *parts, self.applications, options.installation, removes=removes
            )
        if options.deployments:
            sinks["deployment"] = DeploymentSink(*parts)
        if options.statuses:
            sinks["status"] = CommitStatusSink(*parts)
        if not ports.forges or not sinks:
            return None
        reporter = Reporter(sinks)
        self.watch.listen(reporter.changed)
        return reporter
