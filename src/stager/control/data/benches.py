"""What services on a workbench are created from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stager.control.reconciler.instance_specs import spec_of
from stager.control.reconciler.variables import Launch, secret_of
from stager.domain.application import Application
from stager.domain.attempt import Attempt
from stager.domain.deployment import DeployedService, Deployment
from stager.domain.environment import Desired, Environment, EnvironmentKey, RunState
from stager.domain.service import ServiceCheck, generated_names, with_generated
from stager.domain.snapshot import Snapshot
from stager.domain.source import Revision
from stager.domain.text import masking
from stager.ports.engine import InstanceSpec


@dataclass(frozen=True, slots=True)
class BenchService:
    """A service on the workbench of a snapshot.

    Args:
        owner: the id from which its generated secrets are derived.
        key: of the installation.
    """

    snapshot: Snapshot
    application: Application
    service: DeployedService
    owner: str
    key: bytes

    @property
    def spec(self) -> InstanceSpec:
        """What its instance is created from: the service alone, on the workbench's volumes."""
        snapshot = self.snapshot
        alone = replace(
            self.service,
            spec=replace(self.service.spec, depends_on={}),
            fresh_volumes=frozenset(),
            clones={},
            secrets_of="",
            volume_epoch=0,
            host="",
            is_kept=False,
        )
        environment = Environment(
            id=self.owner,
            key=EnvironmentKey.of_snapshot(snapshot.app, snapshot.id),
            name=snapshot.title,
            host="",
            desired=Desired(RunState.RUNNING, 1),
            created_at=snapshot.created_at,
            updated_at=snapshot.created_at,
        )
        deployment = Deployment(
            id=snapshot.id,
            environment_id=self.owner,
            revision=Revision(),
            attempt=Attempt(1),
            created_at=snapshot.created_at,
            services=(alone,),
        )
        return spec_of(Launch(environment, deployment, self.application, {}, self.key), alone)

    @property
    def check(self) -> ServiceCheck | None:
        """Its health check, with its secrets."""
        check = self.service.spec.check
        return replace(check, command=tuple(map(self._filled, check.command))) if check else None

    def _filled(self, word: str) -> str:
        return with_generated(word, lambda name: secret_of(self.owner, name, self.key))

    def without_secrets(self, output: str) -> str:
        """An output with the service's secrets masked."""
        declared = self.application.service_secrets.get(self.service.name, {})
        generated = (secret_of(self.owner, name, self.key) for name in generated_names(self.service.spec))
        return masking([*declared.values(), *self.application.secrets.values(), *generated])(output)
