"""The engine that runs instances, such as Docker. Only resources with Stager's labels are touched."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from stager.domain.application import Container
from stager.domain.environment import Instance, InstanceLabels
from stager.domain.errors import Fault
from stager.domain.leftovers import Leftover
from stager.domain.profile import Egress, Profile, ProfileName
from stager.domain.route import Endpoint


@dataclass(frozen=True, slots=True)
class Content:
    """Files of the commit, which are copied into a created instance before its first start. A folder replaces
    what the image has at its target.

    Args:
        target: absolute path of the file or folder inside the instance.
        digest: identifies the names, modes and contents of the files.
        archive: a tar archive. Of a folder: names relative to `target`. Of a file: one entry.
    """

    target: str
    digest: str
    archive: bytes = field(repr=False)
    is_folder: bool = False


@dataclass(frozen=True, slots=True)
class Clone:
    """What a volume starts as.

    Args:
        part: the volume's name in the snapshot.
        without: paths of files that are left out, relative to the volume.
    """

    snapshot: str
    part: str
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """An instance to be created.

    Args:
        labels: what it is created for.
        image: the image's id, from `Images.resolve`.
        image_content: the digest of the image that `inputs` has, where its id changes without its content;
            else empty.
        container: the settings that it is created from. Each of its mounts with `content` needs an entry of
            `content` with the same target.
        profile: its confinement.
        variables: its environment variables.
        per_commit: further variables, which take precedence. They differ with each commit, and `inputs`
            doesn't include them.
        fallbacks: variables for what neither the image nor `variables` sets.
        aliases: the names under which the services of its generations reach it, its own first. Empty for an
            application with a single service.
        network: 0 for the environment's network, where an instance may outlive its generation; the
            generation's number for the network of its generation.
        fresh_volumes: the named volumes that belong to its generation instead of the environment.
        clones: by the name of the volume, for those of `fresh_volumes` that start as a copy of a snapshot's.
        volume_epoch: of the other named volumes: the generation at which the environment's were reset last;
            0 for never. Those of another epoch are other volumes.
        content: files of the commit.
        dependencies: the digests of the services that it depends on and that may outlive its generation.
    """

    labels: InstanceLabels
    image: str
    container: Container
    profile: Profile
    variables: Mapping[str, str] = field(default_factory=dict)
    per_commit: Mapping[str, str] = field(default_factory=dict)
    fallbacks: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    network: int = 0
    fresh_volumes: frozenset[str] = frozenset()
    clones: Mapping[str, Clone] = field(default_factory=dict)
    volume_epoch: int = 0
    content: tuple[Content, ...] = ()
    dependencies: tuple[str, ...] = ()
    image_content: str = ""

    @property
    def inputs(self) -> str:
        """A digest of everything that the instance is created from except labels, network and
        `per_commit`."""
        profile = asdict(replace(self.profile, egress=Egress()))  # the firewall applies egress to what runs
        inputs: list[object] = [
            self.image_content or self.image,
            asdict(self.container),
            profile,
            self.variables,
            self.fallbacks,
            self.aliases,
            sorted(self.fresh_volumes),
            [(each.target, each.digest) for each in self.content],
            self.dependencies,
        ]
        if self.clones or self._kept_epoch:  # the digest of others is the one of earlier versions
            cloned = sorted((name, clone.snapshot) for name, clone in self.clones.items())
            inputs += [cloned, self._kept_epoch]
        text = json.dumps(inputs, sort_keys=True, default=_plain)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def _kept_epoch(self) -> int:
        """The epoch, for a service that has volumes of the environment; a reset doesn't concern others."""
        kept = {mount.volume for mount in self.container.mounts} - self.fresh_volumes - {""}
        return self.volume_epoch if kept else 0

    def number_of(self, volume: str) -> int:
        """The number in the name of a volume: the generation that it belongs to, or the epoch."""
        return self.labels.generation if volume in self.fresh_volumes else self.volume_epoch


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,99}")
"""The names of volumes. Docker's, with a limit so that a file may have the name with Stager's prefix."""


def check_volume_names(spec: InstanceSpec) -> None:
    """Check the names of an instance's volumes.

    Raises:
        Fault: `volume-invalid`: one of them is impossible.
    """
    for mount in spec.container.mounts:
        if mount.volume and not VOLUME_NAME.fullmatch(mount.volume):
            raise Fault(
                f"The service {spec.labels.service} has a volume with the name {mount.volume[:200]!r}, which "
                "isn't possible.",
                hint="Use letters, digits, `_`, `.` and `-`, with a letter or a digit first.",
                reason="volume-invalid",
            )


@dataclass(frozen=True, slots=True)
class Consumption:
    """What instances use of the machine.

    Args:
        memory: bytes in use, see `Instances.memory`.
        processor_time: seconds of processor time since the instances were started.
    """

    memory: int = 0
    processor_time: float = 0.0

    def __add__(self, other: Consumption) -> Consumption:
        return Consumption(self.memory + other.memory, self.processor_time + other.processor_time)


@dataclass(frozen=True, slots=True)
class Volume:
    """A named volume of an environment.

    Args:
        name: as declared.
        generation: the generation that it belongs to, or the epoch of an environment's volume; see
            `InstanceSpec.volume_epoch`.
        size: bytes on disk; None when it is unknown.
    """

    name: str
    generation: int = 0
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Ran:
    """The result of a command inside an instance.

    Args:
        exit_code: None after the timeout.
        output: the end of its output.
    """

    exit_code: int | None
    output: str


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of the image's own health check.

    Args:
        healthy: None when it can't be run in the instance, for example because a program is missing.
        output: the end of its output.
    """

    healthy: bool | None
    output: str = ""


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening TCP socket inside an instance; `0.0.0.0` or `::` means all addresses."""

    address: IPv4Address | IPv6Address
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a terminal."""

    rows: int = 24
    columns: int = 80


class Terminal(Protocol):
    """A command that runs inside an instance on a terminal. The caller must close it."""

    async def read(self) -> bytes:
        """Its next output; empty once it has ended or the engine no longer answers."""

    async def write(self, data: bytes) -> None:
        """Send input; no effect once it has ended."""

    async def resize(self, size: Size) -> None:
        """Change the terminal's size; no effect once it has ended."""

    async def exit_code(self) -> int | None:
        """Its exit code, once `read` has reached the end; None when it is unknown."""

    async def close(self) -> None:
        """Close the terminal. A command that still runs is ended: by an interrupt and the end of its input,
        then by SIGKILL, with what it has started. Where the image has no shell, one that ignores the first
        runs until the instance ends."""


class Images(Protocol):
    """The engine's images."""

    async def resolve(self, reference: str) -> str:
        """The id of the image that this reference currently names. Pulls it only if it is missing.

        Raises:
            Fault: `image-missing`: it isn't there and can't be pulled.
            Retry: the engine doesn't answer.
        """


class Instances(Protocol):
    """The containers with Stager's labels. Each method raises `Retry` while the engine doesn't answer.

    A paused instance counts as one that runs, except that no command can be run inside."""

    async def find(self, environment: str | None = None) -> list[Instance]:
        """All instances, or one environment's, in any state."""

    async def find_with_labels(self) -> list[tuple[Instance, InstanceLabels]]:
        """All instances with their labels, to adopt those that the database doesn't have."""

    def prepared(
        self, environment: str, profile: ProfileName, network: int = 0
    ) -> AbstractAsyncContextManager[None]:
        """Prepare, in the background, what doesn't depend on the image, such as the network, for an instance
        that `create` creates within the context. `create` repeats what fails; `sweep` removes what isn't
        used. An environment has at most one such context at a time.

        Args:
            network: see `InstanceSpec.network`.
        """

    async def create(self, spec: InstanceSpec) -> Instance:
        """Create the instance with its network, volumes and content, without starting it. Returns the
        existing one if this service of this deployment has one already. An instance with aliases in the
        environment's network joins its own generation.

        Raises:
            Fault: the engine rejects these parameters; `volume-invalid`, `volume-foreign`, `content-refused`;
                `snapshot-missing`: the snapshot of a clone isn't there; `pool-full`.
        """

    async def join(self, instance: str, generation: int) -> Instance:
        """Let the services of this generation of its environment reach the instance by its aliases, and the
        other way round; no effect where they do. The instance may run or not.

        Raises:
            Retry: `instance-gone`: it was removed.
        """

    async def start(self, instance: str) -> Instance:
        """Start it; no effect when it runs. A paused one goes on.

        Raises:
            Fault: it can't be started, for example because the command isn't in the image.
        """

    async def stop(self, instance: str) -> int:
        """Stop it with its own stop signal, and with SIGKILL after its grace period; no effect when it
        doesn't run. Returns the exit code of its last run, 0 if it was never started.

        Raises:
            Retry: `instance-gone`: it was removed.
        """

    async def remove(self, instance: str) -> None:
        """Stop it (SIGTERM, then SIGKILL) and remove it with its volumes; success when it isn't there."""

    async def logs(self, instance: str, lines: int) -> str:
        """The last lines of its output; empty when it isn't there."""

    async def post_mortem(self, instance: str, words: str) -> str:
        """A hint on why an instance exited at its start, from its output and files; may be empty.

        Args:
            words: its output.
        """

    def follow(self, instance: str, lines: int) -> AsyncIterator[str]:
        """The last lines of its output, then further output until it ends; nothing when it isn't there.
        Raises `Retry` as soon as the engine doesn't answer."""

    async def check(self, instance: str) -> Checked | None:
        """Run the image's own health check in the instance, once; None when it has none. An instance that
        doesn't run isn't healthy."""

    async def listeners(self, instance: str) -> tuple[Listener, ...] | None:
        """The instance's listening TCP sockets, without the engine's own; None when they can't be
        determined."""

    async def run(self, instance: str, command: Sequence[str], timeout: float) -> Ran:
        """Run a command inside a running instance, as its own user and in its working directory.

        Args:
            timeout: in seconds. Then, and if the call is cancelled, the command is killed with what it has
                started.

        Raises:
            Fault: `hook-failed`: it can't be run, for example because the program is missing.
        """

    async def open(self, instance: str, command: Sequence[str], size: Size, kind: str) -> Terminal:
        """Run a command inside a running instance, on a terminal, as the image's user and in its working
        directory. For a missing program, the terminal shows an error and the exit code is 126 or 127.

        Args:
            kind: the value of the environment variable TERM.

        Raises:
            Retry: `instance-gone`: it doesn't run.
        """

    async def volumes(self, environment: str) -> list[Volume]:
        """The named volumes of an environment, with their sizes. Expensive: it may take seconds."""

    async def memory(self) -> Mapping[str, int]:
        """The memory in bytes that the instances of each environment use together, by the environment's id,
        without the page cache that the kernel frees first. An environment whose instances don't run uses
        none."""

    async def consumption(self) -> Mapping[str, Consumption]:
        """What the instances of each environment use together, by the environment's id; see `memory`."""

    async def disk(self) -> Mapping[str, int]:
        """The bytes that the instances of each environment have written, with its named volumes, by the
        environment's id; without images. Expensive: it may take seconds."""

    async def sweep(self, present: Mapping[str, Collection[int]] | None = None) -> int:
        """Remove what no instance uses, such as networks and named volumes, and the containers of Stager
        versions with other labels. Returns how many resources were removed.

        The network of a generation without instances of its own is removed although kept instances are in it,
        unless no instance is of a newer generation. The volumes of a generation are removed once it has no
        instance.

        Args:
            present: the epochs by the id of the environment, of those that keep their volumes although they
                have no instance; None for all.
        """

    async def leftovers(self, present: Mapping[str, Collection[int]] | None = None) -> list[Leftover]:
        """What `sweep` would remove now. Expensive: it may take seconds, because of the sizes of volumes."""

    def events(self) -> AsyncIterator[str]:
        """The ids of environments with a changed instance; an empty id, first at the start, when events may
        have been missed and everything must be reconciled. Reconnects by itself, never ends."""


@dataclass(frozen=True, slots=True)
class Reclaim:
    """Whether the engine's machine can take the memory of paused instances back.

    Args:
        way: how, in a few words; empty if it can't.
        swap: where the memory goes, such as `4.0 GB of zram`; empty if there is no swap. Without swap there
            is nothing to gain: only the cache of files could be dropped.
        hint: what to do, a sentence; empty if both are there.
    """

    way: str
    swap: str
    hint: str = ""

    @property
    def works(self) -> bool:
        return bool(self.way and self.swap)


class Power(Protocol):
    """Puts instances to sleep and wakes them. Each method raises `Retry` while the engine doesn't answer."""

    @property
    def can_pause(self) -> bool:
        """Whether instances can be paused. If not, no other method is called: previews that sleep are
        stopped."""

    async def pause(self, instance: str) -> None:
        """Freeze its processes, which keep their memory and their connections; no effect when it is paused.

        Raises:
            Retry: `instance-gone`: it was removed, or doesn't run.
        """

    async def unpause(self, instance: str) -> None:
        """Let a paused instance go on; no effect when it runs.

        Raises:
            Retry: `instance-gone`: it was removed, or doesn't run.
        """

    async def reclaim(self, instance: str) -> int | None:
        """Move the memory of a paused instance to swap, from where it returns as it is used. Returns the
        bytes that it gave back; None if nothing was done: the machine can't, or the instance isn't paused.

        Raises:
            Fault: the machine or the root helper refuses.
        """

    async def reclaim_support(self) -> Reclaim:
        """What `reclaim` can do at present."""


class Prober(Protocol):
    """Probes whether an instance serves requests."""

    async def answers(self, endpoint: Endpoint, host: str, path: str, timeout: float = 10.0) -> int | None:
        """The status of one `GET path` with this Host header, or None when nothing answered in time.

        Args:
            timeout: in seconds.
        """

    def refusal(self, endpoint: Endpoint) -> str:
        """Why the last response from there can't be passed on to visitors: a sentence on what isn't HTTP/1.1
        in it. Empty when it can, or when there was none."""

    async def accepts(self, endpoint: Endpoint) -> bool | None:
        """Whether a connection is accepted there; None after a timeout."""
