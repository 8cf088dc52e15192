"""What an environment's worker takes its steps with; one set for all environments."""

from __future__ import annotations

from dataclasses import dataclass

from stager.control.addresses import Addresses
from stager.control.applications import Application, Applications
from stager.control.failures import Failures
from stager.control.guards import Guards
from stager.control.handling import Handling
from stager.control.making import Making
from stager.control.memory import Memory
from stager.control.metrics import Metrics
from stager.control.publisher import Publisher
from stager.control.watch import Watch
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.errors import Fault, StagerError
from stager.ports.clock import Clock
from stager.ports.engine import Instances, Prober
from stager.ports.firewall import Firewall


@dataclass(frozen=True, slots=True)
class Tools:
    """The ports, and those parts of control that steps call."""

    memory: Memory
    making: Making
    instances: Instances
    prober: Prober
    publisher: Publisher
    guards: Guards
    addresses: Addresses
    applications: Applications
    watch: Watch
    clock: Clock
    metrics: Metrics
    handling: Handling
    failures: Failures
    firewall: Firewall | None = None

    def warnings(self, environment: Environment) -> tuple[str, ...]:
        """What people should know of an environment, whatever state it is in."""
        return self.applications.warnings(environment.app, environment.desired.trust)

    def application(self, environment: Environment, deployment: Deployment | None = None) -> Application:
        """What an environment is made of; as its repository's own file had it, where a deployment is given.

        Raises:
            Fault: `application-removed`: it is no longer in the configuration.
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
