"""Metrics for Prometheus, in a registry of their own, so that a process can have two control planes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, Summary, generate_latest

from stager.ports.forge import RateLimit

SECONDS = (0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)


class Metrics:
    """Counters and gauges of the control plane."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._deployments = Counter(
            "stager_deployments_total", "Deployments that ended.", ["app", "outcome"], registry=self.registry
        )
        self._live_after = Histogram(
            "stager_deployment_seconds",
            "Time from the request of a deployment until it serves.",
            ["app"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._deliveries = Counter(
            "stager_deliveries_total", "Webhook deliveries.", ["outcome"], registry=self.registry
        )
        self._handler_failures = Counter(
            "stager_handler_failures_total",
            "Calls of handlers that failed or timed out.",
            ["handler"],
            registry=self.registry,
        )
        self._environments = Gauge(
            "stager_environments", "Environments by state.", ["state"], registry=self.registry
        )
        self._degraded = Gauge(
            "stager_degraded_environments",
            "Live environments with a service that isn't healthy.",
            ["app"],
            registry=self.registry,
        )
        self._restarts = Counter(
            "stager_service_restarts_total",
            "Restarts of instances that ended; `service` is empty for those that the configuration doesn't"
            " name.",
            ["app", "service"],
            registry=self.registry,
        )
        self._forge_limit = Gauge(
            "stager_forge_requests",
            "Rate limit of a forge's API: the limit, the remaining requests, and when it resets.",
            ["forge", "figure"],
            registry=self.registry,
        )
        self._reconciliation = Summary(
            "stager_reconciliation_seconds", "Time of a full reconciliation.", registry=self.registry
        )
        self._front = Gauge(
            "stager_front", "Counters and gauges of the front.", ["figure"], registry=self.registry
        )

    def live(self, app: str, after: timedelta) -> None:
        """Count a deployment that serves for the first time."""
        self._deployments.labels(app, "live").inc()
        self._live_after.labels(app).observe(after.total_seconds())

    def failed(self, app: str, reason: str) -> None:
        """Count a deployment that has failed finally."""
        self._deployments.labels(app, reason).inc()

    def delivery(self, outcome: str) -> None:
        """Count a delivery that was accepted, rejected or repeated."""
        self._deliveries.labels(outcome).inc()

    def handler_failed(self, handler: str) -> None:
        """Count a call of a handler that failed or timed out."""
        self._handler_failures.labels(handler).inc()

    def environments(self, by_state: dict[str, int]) -> None:
        """Set the number of environments in each state."""
        self._environments.clear()
        for state, count in by_state.items():
            self._environments.labels(state).set(count)

    def degraded(self, by_app: Mapping[str, int]) -> None:
        """Set the number of degraded environments of each application that has any."""
        self._degraded.clear()
        for app, count in by_app.items():
            self._degraded.labels(app).set(count)

    def restarted(self, app: str, service: str) -> None:
        """Count a restart of an instance that ended.

        Args:
            service: its name if the configuration has it, else empty: a repository may choose any name, and
                each would be another time series.
        """
        self._restarts.labels(app, service).inc()

    def reconciling(self) -> AbstractContextManager[object]:
        """Measure the time of a full reconciliation, which the block is."""
        return self._reconciliation.time()

    def forge_limit(self, forge: str, limit: RateLimit) -> None:
        """Set the rate limit that a forge has reported last."""
        self._forge_limit.labels(forge, "limit").set(limit.limit)
        self._forge_limit.labels(forge, "remaining").set(limit.remaining)
        self._forge_limit.labels(forge, "resets_at").set(limit.resets_at.timestamp())

    def front(self, figures: Mapping[str, object]) -> None:
        """Set the front's figures; the names of nested ones are joined by an underscore."""
        self._front.clear()
        for name, value in _flat(figures):
            self._front.labels(name).set(value)

    def text(self, apps: Collection[str] | None = None) -> bytes:
        """All metrics in Prometheus' text format.

        Args:
            apps: include only these applications; None: all.
        """
        if apps is None:
            return generate_latest(self.registry)
        return generate_latest(cast("CollectorRegistry", _Of(self.registry, apps)))


class _Of:
    """A registry that hides the samples of other applications."""

    def __init__(self, registry: CollectorRegistry, apps: Collection[str]) -> None:
        self._registry = registry
        self._apps = apps

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [s for s in metric.samples if s.labels.get("app") in (None, *self._apps)]
            yield metric


def _flat(figures: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}_")
        elif isinstance(value, int | float):
            yield f"{prefix}{name}", float(value)
