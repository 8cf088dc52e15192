"""What actions work with: the parts of the control plane, and the observed state of an environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stager.control.builds.images import ImageResolver
from stager.control.bursts import Burst
from stager.control.diagnostics import UnexpectedErrors
from stager.control.environments.change_feed import ChangeFeed
from stager.control.environments.records import Records
from stager.control.external.resources import ExternalResources
from stager.control.metrics import Metrics
from stager.control.plugins.lifecycle import Lifecycle
from stager.control.routing.route_table import Routes
from stager.control.routing.urls import Urls
from stager.control.routing.visitor_access import VisitorAccess
from stager.domain.application import Application, Applications
from stager.domain.deployment import Deployment
from stager.domain.environment import WEB_SERVICE, Environment, Instance, Service
from stager.domain.errors import Fault, StagerError
from stager.domain.generation import Generation
from stager.domain.observed import Observed
from stager.domain.route import Endpoint
from stager.ports.clock import Clock
from stager.ports.engine import Instances, Power, Prober
from stager.ports.firewall import Firewall


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """The ports and the parts of the control plane that actions use.

    Args:
        key: of the installation; generated secrets are derived from it.
        burst: of deliveries; no action begins and no instance starts during one.
    """

    records: Records
    image_resolver: ImageResolver
    instances: Instances
    power: Power
    prober: Prober
    routes: Routes
    visitor_access: VisitorAccess
    urls: Urls
    applications: Applications
    change_feed: ChangeFeed
    clock: Clock
    metrics: Metrics
    lifecycle: Lifecycle
    external: ExternalResources
    unexpected_errors: UnexpectedErrors
    key: bytes = field(repr=False)
    burst: Burst
    firewall: Firewall | None = None

    def warnings(self, environment: Environment, deployment: Deployment | None) -> tuple[str, ...]:
        """The warnings that are shown with an environment in every state."""
        services = deployment.specs if deployment else ()
        return self.applications.warnings(environment.app, environment.desired.trust, services)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedState(Observed):
    """The observed state of an environment: what the plan needs, and what actions need besides.

    Args:
        deployments: of the desired generation and of those that have or reach instances, by generation.
        hosts: the environment's hosts, by the name of the service as in `published`.
    """

    environment: Environment
    deployments: Mapping[int, Deployment]
    hosts: Mapping[str, str]

    @property
    def current(self) -> Deployment | None:
        """The deployment of the desired generation."""
        return self.deployments.get(self.environment.desired.generation)

    @property
    def serving_generation(self) -> int | None:
        """The generation that the front sends requests to; the newest if there are several."""
        numbers = {instance.generation for instance in self.instances}
        found = (Generation.of(self, number, self.environment.desired) for number in numbers)
        return max((g.number for g in found if g.is_serving), default=None)


async def observe(environment_id: str, context: WorkerContext) -> ObservedState | None:
    """Read an environment from the store, its instances from the engine and its routes from the route table.
    Returns None if there is no such environment.

    Raises:
        Retry: the engine doesn't answer.
    """
    environment = await context.records.environment(environment_id)
    if environment is None:
        return None
    instances = await context.instances.find(environment_id)
    desired = environment.desired.generation
    reached = {number for i in instances for number in (i.generation, *i.generations)}
    deployments, hosts = await context.records.generations(environment, {desired, desired - 1, *reached})
    services = {n: tuple(s.planned for s in d.services) for n, d in deployments.items() if d.services}
    named = {_name_of(host, service, instances, services, context): host for host, service in hosts.items()}
    targets = {name: context.routes.table.routes.get(host) for name, host in named.items()}
    return ObservedState(
        environment=environment,
        deployments=deployments,
        hosts=named,
        instances=tuple(instances),
        published={name: target for name, target in targets.items() if isinstance(target, Endpoint)},
        attempts=tuple(d.attempt for d in deployments.values()),
        services=services,
        asleep_runs=environment.asleep_runs,
    )


def _name_of(
    host: str,
    service: str,
    instances: Iterable[Instance],
    services: Mapping[int, tuple[Service, ...]],
    context: WorkerContext,
) -> str:
    """The name of the service at a host. The main one, which may have different names in different
    generations, has that of the instance to which its host leads."""
    if service:
        return service
    target = context.routes.table.routes.get(host)
    at_host = (i.service for i in instances if i.endpoint is not None and i.endpoint == target)
    newest = services[max(services)] if services else (WEB_SERVICE,)
    main = (each.name for each in newest if each.is_main)
    return next(at_host, next(main, WEB_SERVICE.name))
