"""Snapshots as tar archives in the state folder: `ID/PART.tar`. They need neither root nor a special file
system."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
import tarfile
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import IO

from stager.domain.errors import Fault, Refused
from stager.engines.docker.data.archives import CHUNK, FOLDER, Archives, full

ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
SUFFIX = ".tar"
INCOMPLETE = ".incomplete"
"""At the end of the name of a snapshot that is written or removed. An id has no dot."""
NOT_ENOUGH = (errno.ENOSPC, errno.EDQUOT)

Range = tuple[int, int]
"""Offsets of the first byte and of the one after the last."""


def missing(snapshot: str, part: str) -> Fault:
    """The error for a snapshot, or a part of it, that doesn't exist."""
    return Fault(
        f"The snapshot {snapshot} with the volume {part} doesn't exist any more.",
        hint="Create one: `stager snapshot create`.",
        reason="snapshot-missing",
    )


def exists(snapshot: str) -> Refused:
    """The error for an id that is taken."""
    return Refused(f"There is already a snapshot {snapshot}.", reason="snapshot-exists", status=409)


class Copies:
    """The snapshots in a folder.

    Args:
        folder: created when it is needed, for Stager's user alone.

    Attributes:
        archives: reads and writes volumes.
    """

    def __init__(self, folder: Path, archives: Archives) -> None:
        self.archives = archives
        self._folder = folder
        self._writing: set[str] = set()

    def has(self, snapshot: str, part: str = "") -> bool:
        """Whether there is a complete snapshot, or a part of one."""
        folder = self._path(snapshot)
        return _file(folder, part).is_file() if part else folder.is_dir()

    async def save(self, snapshot: str, volumes: Mapping[str, str]) -> Mapping[str, int]:
        """See `ports.data.Data.save`.

        Args:
            volumes: the names of the volumes in Docker, by part.
        """
        folder = self._path(snapshot)
        if folder.exists():
            raise exists(snapshot)
        incomplete = folder.with_name(snapshot + INCOMPLETE)
        self._writing.add(snapshot)
        try:
            with _space_errors(f"the snapshot {snapshot}"):
                await asyncio.to_thread(_renew, incomplete)
                for part, volume in volumes.items():
                    await self._write(_file(incomplete, part), volume)
                await asyncio.to_thread(_publish, incomplete, folder)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, incomplete, ignore_errors=True))
            raise
        finally:
            self._writing.discard(snapshot)
        return await self.sizes(snapshot)

    async def _write(self, path: Path, volume: str) -> None:
        with _new_file(path) as file:
            async with aclosing(self.archives.read(volume)) as archive:
                async for piece in archive:
                    await asyncio.to_thread(_write_all, file, piece)
            await asyncio.to_thread(os.fsync, file.fileno())

    async def remove(self, snapshot: str) -> bool:
        """Remove a snapshot; returns whether it was there. It is incomplete from the first step on."""
        folder = self._path(snapshot)
        incomplete = folder.with_name(snapshot + INCOMPLETE)

        def run() -> bool:
            was_there = [path for path in (incomplete, folder) if path.exists()]
            for path in was_there:
                if path == folder:
                    path.rename(incomplete)
                shutil.rmtree(incomplete)
            return bool(was_there)

        return await asyncio.to_thread(run)

    def snapshots(self) -> Collection[str]:
        """The ids of the complete snapshots."""
        return {path.name for path in self._entries() if ID.fullmatch(path.name) and path.is_dir()}

    async def sizes(self, snapshot: str) -> Mapping[str, int]:
        """See `ports.data.Data.sizes`."""
        folder = self._path(snapshot)
        files = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ()
        return {path.name.removesuffix(SUFFIX): path.stat().st_size for path in files}

    async def read(self, snapshot: str, part: str, without: Collection[str] = ()) -> AsyncGenerator[bytes]:
        """The archive of a part, without these files.

        Raises:
            Fault: `snapshot-missing`.
        """
        try:
            file = _file(self._path(snapshot), part).open("rb", buffering=0)
        except FileNotFoundError as error:
            raise missing(snapshot, part) from error
        with file:
            ranges = await asyncio.to_thread(_ranges, file, frozenset(without)) if without else None
            for first, end in ranges or [(0, os.fstat(file.fileno()).st_size)]:
                file.seek(first)
                while (left := end - file.tell()) > 0:
                    piece = await asyncio.to_thread(file.read, min(CHUNK, left))
                    if not piece:
                        return
                    yield piece

    async def sweep(self) -> int:
        """Remove incomplete snapshots; returns their number."""
        left = [
            path
            for path in self._entries()
            if path.name.endswith(INCOMPLETE) and path.name.removesuffix(INCOMPLETE) not in self._writing
        ]
        for path in left:
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        return len(left)

    def _entries(self) -> list[Path]:
        return list(self._folder.iterdir()) if self._folder.is_dir() else []

    def _path(self, snapshot: str) -> Path:
        if not ID.fullmatch(snapshot):
            raise ValueError(f"not a snapshot's id: {snapshot!r}")
        return self._folder / snapshot


def _file(folder: Path, part: str) -> Path:
    """The archive of a part, whose name is that of a volume: it has no slash, and no dot first."""
    if not part or "/" in part or part.startswith("."):
        raise ValueError(f"not a part's name: {part!r}")
    return folder / f"{part}{SUFFIX}"


def _new_file(path: Path) -> IO[bytes]:
    """A new file for Stager's user alone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    return os.fdopen(descriptor, "wb", buffering=0)


def _renew(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)


def _publish(incomplete: Path, folder: Path) -> None:
    _sync(incomplete)
    incomplete.rename(folder)
    _sync(folder.parent)


def _sync(folder: Path) -> None:
    """Make the names in a folder permanent (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(file: IO[bytes], piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]


def _ranges(file: IO[bytes], without: frozenset[str]) -> list[Range]:
    """The parts of an archive that don't contain these files."""
    left_out = {f"{FOLDER}/{name}" for name in without}
    ranges: list[Range] = []
    first = 0
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for entry in archive:
            archive.members = []  # type: ignore[attr-defined]  # it would keep all of them
            if entry.name in left_out and not entry.isdir():
                ranges.append((first, entry.offset))
                first = _end_of(entry)
    ranges.append((first, os.fstat(file.fileno()).st_size))
    return [each for each in ranges if each[0] < each[1]]


def _end_of(entry: tarfile.TarInfo) -> int:
    blocks = -(-entry.size // tarfile.BLOCKSIZE) if entry.isreg() else 0
    return entry.offset_data + blocks * tarfile.BLOCKSIZE


@contextmanager
def _space_errors(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in NOT_ENOUGH:
            raise
        raise full(what) from error
