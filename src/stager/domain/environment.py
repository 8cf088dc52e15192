"""An environment: one preview, for one pull request or one name given at a launch, with its desired state,
its services and their instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from stager.domain.profile import ProfileName
from stager.domain.route import Endpoint
from stager.domain.service import Condition
from stager.domain.source import Revision, Trust

_OF_SNAPSHOT = "snapshot:"


@dataclass(frozen=True, slots=True)
class EnvironmentKey:
    """Identifies an environment.

    Args:
        app: the entry under `images:`.
        subject: `change:REPOSITORY_ID/N` for a pull request, such as `change:github:123/7`; `name:RAW` for a
            name given at a launch; `snapshot:ID` for a snapshot that is made by a command.
    """

    app: str
    subject: str

    @classmethod
    def of_change(cls, app: str, repository_id: str, number: int) -> EnvironmentKey:
        return cls(app, cls.subject_of_change(repository_id, number))

    @staticmethod
    def subject_of_change(repository_id: str, number: int) -> str:
        """The subject of this pull request, in keys of any application."""
        return f"change:{repository_id}/{number}"

    @classmethod
    def of_name(cls, app: str, name: str) -> EnvironmentKey:
        return cls(app, f"name:{name}")

    @classmethod
    def of_snapshot(cls, app: str, snapshot: str) -> EnvironmentKey:
        """The key of the environment that a snapshot is made from."""
        return cls(app, f"{_OF_SNAPSHOT}{snapshot}")

    @property
    def is_of_snapshot(self) -> bool:
        """Whether a snapshot is made from it, after which it is removed."""
        return self.subject.startswith(_OF_SNAPSHOT)

    @property
    def snapshot(self) -> str:
        """The id of the snapshot that is made from it; empty if none is."""
        return self.subject.removeprefix(_OF_SNAPSHOT) if self.is_of_snapshot else ""

    def __str__(self) -> str:
        return f"{self.app}/{self.subject}"


class SuspensionReason(StrEnum):
    """Why an environment is suspended."""

    KILLED = "killed"
    """A user stopped it, until the next push, reopening or launch."""
    FORK = "fork"
    """Its code comes from a fork, and previews of forks are off."""
    APPROVAL = "approval"
    """Its code comes from a fork, and this commit isn't approved."""
    RULES = "rules"
    """The rules for pull requests in the configuration exclude it, or its author opted out."""
    CHECKS = "checks"
    """The checks of its commit haven't passed."""
    EXPIRED = "expired"
    """Nobody visited it or pushed for as long as `expire_after`, until the next push, reopening or launch."""
    NO_ROOM = "no-room"
    """It was removed for another preview, because the limit of `max_previews` is reached."""
    QUEUED = "queued"
    """It waits for room on the machine, and starts by itself."""


UNAPPROVED = frozenset({SuspensionReason.FORK, SuspensionReason.APPROVAL})
"""Untrusted code: a launch by a user doesn't override these."""

BY_POLICY = UNAPPROVED | {SuspensionReason.RULES, SuspensionReason.CHECKS}
"""These end by themselves when the policy allows the preview."""


WITHOUT_VOLUMES = frozenset({SuspensionReason.KILLED, SuspensionReason.EXPIRED})
"""An environment that is suspended for one of these loses its volumes."""


@dataclass(frozen=True, slots=True)
class Suspension:
    """A suspension with the sentence that users see.

    Args:
        place: in the queue, 1 for the next one; 0 unless the reason is `QUEUED`.
        rule: the slug of the rule that caused it, where several rules have the same reason; may be empty.
    """

    reason: SuspensionReason
    message: str
    hint: str = ""
    place: int = 0
    rule: str = ""


@dataclass(frozen=True, slots=True)
class ChangeLink:
    """The facts about an environment's pull request that reports and names need."""

    repository_id: str
    owner: str
    repository: str
    number: int
    base_ref: str
    title: str
    author: str
    url: str


class RunState(StrEnum):
    """Whether an environment should run."""

    RUNNING = "running"
    ASLEEP = "asleep"
    """Its instances stay but use no CPU, until a request or a command wakes it; see `Depth`."""
    SUSPENDED = "suspended"
    """Nothing runs, and a page gives the reason; see `Suspension`."""
    ABSENT = "absent"
    """The pull request is closed, or the preview was removed."""


class Depth(StrEnum):
    """How deeply an environment sleeps."""

    PAUSED = "paused"
    """Its instances are frozen and keep their memory."""
    STOPPED = "stopped"
    """Its instances are stopped and not removed."""


@dataclass(frozen=True, slots=True)
class Desired:
    """The desired state of an environment.

    Args:
        run: see `RunState`.
        generation: the number of the requested deployment; each request for a new deployment adds one.
        parameters: the parameters of the launch, which become environment variables of the instance.
        suspension: why `run` is `SUSPENDED`; None for the other states.
        depth: only for `ASLEEP`.
        min_idle: only for `ASLEEP`: seconds without a request before the front stops sending requests. With a
            later request the environment stays awake.

    Raises:
        ValueError: `run` and `suspension` contradict each other.
    """

    run: RunState
    generation: int
    revision: Revision = field(default_factory=Revision)
    parameters: Mapping[str, str] = field(default_factory=dict)
    trust: Trust = Trust.TRUSTED
    suspension: Suspension | None = None
    depth: Depth = Depth.PAUSED
    min_idle: float = 0.0

    def __post_init__(self) -> None:
        if (self.run is RunState.SUSPENDED) != (self.suspension is not None):
            raise ValueError(f"an environment that is {self.run} with the suspension {self.suspension}")

    @property
    def should_run(self) -> bool:
        return self.run is RunState.RUNNING

    @property
    def is_queued(self) -> bool:
        """Whether it waits for room, and runs as soon as there is some."""
        return self.suspension is not None and self.suspension.reason is SuspensionReason.QUEUED

    @property
    def is_asleep(self) -> bool:
        return self.run is RunState.ASLEEP

    @property
    def keeps_instances(self) -> bool:
        """Whether it runs or sleeps: visitors reach it at its URL, at once or by waking it."""
        return self.run in {RunState.RUNNING, RunState.ASLEEP}

    @property
    def is_present(self) -> bool:
        return self.run is not RunState.ABSENT

    def asleep(self, depth: Depth = Depth.PAUSED, min_idle: float = 0.0) -> Desired:
        """The same generation, asleep. What should neither run nor sleep stays as it is."""
        if not self.keeps_instances:
            return self
        return replace(self, run=RunState.ASLEEP, depth=depth, min_idle=min_idle)

    def suspended(self, suspension: Suspension) -> Desired:
        """The same generation, suspended. What is absent stays absent."""
        return self._as(RunState.SUSPENDED, suspension) if self.is_present else self

    def resumed(self) -> Desired:
        """The same generation, no longer suspended or asleep. What is absent stays absent."""
        return self._as(RunState.RUNNING) if self.is_present else self

    def absent(self) -> Desired:
        """The same generation, to be removed."""
        return self._as(RunState.ABSENT)

    def _as(self, run: RunState, suspension: Suspension | None = None) -> Desired:
        return replace(self, run=run, suspension=suspension, depth=Depth.PAUSED, min_idle=0.0)


@dataclass(frozen=True, slots=True)
class Environment:
    """One preview, as stored.

    Args:
        id: opaque; part of the engine's names and labels.
        name: the branch, or the name given at a launch, unchanged.
        host: the host of its URL, without port. It never changes.
        comment_id: the pull request's comment that Stager keeps up to date; empty before the first.
        approved_sha: the commit that a user with push access approved; empty for none.
        serving: the generation that visitors reach: the front sends requests to it, or a request wakes it;
            None when the front shows a page.
        volume_epoch: the generation at which the volumes that are kept were reset; 0 for never.
        has_cloned_data: whether a generation that may run has volumes that were cloned from a snapshot.
        asleep_runs: see `Observed.asleep_runs`.
    """

    id: str
    key: EnvironmentKey
    name: str
    host: str
    desired: Desired
    created_at: datetime
    updated_at: datetime
    change: ChangeLink | None = None
    comment_id: str = ""
    serving: int | None = None
    approved_sha: str = ""
    volume_epoch: int = 0
    has_cloned_data: bool = False
    asleep_runs: frozenset[str] = frozenset()

    @property
    def app(self) -> str:
        return self.key.app

    @property
    def is_waking(self) -> bool:
        """Whether it should run, and nothing of it has served since it was put to sleep."""
        return self.desired.should_run and bool(self.asleep_runs)

    @property
    def keeps_volumes(self) -> bool:
        """Whether its volumes stay while nothing of it runs. They are removed when it is removed, killed or
        expires."""
        suspension = self.desired.suspension
        is_over = suspension is not None and suspension.reason in WITHOUT_VOLUMES
        return self.desired.is_present and not is_over


@dataclass(frozen=True, slots=True)
class Service:
    """A service of one generation, as far as the plan needs to know it.

    Args:
        is_main: whether it answers at the environment's own host. Without it the preview is down; without
            another service, degraded.
        is_routed: whether the front sends requests to it.
        is_kept: whether an instance of an earlier generation with the same `inputs` is used further.
        inputs: the digest of what its instance is created from; see `InstanceSpec.inputs`.
        is_stateful: whether an instance with other `inputs` must stop before the next one starts.
        is_job: whether it runs to its end. It is done once it exited with 0.
        depends_on: by the name of another service, what it must have reached before this one is started.
    """

    name: str
    is_main: bool = False
    is_routed: bool = True
    is_kept: bool = False
    inputs: str = ""
    is_stateful: bool = False
    is_job: bool = False
    depends_on: Mapping[str, Condition] = field(default_factory=dict)


WEB_SERVICE = Service("web", is_main=True)
"""The only service of an application that declares none."""


@dataclass(frozen=True, slots=True)
class InstanceLabels:
    """What an instance was created for. Written to its labels, which never change, so that it can be adopted
    when the database is lost.

    Args:
        service: the name of the service that the instance runs.
        subject: see `EnvironmentKey`.
        host: the environment's host at that time; the database has the current one.
        service_host: the service's host at that time: `host` for the main one, empty unless it is routed.
        snapshot: the id of the snapshot that volumes of its generation were cloned from; empty for none.
        volume_epoch: see `Environment.volume_epoch`.
    """

    environment: str
    service: str
    deployment: str
    generation: int
    app: str
    subject: str
    name: str
    host: str
    revision: Revision
    trust: Trust
    profile: ProfileName
    change: ChangeLink | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    service_host: str = ""
    snapshot: str = ""
    volume_epoch: int = 0


class InstanceState(StrEnum):
    """The state of an instance in its engine."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    """Its processes are frozen. It keeps its run, its memory and its addresses, and answers nothing."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Instance:
    """A container with Stager's labels. It belongs to one service of one generation of an environment.

    Args:
        id: the engine's id.
        deployment: the id of the deployment that it was created for.
        started_at: the engine's timestamp of the last start, empty if never started.
        exit_code: of the last run, None while it runs or is paused.
        memory_exceeded: the memory limit in bytes at which the engine killed a process of the last run; 0 if
            the run ended for another reason.
        endpoint: where it accepts connections, with port 0 if it has no port; None unless it runs.
        network: the engine's name of the network that its endpoint is in.
        joined: the engine's names of the further networks that it is in.
        generations: the generations whose services reach it by the name of its service; empty for the only
            service of an application.
        inputs: the digest of what it was created from; see `InstanceSpec.inputs`. Instances with the same
            digest are interchangeable.
    """

    id: str
    environment: str
    service: str
    deployment: str
    generation: int
    state: InstanceState
    started_at: str = ""
    exit_code: int | None = None
    endpoint: Endpoint | None = None
    network: str = ""
    joined: frozenset[str] = frozenset()
    memory_exceeded: int = 0
    inputs: str = ""
    generations: frozenset[int] = frozenset()

    @property
    def networks(self) -> frozenset[str]:
        """All networks that it is in."""
        return self.joined | {self.network}

    @property
    def run(self) -> str:
        """Identifies one start of the instance. Health is known for a run, not for an instance."""
        return f"{self.id}@{self.started_at}"

    def has_run(self, run: str) -> bool:
        """Whether this run is the current or an earlier one of the instance."""
        return run.startswith(f"{self.id}@")
