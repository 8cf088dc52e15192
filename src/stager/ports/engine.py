"""What runs instances: an engine, such as Docker. Only things that bear our labels are ever touched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from stager.domain.application import Container
from stager.domain.egress import Egress
from stager.domain.environment import Instance, InstanceLabels
from stager.domain.profile import Profile, ProfileName
from stager.domain.route import Endpoint


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """An instance to be created.

    Args:
        labels: what it is created for.
        image: the image's id, as `Images.resolve` gave it.
        container: the application's settings that it is created from.
        profile: how it is confined.
        variables: its environment variables.
        fallbacks: those that it gets where neither its image nor `variables` sets them.
    """

    labels: InstanceLabels
    image: str
    container: Container
    profile: Profile
    variables: Mapping[str, str] = field(default_factory=dict)
    fallbacks: Mapping[str, str] = field(default_factory=dict)

    @property
    def inputs(self) -> str:
        """A digest of everything that the instance is created from, labels excepted."""
        profile = asdict(replace(self.profile, egress=Egress()))  # the firewall applies egress to what runs
        inputs = [self.image, asdict(self.container), profile, self.variables, self.fallbacks]
        text = json.dumps(inputs, sort_keys=True, default=_plain)
        return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command inside an instance went.

    Args:
        exit_code: None when it was not waited for any more.
        output: the end of what it printed.
    """

    exit_code: int | None
    output: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What the image's own check said.

    Args:
        healthy: None when it can't be run in the instance, as for want of a program.
        output: the end of what it printed.
    """

    healthy: bool | None
    output: str = ""


@dataclass(frozen=True, slots=True)
class Listener:
    """Where a TCP server listens inside an instance; `0.0.0.0` or `::` for all of its addresses."""

    address: IPv4Address | IPv6Address
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Size:
    """How much a terminal shows."""

    rows: int = 24
    columns: int = 80


class Terminal(Protocol):
    """A command that runs inside an instance on a terminal of its own. Whoever has one must close it."""

    async def read(self) -> bytes:
        """What it printed next; empty once it has ended, or the engine doesn't answer any more."""

    async def write(self, data: bytes) -> None:
        """Type this; no effect once it has ended."""

    async def resize(self, size: Size) -> None:
        """Have it know that its window has changed; no effect once it has ended."""

    async def exit_code(self) -> int | None:
        """What it ended with, after `read` has come to the end; None when nobody knows."""

    async def close(self) -> None:
        """Hang up. Ends what listens to that; what doesn't goes on until the instance ends."""


class Images(Protocol):
    """The images that the engine has."""

    async def resolve(self, reference: str) -> str:
        """The id of the image that this reference names now. Never fetches one that is there.

        Raises:
            Fault: `image-missing`: it is neither here nor to be had.
            Retry: the engine doesn't answer.
        """


class Instances(Protocol):
    """The containers that bear our labels. Each method raises `Retry` while the engine doesn't answer."""

    async def find(self, environment: str | None = None) -> list[Instance]:
        """All instances, or one environment's, in whatever state they are."""

    async def find_with_labels(self) -> list[tuple[Instance, InstanceLabels]]:
        """All instances with their labels, to adopt those that the database doesn't have."""

    def prepared(self, environment: str, profile: ProfileName) -> AbstractAsyncContextManager[None]:
        """Have what doesn't depend on the image made meanwhile, such as the network, for an instance of this
        environment that `create` makes within the context. What can't be made now, `create` makes or raises;
        what no instance came for, `sweep` removes. There is one context at a time for an environment."""

    async def create(self, spec: InstanceSpec) -> Instance:
        """Create the instance with its network, without starting it. Returns the existing one if this
        service of this deployment has one already.

        Raises:
            Fault: the engine refuses these parameters.
        """

    async def start(self, instance: str) -> Instance:
        """Start it; no effect when it runs.

        Raises:
            Fault: it can't be started, such as for a command that isn't in the image.
        """

    async def remove(self, instance: str) -> None:
        """Stop it, gently first, and remove it with its volumes; success when it isn't there."""

    async def logs(self, instance: str, lines: int) -> str:
        """The last lines of its output; empty when it isn't there."""

    async def post_mortem(self, instance: str, words: str) -> str:
        """What to do about an instance that ended at its start, as far as it and its files tell; empty when
        they tell nothing.

        Args:
            words: what it printed.
        """

    def follow(self, instance: str, lines: int) -> AsyncIterator[str]:
        """The last lines of its output, and then what it prints, piece by piece, until it ends or whoever
        follows goes; nothing when it isn't there. Raises `Retry` as soon as the engine doesn't answer."""

    async def check(self, instance: str) -> Checked | None:
        """Run the image's own check in the instance, once; None when it has none. One that doesn't run isn't
        healthy."""

    async def listeners(self, instance: str) -> tuple[Listener, ...] | None:
        """Where the instance listens with TCP, without what the engine itself has in its network; None when
        that can't be found out."""

    async def run(self, instance: str, command: Sequence[str], timeout: float) -> Ran:
        """Run a command inside a running instance, as its own user and in its working directory.

        Args:
            timeout: seconds until it isn't waited for any more.

        Raises:
            Fault: `hook-failed`: it can't be run, such as for want of the program.
        """

    async def open(self, instance: str, command: Sequence[str], size: Size, kind: str) -> Terminal:
        """Run a command inside a running instance, on a terminal of its own, as its own user and in its
        working directory. A program that isn't there says so there, and ends with 126 or 127.

        Args:
            kind: of terminal, as in the environment variable TERM.

        Raises:
            Retry: `instance-gone`: it doesn't run.
        """

    async def sweep(self) -> int:
        """Remove what no instance uses any more, such as networks, and the containers of Stager versions with
        other labels. Returns how many resources were removed."""

    def events(self) -> AsyncIterator[str]:
        """The ids of environments of which an instance changed; an empty id when events may have been
        missed, first of all at the start: then look at everything. Reconnects by itself, never ends."""


class Prober(Protocol):
    """Asks an instance whether it serves."""

    async def answers(self, endpoint: Endpoint, host: str, path: str, timeout: float = 10.0) -> int | None:
        """The status of one `GET path` with this Host header, or None when nothing answered in time.

        Args:
            timeout: seconds for it.
        """

    def refusal(self, endpoint: Endpoint) -> str:
        """Why the last answer from there can't be passed on to visitors, a sentence on what isn't HTTP/1.1 in
        it; empty when it can, or when there was none."""

    async def accepts(self, endpoint: Endpoint) -> bool | None:
        """Whether a connection is accepted there; None when neither yes nor no comes back."""
