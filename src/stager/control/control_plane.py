"""The composition root of the control plane: its packages, built from ports, plugins and options.

`assembly` builds one over the real drivers; `stager.testing` builds one over fakes, for plugin authors and
for our own tests.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from stager.control.builds.package import Builds
from stager.control.cleanup import Cleanup
from stager.control.data.package import Snapshotting
from stager.control.environments.capacity import CapacityOptions
from stager.control.environments.package import Callbacks, Environments
from stager.control.external.resources import ExternalResources
from stager.control.identity.login_flows import LoginFlows
from stager.control.identity.package import Identity, IdentityOptions
from stager.control.loops import Loop
from stager.control.metrics import Metrics
from stager.control.pictures.package import Pictures
from stager.control.plugins.invoker import HANDLER_SECONDS
from stager.control.plugins.package import Plugins, PluginSet
from stager.control.ports import Ports
from stager.control.power.package import loops_of
from stager.control.pull_requests.package import PullRequests
from stager.control.reconciler.package import Reconciler, ReconcilerOptions
from stager.control.reporting.package import Reporting, ReportOptions
from stager.control.routing.package import Routing
from stager.control.routing.urls import Urls
from stager.domain.application import Application, Applications
from stager.domain.environment import Environment


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often loops run, and how long records of removed environments are kept."""

    full_reconciliation: timedelta = timedelta(minutes=1)
    resync: timedelta = timedelta(minutes=5)
    keep_gone: timedelta = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Options:
    """The configuration, apart from applications and plugins.

    Args:
        ingress_ports: the loopback ports for the edge proxy.
        plugin_timeout: seconds that one call of a plugin may take.
        key: signs visitor cookies and share links; the front has the same key.
    """

    intervals: Intervals = field(default_factory=Intervals)
    capacity: CapacityOptions = field(default_factory=CapacityOptions)
    ingress_ports: Sequence[int] = ()
    plugin_timeout: float = HANDLER_SECONDS
    reports: ReportOptions = field(default_factory=ReportOptions)
    identity: IdentityOptions = field(default_factory=IdentityOptions)
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)


class ControlPlane:
    """Records desired state and reconciles actual state with it. Nothing runs before `controller.run`.

    Args:
        plugins: the configured handlers and strategies.
        logins: sign-ins in progress, which the strategies in `plugins` share; None without a provider.
    """

    def __init__(
        self,
        ports: Ports,
        urls: Urls,
        applications: Applications,
        plugins: PluginSet | None = None,
        options: Options | None = None,
        logins: LoginFlows | None = None,
    ) -> None:
        configured, options = plugins or PluginSet(), options or Options()
        self.ports, self.applications, self.metrics = ports, applications, Metrics()
        self.routing = Routing(
            ports, urls, applications, key=options.key, ingress_ports=options.ingress_ports
        )
        self.plugins = Plugins(ports, urls, configured, self.metrics, timeout=options.plugin_timeout)
        self.identity = Identity(
            ports, applications, configured.authentication, self.plugins.invoker, logins, options.identity
        )
        self.environments = Environments(
            ports,
            applications,
            self.routing,
            self.plugins,
            self.identity,
            Callbacks(self._wake, self._show, self._check_branch, self._mask),
            options.capacity,
        )
        self.builds = Builds(ports, self.environments.records)
        self.external = ExternalResources(
            ports, applications, self.routing.urls, self.environments.change_feed
        )
        self.pull_requests = PullRequests(
            ports,
            applications,
            self.metrics,
            self.plugins,
            self.environments,
            self.identity,
            statuses=options.reports.statuses,
        )
        self.reconciler = self._reconciler(options)
        self.data = Snapshotting(
            ports, applications, self.identity, self.environments, self.reconciler, options.key
        )
        self.pictures = Pictures(
            ports,
            self.routing,
            self.environments.queries,
            self.environments.change_feed.changed,
            options.key,
        )
        self.cleanup = Cleanup(ports, self.identity.authorizer, self.builds, self.reconciler)
        self.reporting = Reporting(ports, urls, applications, options.reports, self.pictures.links)
        self.environments.change_feed.listen(self.plugins.post_launch.request)
        if self.pictures.rounds:
            self.environments.change_feed.listen(self.pictures.rounds.changed)
        if self.reporting.reporter:
            self.environments.change_feed.listen(self.reporting.reporter.changed)
        self.controller = self.reconciler.controller(self._loops(options.intervals))

    def _reconciler(self, options: Options) -> Reconciler:
        intervals = options.intervals
        return Reconciler(
            self.ports,
            self.applications,
            self.metrics,
            self.routing,
            self.plugins,
            self.environments,
            self.builds,
            self.external,
            ReconcilerOptions(
                intervals.full_reconciliation,
                intervals.keep_gone,
                options.key,
                self.pull_requests.inbox.burst,
            ),
        )

    def _loops(self, intervals: Intervals) -> list[Loop]:
        return [
            *self.environments.loops(),
            *self.environments.capacity.loops(),
            *loops_of(self.ports, self.applications, self.environments.power),
            *self.builds.loops(),
            *self.external.loops(),
            *self.routing.loops(self.reconciler.readiness),
            *self.pull_requests.loops(intervals.resync),
            *self.data.loops(),
            *self.pictures.loops(),
        ]

    # The packages below call back through these, because the reconciler and builds are composed after them.

    def _wake(self, environment_id: str) -> None:
        self.reconciler.workers.wake(environment_id)

    async def _show(self, environment_id: str) -> None:
        await self.reconciler.actions.status_page.update(environment_id)

    async def _check_branch(self, application: Application, name: str) -> None:
        await self.builds.code.check_branch(application, name)

    async def _mask(self, environment: Environment, text: str) -> str:
        return (await self.reconciler.actions.masks.of_all(environment))(text)

    async def close(self) -> None:
        """Cancel background work outside the loops. The caller cancels `controller.run`."""
        await self.data.close()
        await self.plugins.close()
        await self.reporting.close()
        await self.builds.close()
        await self.external.close()
        await self.routing.close()
