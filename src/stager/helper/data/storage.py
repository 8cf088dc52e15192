"""The volumes and snapshots of one installation in the pool.

    INSTALLATION/volumes/VOLUME/data        what containers mount
    INSTALLATION/volumes/VOLUME/origin      what it is a clone of, as JSON
    INSTALLATION/snapshots/SNAPSHOT/PART/   copies of volumes; no container ever mounts them

Each is made under another name and renamed when it is complete, and gets another name before it is removed.
So everything with a valid name is complete, whenever the helper ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from stager.helper.data.ioctl import clone_file, sync_file_system
from stager.helper.data.tree import FOLDER, TreeCopy, measure, names, opened, remove_tree
from stager.helper.protocol import refused
from stager.helper.verbs import failed

NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}"
"""Names of volumes, and of the parts of a snapshot."""
SNAPSHOT = r"[a-z0-9][a-z0-9-]{0,63}"
VOLUMES, SNAPSHOTS, DATA, ORIGIN = "volumes", "snapshots", "data", "origin"
NEW, GONE = ".new-", ".gone-"
VOLUME_MODE = 0o755
MAX_ORIGIN = 1024
"""Bytes."""

Copy = Callable[[int, int], None]
Origin = tuple[str, str]
"""The snapshot and the part that a volume is a clone of; two empty strings for none."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Args: size: bytes. unshared: bytes that no other file shares."""

    size: int
    unshared: int


class Storage:
    """The volumes and snapshots of one installation.

    Args:
        pool: the pool's folder, open.
        installation: its id.
        is_mounted: whether a volume's folder is mounted, by its path in the pool.
        copy: copies the content of a file.
    """

    def __init__(
        self, pool: int, installation: str, is_mounted: Callable[[str], bool], copy: Copy = clone_file
    ) -> None:
        self._pool, self._installation = pool, installation
        self._is_mounted, self._copy = is_mounted, copy

    def create_volume(self, volume: str) -> bool:
        """Create an empty volume. Returns False if it exists. Raises OSError."""
        with self._folder(VOLUMES) as volumes:
            if _exists(volumes, volume):
                return False
            with _created(volumes, volume) as new:
                os.mkdir(DATA, VOLUME_MODE, dir_fd=new)
                os.chmod(DATA, VOLUME_MODE, dir_fd=new)
                _write_origin(new, ("", ""))
        return True

    def clone_volume(self, volume: str, origin: Origin, without: Sequence[str]) -> bool:
        """Create a volume as a clone of a snapshot's part. Returns False if it exists already.

        Args:
            origin: the snapshot and its part.
            without: paths in the part that are left out.

        Raises:
            HelperError: there is no such snapshot, or the volume exists and isn't a clone of it.
            OSError: it can't be created.
        """
        with self._folder(VOLUMES) as volumes, self._part(*origin) as source:
            if _exists(volumes, volume):
                if _origin(volumes, volume) != origin:
                    raise refused(f"The volume {volume} exists and has other data.", "volume-exists")
                return False
            with _created(volumes, volume) as new:
                self._copy_tree(source, new, DATA, without)
                _write_origin(new, origin)
        return True

    def remove_volume(self, volume: str) -> bool:
        """Remove a volume. Returns False if there is none.

        Raises:
            HelperError: a container uses it.
            OSError: it can't be removed.
        """
        self._check_unused(volume)
        with self._folder(VOLUMES) as volumes:
            return _remove(volumes, volume)

    def create_snapshot(self, snapshot: str, parts: Mapping[str, str]) -> bool:
        """Copy volumes into a new snapshot: all of them, or none. Returns False if it exists.

        Args:
            parts: volumes by the name of the part.

        Raises:
            HelperError: there is no such volume, or a container uses it.
            OSError: it can't be created.
        """
        with self._folder(SNAPSHOTS) as snapshots, self._folder(VOLUMES) as volumes:
            if _exists(snapshots, snapshot):
                return False
            with _created(snapshots, snapshot) as new:
                for part, volume in parts.items():
                    self._check_unused(volume)
                    with _data(volumes, volume) as source:
                        self._copy_tree(source, new, part, ())
                    self._check_unused(volume)
                sync_file_system(new)
        return True

    def remove_snapshot(self, snapshot: str) -> bool:
        """Remove a snapshot. Its clones stay. Returns False if there is none. Raises OSError."""
        with self._folder(SNAPSHOTS) as snapshots:
            return _remove(snapshots, snapshot)

    def volumes(self) -> dict[str, Origin]:
        """Return the volumes and their origins. Raises OSError."""
        with self._folder(VOLUMES) as volumes:
            return {name: _origin(volumes, name) for name in complete(volumes, NAME)}

    def snapshots(self) -> dict[str, list[str]]:
        """Return the snapshots and the names of their parts. Raises OSError."""
        found = {}
        with self._folder(SNAPSHOTS) as snapshots:
            for name in complete(snapshots, SNAPSHOT):
                with contextlib.suppress(FileNotFoundError), opened(name, FOLDER, snapshots) as snapshot:
                    found[name] = complete(snapshot, NAME)
        return found

    def volume_usage(self, volume: str) -> Usage | None:
        """Return the size of a volume; None if there is none. Raises OSError."""
        with self._folder(VOLUMES) as volumes:
            if not _exists(volumes, volume):
                return None
            with _data(volumes, volume) as data:
                return Usage(*measure(data))

    def part_usage(self, snapshot: str, part: str) -> Usage:
        """Return the size of a part. Raises HelperError, OSError."""
        with self._part(snapshot, part) as source:
            return Usage(*measure(source))

    def remove_leftovers(self) -> int:
        """Remove what a helper that crashed left incomplete. Returns how many. Raises OSError."""
        count = 0
        for kind in (VOLUMES, SNAPSHOTS):
            with self._folder(kind) as folder:
                for name in list(names(folder)):
                    if name.startswith((NEW, GONE)):
                        remove_tree(folder, name)
                        count += 1
        return count

    def exists(self) -> bool:
        """Whether anything of this installation was ever in the pool. Raises OSError."""
        return all(_exists(self._pool, f"{self._installation}/{kind}") for kind in (VOLUMES, SNAPSHOTS))

    def create_folders(self) -> None:
        """Create the folders of volumes and snapshots. Idempotent. Raises OSError."""
        for path in ("", VOLUMES, SNAPSHOTS):
            with contextlib.suppress(FileExistsError):
                os.mkdir(f"{self._installation}/{path}", 0o700, dir_fd=self._pool)

    @contextlib.contextmanager
    def _folder(self, kind: str) -> Iterator[int]:
        with opened(f"{self._installation}/{kind}", FOLDER, self._pool) as folder:
            yield folder

    @contextlib.contextmanager
    def _part(self, snapshot: str, part: str) -> Iterator[int]:
        with self._folder(SNAPSHOTS) as snapshots:
            if not _exists(snapshots, snapshot) or not _exists(snapshots, f"{snapshot}/{part}"):
                raise refused(
                    f"There is no snapshot {snapshot} with the part {part} in the data pool.",
                    "snapshot-unknown",
                )
            with opened(f"{snapshot}/{part}", FOLDER, snapshots) as source:
                yield source

    def _copy_tree(self, source: int, new: int, name: str, without: Sequence[str]) -> None:
        left_out = frozenset(tuple(path.split("/")) for path in without)
        links = f".links-{secrets.token_hex(8)}"
        os.mkdir(links, 0o700, dir_fd=new)
        os.mkdir(name, 0o700, dir_fd=new)
        with opened(links, FOLDER, new) as linked, opened(name, FOLDER, new) as target:
            TreeCopy(linked, left_out, self._copy).copy(source, target)
        remove_tree(new, links)

    def _check_unused(self, volume: str) -> None:
        if self._is_mounted(f"{self._installation}/{VOLUMES}/{volume}/{DATA}"):
            raise failed(
                f"The volume {volume} is used by a running container.",
                "volume-in-use",
                "Stop the container first.",
            )


@contextlib.contextmanager
def _created(folder: int, name: str) -> Iterator[int]:
    """Create a folder that gets its name when the block ends without an error."""
    new = f"{NEW}{secrets.token_hex(8)}"
    os.mkdir(new, 0o700, dir_fd=folder)
    try:
        with opened(new, FOLDER, folder) as file:
            yield file
            os.fsync(file)
        os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    except BaseException:
        remove_tree(folder, new)
        raise


def _remove(folder: int, name: str) -> bool:
    gone = f"{GONE}{secrets.token_hex(8)}"
    try:
        os.rename(name, gone, src_dir_fd=folder, dst_dir_fd=folder)
    except FileNotFoundError:
        return False
    os.fsync(folder)
    remove_tree(folder, gone)
    return True


@contextlib.contextmanager
def _data(volumes: int, volume: str) -> Iterator[int]:
    if not _exists(volumes, volume):
        raise refused(f"There is no volume {volume} in the data pool.", "volume-unknown")
    with opened(f"{volume}/{DATA}", FOLDER, volumes) as data:
        yield data


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def complete(folder: int, pattern: str) -> list[str]:
    """Return the names in a folder that match a pattern. Raises OSError."""
    return sorted(name for name in names(folder) if re.fullmatch(pattern, name, re.ASCII))


def _write_origin(new: int, origin: Origin) -> None:
    with opened(ORIGIN, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, new) as file:
        os.write(file, json.dumps(origin).encode())
        os.fsync(file)


def _origin(volumes: int, volume: str) -> Origin:
    with opened(f"{volume}/{ORIGIN}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, volumes) as file:
        snapshot, part = json.loads(os.read(file, MAX_ORIGIN))
    return str(snapshot), str(part)
