"""Snapshots: copies of an application's volumes, from which the volumes of previews are cloned.

Which snapshot a deployment gets is decided when it is prepared, and stays decided: its generation never
changes to another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time
from enum import StrEnum
from pathlib import Path

from stager.domain import catalogue
from stager.domain.deployment import DeployedService
from stager.domain.errors import Fault, Outcome
from stager.domain.identity.roles import Role
from stager.domain.source import Revision, Trust


class SnapshotState(StrEnum):
    """The state of a snapshot. It is used only while it is ready."""

    MAKING = "making"
    READY = "ready"
    FAILED = "failed"
    """It has no files any more; its record says what went wrong."""
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class SnapshotVolume:
    """A volume of a snapshot.

    Args:
        service: the service that writes to it.
        volume: its name within the application.
        size: bytes; None if it is unknown.
    """

    service: str
    volume: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot, as stored.

    Args:
        id: opaque; the engine stores the files under it.
        number: counts the snapshots of the application.
        name: given by its creator; may be empty.
        created_by: the actor, in words.
        origin: what it was made from, in words, such as `preview feature-1`.
        revision: the commit that last ran on the data; empty if none did.
        images: the image reference by the name of the service; empty for one that is built.
        is_masked: whether the application's masking scripts have run on it.
        forks_allowed: whether code from forks gets clones of it.
        storage: `pool` or `copies`; see `ports.data`.
        is_chosen: whether it stays the current one when there is a newer one.
        secrets_of: by the name of the service, the id from which the generated passwords in its files are
            derived: of an environment, or of a snapshot that was made without one.
        progress: what is being done while it is made, in words.
        problem: why it failed.
    """

    id: str
    app: str
    number: int
    state: SnapshotState
    created_at: datetime
    created_by: str
    origin: str
    name: str = ""
    revision: Revision = field(default_factory=Revision)
    images: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[SnapshotVolume, ...] = ()
    is_masked: bool = False
    forks_allowed: bool = False
    storage: str = ""
    is_chosen: bool = False
    secrets_of: Mapping[str, str] = field(default_factory=dict)
    progress: str = ""
    problem: Outcome | None = None

    @property
    def is_ready(self) -> bool:
        return self.state is SnapshotState.READY

    @property
    def title(self) -> str:
        """How messages name it."""
        return f"snapshot {self.number}" + (f' "{self.name}"' if self.name else "")

    @property
    def size(self) -> int | None:
        """Bytes of all volumes; None if one is unknown."""
        sizes = [each.size for each in self.volumes]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def volume(self, name: str) -> SnapshotVolume | None:
        """The volume of this name; None if there is none."""
        return next((each for each in self.volumes if each.volume == name), None)


@dataclass(frozen=True, slots=True)
class FromPreview:
    """A snapshot of the volumes of a preview, which is stopped for a moment.

    Args:
        environment: its id.
    """

    environment: str


@dataclass(frozen=True, slots=True)
class FromDump:
    """A snapshot of a service into which a dump was loaded.

    Args:
        path: of the dump; the file is removed at the end.
        file_name: in messages.
    """

    service: str
    path: Path
    file_name: str


@dataclass(frozen=True, slots=True)
class FromCommand:
    """A snapshot of a new environment with empty volumes, after a command has run in its main service.

    Args:
        command: for `sh -c`.
        branch: the branch or tag of the code; empty for an application that isn't built from a commit.
    """

    command: str
    branch: str = ""


Source = FromPreview | FromDump | FromCommand


@dataclass(frozen=True, slots=True)
class CreateSnapshot:
    """The request for a snapshot.

    Args:
        name: may be empty. Retention never deletes a snapshot with a name.
        forks: whether code from forks gets clones of it; None for the application's default.
    """

    app: str
    source: Source
    name: str = ""
    forks: bool | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a snapshot is made every day.

    Args:
        at: local time of day.
        preview: the name of the preview that it is made from; empty with `command`.
        command: see `FromCommand`; empty with `preview`.
        branch: see `FromCommand`.
    """

    at: time
    preview: str = ""
    command: str = ""
    branch: str = ""


@dataclass(frozen=True, slots=True)
class DataRules:
    """How the snapshots of an application are made, and who may.

    Args:
        keep: how many ready ones retention keeps.
        mask: scripts by the name of the service. Each must succeed before a snapshot is ready.
        mask_timeout: seconds for one script, and for the start of its service.
        forks_allowed: whether code from forks gets clones of new snapshots.
        min_role: the role that creating, choosing, downloading and deleting require.
        schedule: None for none.
        is_relaxed: whether databases with data of one deployment only needn't wait for the disk.
    """

    keep: int = 5
    mask: Mapping[str, str] = field(default_factory=dict)
    mask_timeout: float = 600.0
    forks_allowed: bool = False
    min_role: Role = Role.DEVELOPER
    schedule: Schedule | None = None
    is_relaxed: bool = False


def current_of(snapshots: Iterable[Snapshot]) -> Snapshot | None:
    """Of the snapshots of one application, the one that new clones are made of: the chosen one, else the
    newest that is ready."""
    ready = [each for each in snapshots if each.is_ready]
    return max(ready, key=lambda each: (each.is_chosen, each.number), default=None)


def expired(snapshots: Iterable[Snapshot], keep: int) -> list[Snapshot]:
    """Of the snapshots of one application, those that retention deletes: all but the newest ones, never the
    current one, and never one that has a name or is being made or deleted.

    Args:
        keep: how many ready ones stay, and how many failed ones.
    """
    snapshots = sorted(snapshots, key=lambda each: -each.number)
    current = current_of(snapshots)
    unnamed = [each for each in snapshots if each is not current and not each.name]
    ready = [each for each in unnamed if each.is_ready]
    failed = [each for each in snapshots if each.state is SnapshotState.FAILED]
    return [*ready[max(0, keep - 1) :], *failed[keep:]]


def with_clones(
    services: Sequence[DeployedService], snapshot: Snapshot | None, trust: Trust
) -> tuple[DeployedService, ...]:
    """Return the services with what their `clone` volumes start from.

    Args:
        snapshot: the application's current one; None if there is none.
        trust: of the code.

    Raises:
        Fault: `snapshot-version`: a service's image can't use the files of the snapshot.
    """
    return tuple(_with_clones(each, snapshot, trust) for each in services)


def _with_clones(service: DeployedService, snapshot: Snapshot | None, trust: Trust) -> DeployedService:
    if not service.clones:
        return service
    notes: list[str] = []
    clones: dict[str, str] = {}
    for volume in sorted(service.clones):
        why_empty = _why_empty(volume, snapshot, trust)
        clones[volume] = "" if why_empty or snapshot is None else snapshot.id
        notes += [why_empty] if why_empty else []
    if snapshot is None or not any(clones.values()):
        return replace(service, clones=clones, clone_note=" ".join(notes))
    writers = [_checked(service, name, snapshot).service for name, chosen in clones.items() if chosen]
    secrets_of = next(filter(None, (snapshot.secrets_of.get(name) for name in writers)), "")
    return replace(service, clones=clones, clone_note=" ".join(notes), secrets_of=secrets_of)


def _why_empty(volume: str, snapshot: Snapshot | None, trust: Trust) -> str:
    if snapshot is None:
        return f"The volume {volume} started empty, because there was no snapshot yet."
    if trust is not Trust.TRUSTED and not snapshot.forks_allowed:
        return (
            f"The volume {volume} started empty, because the code is from a fork and {snapshot.title} isn't"
            " allowed for forks."
        )
    if snapshot.volume(volume) is None:
        return f"The volume {volume} started empty, because {snapshot.title} doesn't have it."
    return ""


def _checked(service: DeployedService, name: str, snapshot: Snapshot) -> SnapshotVolume:
    """The snapshot's volume of a name. Raises `Fault` unless the service's image can use its files."""
    volume = next(each for each in snapshot.volumes if each.volume == name)
    then, now = snapshot.images.get(volume.service, ""), service.spec.image
    if is_compatible(then, now):
        return volume
    raise Fault(
        f'The service "{service.name}" runs {now or "an image that is built"}, which can\'t use the data of'
        f" {snapshot.title}: it was made with {then or 'an image that is built'}.",
        hint=f"Take a new snapshot with {now or 'the built image'}, by `stager snapshot create"
        f" {snapshot.app}` with `--restore` or `--run`, or return to the image of the snapshot. To start"
        f" empty, set `volumes: {{{name}: fresh}}`.",
        reason="snapshot-version",
    )


def is_compatible(then: str, now: str) -> bool:
    """Whether a service with the image `now` can use files that one with the image `then` has written. For
    images of the catalogue, by their version; other images must have the same name and tag."""
    entry = catalogue.find(then) if then else None
    if entry is None or not now or catalogue.find(now) is not entry:
        return _without_digest(then) == _without_digest(now)
    before, after = catalogue.tag_of(then), catalogue.tag_of(now)
    if before == after:
        return True
    old, new = _version(before), _version(after)
    if not old or not new or ("alpine" in before) != ("alpine" in after):
        # Another C library has another collation, with which indexes on text are wrong:
        # https://wiki.postgresql.org/wiki/Locale_data_changes
        return False
    match entry.kind:
        case "redis":
            return old[: len(new)] <= new  # `7` is the newest 7.x
        case "mysql":
            return len(old) > 1 and old == new
        case _:
            return old[0] == new[0]


_VERSIONS = (re.compile(r"(?:^|-)pg(\d+)"), re.compile(r"^v?(\d+(?:\.\d+)*)"))
"""The version in a tag: `pg16`, `latest-pg16` of extensions of PostgreSQL; `16-alpine`, `8.0.36`."""


def _version(tag: str) -> tuple[int, ...]:
    """Its first two numbers at most."""
    found = next(filter(None, (pattern.search(tag) for pattern in _VERSIONS)), None)
    return tuple(int(part) for part in found[1].split(".")[:2]) if found else ()


def _without_digest(image: str) -> str:
    return catalogue.full_image(image).partition("@")[0]
