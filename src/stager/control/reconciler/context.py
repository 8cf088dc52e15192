"""The dependencies of all workers."""

from __future__ import annotations

from dataclasses import dataclass

from stager.control.builds.images import ImageResolver
from stager.control.environments.change_feed import ChangeFeed
from stager.control.environments.records import Records
from stager.control.metrics import Metrics
from stager.control.plugins.lifecycle import Lifecycle
from stager.control.reconciler.unexpected_errors import UnexpectedErrors
from stager.control.routing.route_table import Routes
from stager.control.routing.urls import Urls
from stager.control.routing.visitor_access import VisitorAccess
from stager.domain.application import Application, Applications
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.errors import Fault, StagerError
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
