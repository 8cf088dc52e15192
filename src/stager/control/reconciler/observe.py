"""Reads the state of an environment that its worker plans by."""

from __future__ import annotations

from dataclasses import dataclass

from stager.control.reconciler.context import WorkerContext
from stager.domain.deployment import Deployment
from stager.domain.environment import WEB_SERVICE, Environment, Observed
from stager.domain.route import Endpoint


@dataclass(frozen=True, slots=True)
class ObservedState:
    """An environment with its observed state.

    Args:
        deployments: of the desired generation and of those that have instances, by generation.
    """

    environment: Environment
    deployments: dict[int, Deployment]
    observed: Observed

    @property
    def current(self) -> Deployment | None:
        """The deployment of the desired generation."""
        return self.deployments.get(self.environment.desired.generation)

    @property
    def serving_generation(self) -> int | None:
        """The generation that the front sends requests to; the newest if there are several."""
        return max((i.generation for i in self.observed.serving), default=None)


async def observe(environment_id: str, context: WorkerContext) -> ObservedState | None:
    """Read an environment from the store, its instances from the engine and its route from the route table.
    Returns None if there is no such environment.

    Raises:
        Retry: the engine doesn't answer.
    """
    environment = await context.records.environment(environment_id)
    if environment is None:
        return None
    instances = await context.instances.find(environment_id)
    generations = {environment.desired.generation, *(i.generation for i in instances)}
    deployments = await context.records.deployments(environment, generations)
    target = context.routes.table.routes.get(environment.host)
    if not await context.records.has_its_host(environment):
        target = None  # the environment is gone, and the host belongs to another one
    observed = Observed(
        instances=tuple(instances),
        published={WEB_SERVICE.name: target} if isinstance(target, Endpoint) else {},
        attempts=tuple(d.attempt for d in deployments.values()),
    )
    return ObservedState(environment, deployments, observed)
