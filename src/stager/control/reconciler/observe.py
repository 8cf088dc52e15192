"""One look at an environment: as it is remembered, and as it is. Plans are made by it."""

from __future__ import annotations

from dataclasses import dataclass

from stager.control.reconciler.context import WorkerContext
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment, Observed
from stager.domain.route import Endpoint


@dataclass(frozen=True, slots=True)
class ObservedState:
    """What was seen."""

    environment: Environment
    deployments: dict[int, Deployment]
    observed: Observed

    @property
    def current(self) -> Deployment | None:
        """The deployment of the desired generation."""
        return self.deployments.get(self.environment.desired.generation)


async def look_at(environment_id: str, context: WorkerContext) -> ObservedState | None:
    """The environment as it is remembered and as it is; None when nobody knows it.

    Raises:
        Retry: the engine doesn't answer.
    """
    environment = await context.memory.environment(environment_id)
    if environment is None:
        return None
    instances = await context.instances.find(environment_id)
    generations = {environment.desired.generation, *(i.generation for i in instances)}
    deployments = await context.memory.deployments(environment, generations)
    target = context.routes.table.routes.get(environment.host)
    if not await context.memory.has_its_host(environment):
        target = None  # it is gone, and the route is the next bearer's
    observed = Observed(
        instances=tuple(instances),
        published=target if isinstance(target, Endpoint) else None,
        attempts=tuple(d.attempt for d in deployments.values()),
    )
    return ObservedState(environment, deployments, observed)
