"""The state of each service of a deployment, derived from the stored attempt."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stager.domain.deployment import DeployedService, Deployment
from stager.domain.environment import Environment
from stager.domain.errors import Outcome
from stager.domain.service import Condition


class ServiceState(StrEnum):
    """A service's state in one word."""

    WAITING = "waiting"
    """Another service that it depends on isn't ready."""
    STARTING = "starting"
    HEALTHY = "healthy"
    COMPLETED = "completed"
    """A job that exited with 0."""
    RESTARTING = "restarting"
    """It failed, and is tried again."""
    FAILED = "failed"
    """It failed, and isn't tried again before the next deployment."""
    STOPPED = "stopped"
    ASLEEP = "asleep"
    """The preview sleeps, and the service with it."""


UNREADY = frozenset({ServiceState.STARTING, ServiceState.RESTARTING})
"""The states of services that others wait for."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A service with its state.

    Args:
        failure: its latest failure, if it isn't healthy since.
        is_reused: whether its instance was created for an earlier deployment, with the same inputs.
    """

    service: DeployedService
    state: ServiceState
    failure: Outcome | None = None
    is_reused: bool = False


def service_statuses(
    environment: Environment, deployment: Deployment, earlier: Deployment | None = None
) -> tuple[ServiceStatus, ...]:
    """Return the services of a deployment with their states, in the declared order.

    Args:
        earlier: the deployment before it that was prepared.
    """
    return tuple(_status(environment, deployment, service, earlier) for service in deployment.services)


def _status(
    environment: Environment, deployment: Deployment, service: DeployedService, earlier: Deployment | None
) -> ServiceStatus:
    failure = failure_of(deployment, service)
    state = _state(environment, deployment, service, failure)
    return ServiceStatus(service, state, failure, _is_reused(deployment, service, earlier))


def failure_of(deployment: Deployment, service: DeployedService) -> Outcome | None:
    """The latest failure of a service that isn't healthy since. That of the whole deployment, such as of its
    build, counts as the main service's."""
    if service.is_main:
        return deployment.attempt.own_outcome
    failed = deployment.attempt.failed_services.get(service.name)
    return failed.outcome if failed else None


def _state(
    environment: Environment, deployment: Deployment, service: DeployedService, failure: Outcome | None
) -> ServiceState:
    attempt = deployment.attempt
    is_ready = service.name in attempt.healthy_runs
    if service.spec.is_job and is_ready and failure is None:
        return ServiceState.COMPLETED
    if not environment.desired.keeps_instances:
        return ServiceState.STOPPED
    if failure is not None:
        failed = attempt.failed_services.get(service.name)
        is_final = attempt.final or (failed is not None and failed.final)
        return ServiceState.FAILED if is_final else ServiceState.RESTARTING
    if attempt.final:
        return ServiceState.STOPPED
    if is_ready:
        return ServiceState.ASLEEP if environment.desired.is_asleep else ServiceState.HEALTHY
    return ServiceState.WAITING if _waits(deployment, service) else ServiceState.STARTING


def _waits(deployment: Deployment, service: DeployedService) -> bool:
    """Whether a service that it depends on isn't ready. One that only must have been started isn't waited
    for long."""
    ready = deployment.attempt.healthy_runs
    return any(
        name not in ready
        for name, condition in service.spec.depends_on.items()
        if condition is not Condition.STARTED
    )


def _is_reused(deployment: Deployment, service: DeployedService, earlier: Deployment | None) -> bool:
    if earlier is None or not service.is_kept:
        return False
    runs = (each.attempt.healthy_runs.get(service.name, "") for each in (deployment, earlier))
    now, before = (run.partition("@")[0] for run in runs)
    return now == before != ""
