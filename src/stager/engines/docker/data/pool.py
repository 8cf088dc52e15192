"""The data pool, which the root helper keeps: volumes and snapshots on a file system where a copy shares the
blocks of its original until one of them changes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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


class Pool:
    """The pool's volumes and snapshots of this installation.

    Args:
        installation: the id of the installation.
    """

    def __init__(self, helper: HelperClient, installation: str) -> None:
        self._helper = helper
        self._installation = installation

    async def status(self) -> DataStatus:
        """See `ports.data.Data.status`.

        Raises:
            Retry: `data-away`: there is a pool, but it can't be used.
        """
        found = await self._helper.call("data-status")
        if found["state"] == "broken":
            raise Retry(
                found["problem"] or "The data pool can't be used.", hint=found["hint"], reason="data-away"
            )
        if found["state"] == "none":
            return DataStatus(StorageKind.COPIES, found["problem"] or "There is no data pool.", found["hint"])
        return DataStatus(
            StorageKind.POOL,
            found["problem"],
            found["hint"],
            found["file_system"],
            found["size"],
            found["used"],
            found["available"],
        )

    async def is_ready(self) -> bool:
        """Whether there is a pool. Raises `Retry` as `status` does."""
        return (await self.status()).storage is StorageKind.POOL

    async def create(self, volume: str) -> str:
        """Create an empty volume; returns its path for Docker.

        Args:
            volume: its name in Docker.
        """
        return str((await self._call("data-volume-create", volume, volume=volume))["path"])

    async def clone(self, volume: str, clone: Clone) -> str:
        """Create a volume as a copy of a part of a snapshot, at once or not at all. Returns its path for
        Docker.

        Raises:
            Fault: `snapshot-missing`; `data-full`.
        """
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
        with _errors(what):
            return await self._helper.call(
                verb, timeout=COPY_TIMEOUT, installation=self._installation, **fields
            )


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
                raise Retry(error.message, hint=error.hint, reason="data-away") from error
            case "volume-in-use":
                raise Refused(error.message, hint=error.hint, reason="volume-in-use", status=409) from error
            case "volume-unknown":
                raise Fault(error.message, hint=error.hint, reason="volume-missing") from error
            case _:
                raise
