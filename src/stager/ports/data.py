"""Snapshots of named volumes, and the workbench that changes copies of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from stager.domain.service import ServiceCheck
from stager.ports.engine import Clone, InstanceSpec, Ran


class StorageKind(StrEnum):
    """Where new snapshots and volumes are."""

    POOL = "pool"
    """In the data pool. A clone shares its blocks with the snapshot until it changes them."""
    COPIES = "copies"
    """Snapshots in the state folder, volumes in the engine's. A clone is a complete copy."""
    NONE = "none"
    """The engine has no snapshots, and none can be made."""


@dataclass(frozen=True, slots=True)
class DataStatus:
    """The storage of snapshots and volumes.

    Args:
        problem: why there is no pool, or what it lacks; a sentence, empty if there is nothing to say.
        hint: what to do about it.
        file_system: its name, such as `xfs`; empty when it is unknown.
        size: bytes of the file system; None when it is unknown.
        available: bytes that can still be written.
    """

    storage: StorageKind
    problem: str = ""
    hint: str = ""
    file_system: str = ""
    size: int | None = None
    used: int | None = None
    available: int | None = None


@dataclass(frozen=True, slots=True)
class VolumeKey:
    """A named volume in the engine.

    Args:
        environment: the environment's id, or that of a workbench.
        name: as declared.
        number: the generation that it belongs to; of a kept volume the environment's epoch; 0 in a workbench.
    """

    environment: str
    name: str
    number: int = 0


class Data(Protocol):
    """Snapshots of named volumes. Only what belongs to this installation is touched. Each method raises
    `Retry` while the engine or the root helper doesn't answer, or the pool isn't mounted."""

    async def status(self) -> DataStatus:
        """Where new snapshots and volumes are stored, and how much space is left."""

    async def save(self, snapshot: str, volumes: Mapping[str, VolumeKey]) -> Mapping[str, int]:
        """Copy volumes into a new snapshot, all of them or none. Returns their sizes in bytes, by part.

        Args:
            snapshot: its id: lower-case letters, digits and dashes.
            volumes: by the name of the part.

        Raises:
            Refused: `volume-in-use`: a container that uses one of them runs; `snapshot-exists`.
            Fault: `volume-missing`; `data-full`: there isn't enough space.
        """

    async def remove(self, snapshot: str) -> None:
        """Remove a snapshot, first its record; success when it isn't there. Its clones stay."""

    async def record(self, snapshot: str, text: str) -> None:
        """Store a text with a complete snapshot, which `snapshots` returns."""

    async def snapshots(self) -> Mapping[str, str]:
        """The records of all complete snapshots, by their ids; empty for one without a record."""

    async def sizes(self, snapshot: str) -> Mapping[str, int]:
        """The sizes of a snapshot in bytes, by part; empty when it isn't there."""

    async def changed(self, environment: str) -> Mapping[VolumeKey, int]:
        """How many bytes the clones of an environment no longer share with their snapshots. Only of those
        volumes of which it is known: none without a pool."""

    def export(self, snapshot: str, part: str) -> AsyncIterator[bytes]:
        """A tar archive of a part of a snapshot; all of its entries are in the folder `volume`.

        Raises:
            Fault: `snapshot-missing`.
        """

    async def sweep(self) -> int:
        """Remove what interrupted calls left: incomplete snapshots, and the workbenches that this process
        hasn't opened. Returns how many resources were removed."""


class Workbench(Protocol):
    """Runs services without a network on volumes that no environment has. Each method raises `Retry` while
    the engine or the root helper doesn't answer."""

    async def open(self, bench: str, volumes: Mapping[str, Clone | None]) -> None:
        """Create a workbench with these volumes. `Data.save` saves them as `VolumeKey(bench, name)`.

        Args:
            bench: its id: lower-case letters and digits, not that of an environment.
            volumes: by their names; None for an empty one.

        Raises:
            Fault: `snapshot-missing`; `data-full`.
        """

    async def run(
        self,
        bench: str,
        spec: InstanceSpec,
        check: ServiceCheck | None,
        script: str,
        files: Mapping[str, Path],
        timeout: float,
    ) -> Ran:
        """Start a service, wait until it is healthy, run a script in it by `sh -c`, and stop it as
        `Instances.stop` does. The result is the script's.

        Args:
            spec: its labels only name it. Its named volumes must be the workbench's.
            check: its health check: of a request only the port is checked; None for the image's own, or else
                that it keeps running.
            script: it runs as the container's user.
            files: files of this machine, by the absolute path of their copies in the container, which are
                readable by all of its users.
            timeout: seconds for the start, and again for the script.

        Raises:
            Fault: `workbench-unhealthy`: the service ended or wasn't healthy in time; `workbench-unclean`: it
                exited with another code than 0 or that of the stop signal when it was stopped; `hook-failed`:
                there is no `sh`; `content-refused`: a file can't be copied.
        """

    async def close(self, bench: str) -> None:
        """Remove the workbench with its containers and volumes; success when it isn't there."""
