"""A deployment: one attempt to bring one revision of an environment up; and the phase it is in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from stager.domain.environment import Attempt, Environment
from stager.domain.recipe import Manifest
from stager.domain.source import Revision


class Phase(StrEnum):
    """Where a deployment stands. Derived from what has happened, never set."""

    QUEUED = "queued"
    BUILDING = "building"
    STARTING = "starting"
    CHECKING = "checking"
    LIVE = "live"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    """A newer generation took its place, before or after it was live."""
    ENDED = "ended"
    """Its environment was closed or killed."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is remembered of one attempt: one for each generation of an environment.

    Args:
        id: opaque, also in the engine's labels.
        image: the id of the image, pinned at its first start; empty before.
        created_at: when the wish was written down. The stamps after it are None until reached.
        log: the instance's last lines, kept when it fails or is removed.
        build: what the log of its image's build is kept by; empty where nothing is built.
        manifest: what the repository's own file and the image said, as it was when the image was made.
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
        """How far it has come, as the word that follows "failed while"."""
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
    return _phase_on_the_way(deployment)


def _phase_on_the_way(deployment: Deployment) -> Phase:
    if deployment.checking_at is not None:
        return Phase.CHECKING
    if deployment.starting_at is not None:
        return Phase.STARTING
    return Phase.BUILDING if deployment.building_at is not None else Phase.QUEUED
