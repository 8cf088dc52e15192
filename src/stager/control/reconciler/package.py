"""The parts that bring environments into their desired state, composed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from stager.control.builds.package import Builds
from stager.control.bursts import Burst
from stager.control.diagnostics import Readiness, UnexpectedErrors
from stager.control.environments.package import Environments
from stager.control.external.resources import ExternalResources
from stager.control.loops import Loop
from stager.control.metrics import Metrics
from stager.control.plugins.package import Plugins
from stager.control.ports import Ports
from stager.control.reconciler.actions import Actions
from stager.control.reconciler.config_retries import ConfigRetries
from stager.control.reconciler.context import WorkerContext
from stager.control.reconciler.controller import Controller
from stager.control.reconciler.front_events import FrontEvents
from stager.control.reconciler.full_reconciliation import FullReconciliation
from stager.control.reconciler.retention import Retention
from stager.control.reconciler.worker import Workers
from stager.control.routing.package import Routing
from stager.domain.application import Applications

RETENTION_INTERVAL = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ReconcilerOptions:
    """How often everything is reconciled, what defers it, and how long records are kept.

    Args:
        interval: between two full reconciliations.
        keep_gone: how long records of removed environments are kept.
        key: of the digests by which changes of the configuration are detected, and of generated secrets.
        burst: of deliveries, which defers the reconciliation.
    """

    interval: timedelta
    keep_gone: timedelta
    key: bytes
    burst: Burst


class Reconciler:
    """The workers, the full reconciliation and the loops that trigger both."""

    def __init__(  # noqa: PLR0913, PLR0917 (the packages below, and what they share)
        self,
        ports: Ports,
        applications: Applications,
        metrics: Metrics,
        routing: Routing,
        plugins: Plugins,
        environments: Environments,
        builds: Builds,
        external: ExternalResources,
        options: ReconcilerOptions,
    ) -> None:
        self._interval, self._metrics = options.interval, metrics
        self.readiness, self.unexpected_errors = Readiness(), UnexpectedErrors()
        self.actions = Actions(
            WorkerContext(
                records=environments.records,
                image_resolver=builds.images,
                instances=ports.instances,
                power=ports.power,
                prober=ports.prober,
                routes=routing.routes,
                visitor_access=routing.visitor_access,
                urls=routing.urls,
                applications=applications,
                change_feed=environments.change_feed,
                clock=ports.clock,
                metrics=metrics,
                lifecycle=plugins.lifecycle,
                external=external,
                unexpected_errors=self.unexpected_errors,
                key=options.key,
                burst=options.burst,
                firewall=ports.firewall,
            )
        )
        self.workers = Workers(self.actions)
        self._front_events = FrontEvents(
            ports, routing.routes, environments, self.readiness, self.workers.wake
        )
        self._full = FullReconciliation(
            ports,
            routing,
            environments.change_feed,
            self.readiness,
            self.workers,
            self._front_events,
            ConfigRetries(ports.store, environments.desired_state, applications, options.key),
        )
        self._retention = Retention(ports.store, ports.clock, options.keep_gone)

    async def reconcile_all(self) -> None:
        """Run a full reconciliation now. Raises `Retry` while the engine or the front doesn't answer."""
        await self._full.run()

    def controller(self, contributed: Sequence[Loop]) -> Controller:
        """The controller over this package's loops and those of other packages."""
        return Controller([*self._loops(), *contributed], self.workers, self.readiness, self._full.adopted)

    def _loops(self) -> list[Loop]:
        return [
            Loop("engine events", self._full.follow_engine),
            Loop("front events", self._front_events.follow),
            Loop("full reconciliation", self._reconcile, self._interval),
            Loop("retention", self._retention.delete_old, RETENTION_INTERVAL),
        ]

    async def _reconcile(self) -> None:
        with self._metrics.reconciling():
            await self._full.run()
