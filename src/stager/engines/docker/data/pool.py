"""The data pool, which the root helper keeps: volumes and snapshots on a file system where a copy shares the
blocks of its original until one of them changes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from stager.domain.errors import Fault, Refused, Retry, StagerError
from stager.engines.docker.data.archives import full
from stager.engines.docker.data.copies import exists, missing
from stager.helper_client import HelperClient
from stager.ports.data import DataStatus, StorageKind
from stager.ports.engine import Clone

COPY_TIMEOUT = 600.0
"""Seconds for a copy that shares its blocks. The kernel copies their list, and each file needs a few calls:
1.7 GB in 1,300 files took 70 ms."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The size of a volume in bytes.

    Args:
        unshared: bytes that no other file has.
    """

    size: int
    unshared: int


@dataclass(frozen=True, slots=True)
class DataHelper:
    """The root helper, as far as it keeps a pool.

    Args:
        client: None if it isn't used for that.
        lack: why not, a sentence.
    """

    client: HelperClient | None = None
    lack: str = "There is no root helper."


class Pool:
    """The pool's volumes and snapshots of this installation.

    Args:
        installation: the id of the installation.
        marker: a file that exists once the pool was used. From then on, a missing pool is an error: volumes
            and snapshots are in it.
    """

    def __init__(self, helper: DataHelper, installation: str, marker: Path) -> None:
        self._helper = helper
        self._installation = installation
        self._marker = marker

    async def status(self) -> DataStatus:
        """See `ports.data.Data.status`.

        Raises:
            Retry: `data-away`: there is a pool, but it can't be used.
        """
        if self._helper.client is None:
            return self._without(self._helper.lack, "")
        found = await self._helper.client.call("data-status")
        if found["state"] == "broken":
            raise _away(found["problem"], found["hint"])
        if found["state"] == "none":
            return self._without(found["problem"], found["hint"])
        return DataStatus(
            StorageKind.POOL,
            found["problem"],
            found["hint"],
            found["file_system"],
            found["size"],
            found["used"],
            found["available"],
        )

    def _without(self, problem: str, hint: str) -> DataStatus:
        if self._marker.exists():
            hint = f"Restore it. To give up what is in it, stop Stager and remove {self._marker}."
            raise _away(f"The data pool with volumes and snapshots is missing. {problem}", hint)
        return DataStatus(StorageKind.COPIES, problem, hint)

    async def is_ready(self) -> bool:
        """Whether there is a pool. Raises `Retry` as `status` does."""
        return (await self.status()).storage is StorageKind.POOL

    async def is_path_of(self, volume: str, path: str) -> bool:
        """Whether a folder of this machine is where the pool has this volume.

        Args:
            volume: its name in Docker.
        """
        if self._helper.client is None:
            return False
        folder = (await self._helper.client.call("data-status"))["folder"]
        parts = PurePosixPath(path).parts
        beginning = PurePosixPath(folder, self._installation).parts
        return ".." not in parts and parts[: len(beginning)] == beginning and volume in parts

    async def create(self, volume: str) -> str:
        """Create an empty volume; returns its path for Docker.

        Args:
            volume: its name in Docker.
        """
        self._mark()
        return str((await self._call("data-volume-create", volume, volume=volume))["path"])

    def _mark(self) -> None:
        if not self._marker.exists():
            self._marker.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._marker.touch(mode=0o600)

    async def clone(self, volume: str, clone: Clone) -> str:
        """Create a volume as a copy of a part of a snapshot, at once or not at all. Returns its path for
        Docker.

        Raises:
            Fault: `snapshot-missing`; `data-full`.
        """
        self._mark()
        try:
            answer = await self._call(
                "data-volume-clone",
                volume,
                volume=volume,
                snapshot=clone.snapshot,
                part=clone.part,
                without=list(clone.without),
            )
        except Fault as error:
            if error.detail != "snapshot-unknown":
                raise
            raise missing(clone.snapshot, clone.part) from error
        return str(answer["path"])

    async def remove_volume(self, volume: str) -> bool:
        """Remove a volume; returns whether it was there."""
        return bool((await self._call("data-volume-remove", volume, volume=volume))["removed"])

    async def save(self, snapshot: str, volumes: Mapping[str, str]) -> Mapping[str, int]:
        """See `ports.data.Data.save`.

        Args:
            volumes: the names of volumes of the pool, by part.
        """
        self._mark()
        parts = [{"part": part, "volume": volume} for part, volume in volumes.items()]
        answer = await self._call(
            "data-snapshot-create", f"the snapshot {snapshot}", snapshot=snapshot, parts=parts
        )
        if not answer["created"]:
            raise exists(snapshot)
        return {each["part"]: each["size"] for each in answer["parts"]}

    async def remove(self, snapshot: str) -> bool:
        """Remove a snapshot; returns whether it was there."""
        answer = await self._call("data-snapshot-remove", snapshot, snapshot=snapshot)
        return bool(answer["removed"])

    async def volumes(self) -> Mapping[str, str]:
        """The snapshot that a volume was cloned from, by the volume's name; empty for one that wasn't."""
        return {each["volume"]: each["snapshot"] for each in (await self._call("data-list", ""))["volumes"]}

    async def snapshots(self) -> Mapping[str, Collection[str]]:
        """The names of the parts, by snapshot."""
        listed = (await self._call("data-list", ""))["snapshots"]
        return {each["snapshot"]: each["parts"] for each in listed}

    async def usage(self, volumes: Collection[str]) -> Mapping[str, Usage]:
        """The sizes of those of these volumes that are in the pool."""
        answer = await self._call("data-usage", "", volumes=sorted(volumes), snapshots=[])
        return {each["volume"]: Usage(each["size"], each["unshared"]) for each in answer["volumes"]}

    async def sizes(self, snapshot: str) -> Mapping[str, int]:
        """See `ports.data.Data.sizes`."""
        answer = await self._call("data-usage", "", volumes=[], snapshots=[snapshot])
        return {each["part"]: each["size"] for each in answer["snapshots"]}

    async def _call(self, verb: str, what: str, **fields: Any) -> dict[str, Any]:
        """Call a verb.

        Args:
            what: what would be written, for errors.
        """
        if self._helper.client is None:
            raise _away(self._helper.lack, "")
        with _errors(what):
            return await self._helper.client.call(
                verb, timeout=COPY_TIMEOUT, installation=self._installation, **fields
            )


def _away(problem: str, hint: str) -> Retry:
    return Retry(problem or "The data pool can't be used.", hint=hint, reason="data-away")


@contextmanager
def _errors(what: str) -> Iterator[None]:
    """Translate the helper's reasons."""
    try:
        yield
    except StagerError as error:
        match error.detail:
            case "pool-full":
                raise full(what) from error
            case "pool-broken" | "no-pool":
                raise _away(error.message, error.hint) from error
            case "volume-in-use":
                raise Refused(error.message, hint=error.hint, reason="volume-in-use", status=409) from error
            case "volume-unknown":
                raise Fault(error.message, hint=error.hint, reason="volume-missing") from error
            case _:
                raise
