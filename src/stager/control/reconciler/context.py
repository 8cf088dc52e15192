"""What actions work with: the parts of the control plane, and the observed state of an environment."""

from __future__ import annotations

from dataclasses import dataclass

from stager.control.builds.images import ImageResolver
from stager.control.diagnostics import UnexpectedErrors
from stager.control.environments.change_feed import ChangeFeed
from stager.control.environments.records import Records
from stager.control.metrics import Metrics
from stager.control.plugins.lifecycle import Lifecycle
from stager.control.routing.route_table import Routes
from stager.control.routing.urls import Urls
from stager.control.routing.visitor_access import VisitorAccess
from stager.domain.application import Application, Applications
from stager.domain.deployment import Deployment
from stager.domain.environment import WEB_SERVICE, Environment, Observed
from stager.domain.errors import Fault, StagerError
from stager.domain.route import Endpoint
from stager.ports.clock import Clock
from stager.ports.engine import Instances, Prober
from stager.ports.firewall import Firewall


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """The ports and the parts of the control plane that actions use."""

    records: Records
    image_resolver: ImageResolver
    instances: Instances
    prober: Prober
    routes: Routes
    visitor_access: VisitorAccess
    urls: Urls
    applications: Applications
    change_feed: ChangeFeed
    clock: Clock
    metrics: Metrics
    lifecycle: Lifecycle
    unexpected_errors: UnexpectedErrors
    firewall: Firewall | None = None

    def warnings(self, environment: Environment) -> tuple[str, ...]:
        """The warnings that are shown with an environment in every state."""
        return self.applications.warnings(environment.app, environment.desired.trust)

    def application(self, environment: Environment, deployment: Deployment | None = None) -> Application:
        """The application of an environment; with the settings of the deployment's `.stager.yml`, if given.

        Raises:
            Fault: `application-removed`: it isn't in the configuration any more.
        """
        try:
            found = self.applications.get(environment.app)
        except StagerError as error:
            raise Fault(
                f'"{environment.app}" is no longer under `images:` in the configuration.',
                hint="Put it back, or kill this environment.",
                reason="application-removed",
            ) from error
        return found.with_manifest(deployment.manifest) if deployment else found


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
        services=dict.fromkeys(generations, (WEB_SERVICE,)),
    )
    return ObservedState(environment, deployments, observed)
