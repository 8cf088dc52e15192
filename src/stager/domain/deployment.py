"""A deployment: the attempt to bring one generation of an environment up, and its phase."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from stager.domain.environment import Attempt, Environment
from stager.domain.recipe import Manifest
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
class Deployment:
    """A deployment, as stored. Each generation of an environment has one.

    Args:
        id: opaque; part of the engine's labels.
        image: the id of the image, fixed at the first start; empty before.
        created_at: when the deployment was requested. The other timestamps are None until reached.
        log: the last lines of the instance's log, saved when it fails or is removed.
        build: the key of the build's log; empty if nothing is built.
        manifest: the settings of the repository file and the image at the time of the build.
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

    @property
    def generation(self) -> int:
        return self.attempt.generation

    @property
    def stage(self) -> str:
        """The stage that it reached, as the word after "failed while"."""
        if self.live_at is not None:
            return "running"
        if self.checking_at is not None:
            return "checking"
        return "building" if self.building_at is not None and self.starting_at is None else "starting"


def phase_of(deployment: Deployment, environment: Environment) -> Phase:
    """The phase of a deployment of this environment."""
    if deployment.attempt.final:
        return Phase.FAILED
    if environment.serving == deployment.generation:
        return Phase.LIVE
    if not environment.desired.should_run:
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
