"""A deployment of one generation of an environment: its services, times and phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from stager.domain.attempt import Attempt
from stager.domain.environment import Environment, Service
from stager.domain.recipe import Manifest
from stager.domain.service import ServiceSpec
from stager.domain.source import Revision


class Phase(StrEnum):
    """The phase of a deployment. It is derived from the timestamps, never stored."""

    QUEUED = "queued"
    BUILDING = "building"
    STARTING = "starting"
    CHECKING = "checking"
    LIVE = "live"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    """A newer generation replaced it, before or after it was live."""
    ENDED = "ended"
    """Its environment was suspended or removed."""


@dataclass(frozen=True, slots=True)
class DeployedService:
    """A service of a deployment, with its image.

    Args:
        spec: as declared, without secrets.
        image: the id of its image; empty for an adopted instance.
        inputs: see `InstanceSpec.inputs`.
        host: where visitors reach it; empty unless it is routed. Empty for the main service, too, which
            answers at the environment's host.
        build: the key of its build's log; empty if it isn't built.
        has_healthcheck: whether the image's `HEALTHCHECK` is its health check.
        fresh_volumes: its volumes that live for one generation only, among them those in `clones`.
        is_kept: whether an instance with the same inputs serves further generations.
        image_content: see `InstanceSpec.image_content`.
        clones: the id of the snapshot by the name of the volume, for volumes with the policy `clone`; empty
            for one that starts empty.
        clone_note: why volumes with the policy `clone` start empty; empty if none does.
        secrets_of: the id from which its generated secrets are derived; empty for the environment's.
        volume_epoch: see `InstanceSpec.volume_epoch`.
    """

    spec: ServiceSpec
    image: str
    inputs: str = ""
    host: str = ""
    build: str = ""
    is_main: bool = False
    has_healthcheck: bool = False
    fresh_volumes: frozenset[str] = frozenset()
    is_kept: bool = False
    image_content: str = ""
    clones: Mapping[str, str] = field(default_factory=dict)
    clone_note: str = ""
    secrets_of: str = ""
    volume_epoch: int = 0

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def is_routed(self) -> bool:
        return self.is_main or bool(self.host)

    def host_in(self, environment: Environment) -> str:
        """Where visitors of this environment reach it; empty unless it is routed."""
        return environment.host if self.is_main else self.host

    @property
    def is_stateful(self) -> bool:
        """Whether it writes to a volume that further generations use. Two main services may do so side by
        side, so that a push doesn't interrupt the preview."""
        if self.is_main or self.spec.is_job or not self.spec.is_stateful:
            return False
        written = {m.volume for m in self.spec.mounts if m.volume and not m.is_read_only}
        return bool(written - self.fresh_volumes)

    @property
    def planned(self) -> Service:
        """What the plan needs to know of it."""
        return Service(
            self.name,
            is_main=self.is_main,
            is_routed=self.is_routed,
            is_kept=self.is_kept,
            inputs=self.inputs,
            is_stateful=self.is_stateful,
            is_job=self.spec.is_job,
            depends_on=self.spec.depends_on,
        )


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment, as stored. Each generation of an environment has one.

    Args:
        id: opaque; part of the engine's labels.
        image: the id of the main service's image; empty before it is prepared.
        created_at: when the deployment was requested. The other timestamps are None until reached.
        log: the last lines of the main service's log, saved when it fails or is removed.
        build: the key of the build's log; empty if nothing is built.
        manifest: the settings of the repository file and the image at the time of the build.
        services: all that it consists of, fixed when it is prepared; empty before.
    """

    id: str
    environment_id: str
    revision: Revision
    attempt: Attempt
    created_at: datetime
    image: str = ""
    starting_at: datetime | None = None
    checking_at: datetime | None = None
    live_at: datetime | None = None
    ended_at: datetime | None = None
    log: str = ""
    building_at: datetime | None = None
    build: str = ""
    manifest: Manifest = field(default_factory=Manifest)
    services: tuple[DeployedService, ...] = ()

    @property
    def generation(self) -> int:
        return self.attempt.generation

    @property
    def images(self) -> frozenset[str]:
        """The ids of the images of all services."""
        return frozenset({self.image, *(service.image for service in self.services)} - {""})

    @property
    def specs(self) -> tuple[ServiceSpec, ...]:
        """What its services were declared as."""
        return tuple(service.spec for service in self.services)

    @property
    def snapshot(self) -> str:
        """The id of the snapshot that its volumes were cloned from; empty if none was."""
        found = (chosen for service in self.services for chosen in service.clones.values())
        return next(filter(None, found), "")

    def service(self, name: str) -> DeployedService | None:
        """The service of this name; None if there is none."""
        return next((service for service in self.services if service.name == name), None)

    def is_main(self, name: str) -> bool:
        """Whether the service of this name is the main one. Before it is prepared, there is no other."""
        found = self.service(name)
        return found is None or found.is_main

    @property
    def stage(self) -> str:
        """The stage that it reached, as the word after "failed while"."""
        if self.live_at is not None:
            return "running"
        if self.checking_at is not None:
            return "checking"
        return "building" if self.building_at is not None and self.starting_at is None else "starting"

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages before it is live, as far as known: whether something is built is known when that
        begins."""
        return (*(("building",) if self.building_at is not None else ()), "starting", "checking")


def deployed_sha(environment: Environment, deployment: Deployment | None) -> str:
    """The commit that the environment deploys. After a roll back that isn't the pull request's.

    Args:
        deployment: of the desired generation. While the environment is suspended, a later push may have
            changed the desired commit, but not the deployment.
    """
    desired = environment.desired
    if deployment is None or environment.change is None or desired.suspension is not None:
        return desired.revision.sha
    return deployment.revision.sha or desired.revision.sha


def phase_of(deployment: Deployment, environment: Environment) -> Phase:
    """The phase of a deployment of this environment."""
    if deployment.attempt.final:
        return Phase.FAILED
    if environment.serving == deployment.generation:
        return Phase.LIVE
    if not (environment.desired.keeps_instances or environment.desired.is_queued):
        return Phase.ENDED
    if deployment.generation < environment.desired.generation:
        return Phase.SUPERSEDED
    return _phase_in_progress(deployment)


def _phase_in_progress(deployment: Deployment) -> Phase:
    if deployment.checking_at is not None:
        return Phase.CHECKING
    if deployment.starting_at is not None:
        return Phase.STARTING
    return Phase.BUILDING if deployment.building_at is not None else Phase.QUEUED
