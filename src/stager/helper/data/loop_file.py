"""An XFS file system in one file, for machines whose disk has no copy-on-write."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
from pathlib import Path

from stager.helper.data.namespace import Namespace
from stager.helper.data.tree import BLOCK
from stager.helper.protocol import HelperError, refused
from stager.helper.verbs import failed

log = logging.getLogger("stager-helper")

NAME, SPARSE = "pool.xfs", "pool.sparse"
"""The file, and an empty file beside it if not all of its blocks are reserved."""
REQUIRED_COMMANDS = ("mkfs.xfs", "xfs_growfs", "mount", "losetup", "fallocate")
MIN_BYTES = 1 << 30
"""Minimum size in bytes; mkfs.xfs rejects less than 300 MB."""
ALLOCATION_TIMEOUT = 300.0
"""Seconds. ext4 and XFS reserve blocks without writing them, so it usually takes one."""
MOUNT_OPTIONS = "loop,nodev,nosuid,noatime"


def gigabytes(count: int) -> str:
    """Format bytes."""
    return f"{count / (1 << 30):.1f} GB"


class LoopFile:
    """The file, and its mount.

    Args:
        folder: its folder, in the namespace.
        point: where it is mounted, in the namespace.
    """

    def __init__(self, folder: Path, point: Path, namespace: Namespace) -> None:
        self._folder, self._point, self._namespace = folder, point, namespace
        self._lock = threading.Lock()

    @property
    def _path(self) -> Path:
        return self._folder / NAME

    @property
    def _file(self) -> Path:
        return self._namespace.path(self._path)

    def exists(self) -> bool:
        """Whether it was created. Raises OSError."""
        return self._file.exists()

    def is_mounted(self) -> bool:
        """Whether something is mounted at its place. Raises OSError."""
        point = self._namespace.path(self._point)
        return point.exists() and point.stat().st_dev != point.parent.stat().st_dev

    def is_sparse(self) -> bool:
        """Whether it was created without reserving its blocks. Raises OSError."""
        return self._file.with_name(SPARSE).exists()

    def allocated(self) -> int:
        """Return its bytes on the disk. Raises OSError."""
        return self._file.stat().st_blocks * BLOCK if self._file.exists() else 0

    def lack(self) -> str:
        """Return why there can't be one on this machine, a sentence; empty if there can."""
        missing = [name for name in REQUIRED_COMMANDS if shutil.which(name) is None]
        if missing:
            packages = "xfsprogs and util-linux"
            return f"Commands are missing: {', '.join(missing)}; the packages {packages} have them."
        if not self._namespace.path(Path("/dev/loop-control")).exists():
            return "This machine has no loop devices."
        return ""

    def create(self, size: int, *, reserve: bool) -> None:
        """Create it.

        Args:
            size: bytes.
            reserve: whether it gets all its blocks now.

        Raises:
            HelperError: it can't be created.
        """
        if lack := self.lack():
            raise refused(lack, "pool-impossible")
        new = self._path.with_name(f"{NAME}.new")  # renamed when it is complete
        file = self._namespace.path(new)
        try:
            with file.open("wb") as opened:
                os.fchmod(opened.fileno(), 0o600)
            if reserve:
                file.with_name(SPARSE).unlink(missing_ok=True)
            else:
                file.with_name(SPARSE).touch(mode=0o600)
            self._extend(new, size, reserve=reserve)
            # Without -K, it would give the reserved blocks back.
            self._namespace.run("mkfs.xfs", "-q", "-f", "-K", "-m", "reflink=1", str(new))
            file.rename(self._file)
        except OSError as error:
            raise failed(f"{self._path} can't be created: {error}.", "pool-broken") from error
        finally:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)

    def _extend(self, path: Path, size: int, *, reserve: bool) -> None:
        if not reserve:
            os.truncate(self._namespace.path(path), size)
            return
        try:
            self._namespace.run("fallocate", "-l", str(size), str(path), timeout=ALLOCATION_TIMEOUT)
        except HelperError as error:
            raise refused(
                f"The disk can't reserve {gigabytes(size)} for the data pool: {error.message}",
                "pool-unreserved",
                "Choose a smaller size, or a sparse file: `stager data init --sparse`.",
            ) from error

    def mount(self) -> None:
        """Mount it unless it is mounted.

        Raises:
            HelperError: `pool-broken`.
        """
        with self._lock:
            try:
                if self.is_mounted():
                    return
                self._namespace.path(self._point).mkdir(mode=0o700, exist_ok=True)
                more = ",discard" if self.is_sparse() else ""  # which returns free blocks to the disk
            except OSError as error:
                raise failed(f"The data pool can't be mounted: {error}.", "pool-broken") from error
            self._mount(MOUNT_OPTIONS + more)

    def _mount(self, options: str) -> None:
        try:
            self._namespace.run("mount", "-t", "xfs", "-o", options, str(self._path), str(self._point))
        except HelperError as error:
            raise failed(
                f"The data pool can't be mounted: {error.message}",
                "pool-broken",
                f"Check its file: `xfs_repair -n {self._path}`. Previews with volumes in it can't start.",
            ) from error
        log.info("the data pool is mounted at %s", self._point)

    def grow(self, size: int) -> None:
        """Grow it and its file system, which stays mounted. Idempotent.

        Args:
            size: bytes.

        Raises:
            HelperError: it would become smaller, or can't grow.
            OSError: it can't be read.
        """
        current = self._file.stat().st_size
        if size < current:
            raise refused(
                f"The data pool has {gigabytes(current)} already; it can't become smaller.", "pool-smaller"
            )
        self._extend(self._path, size, reserve=not self.is_sparse())
        mounts = self._namespace.mounts()
        device = next(mount.source for mount in reversed(mounts) if mount.point == str(self._point))
        self._namespace.run("losetup", "--set-capacity", device)
        self._namespace.run("xfs_growfs", str(self._point))

    def restore_reserve(self) -> None:
        """Reserve its blocks again, of which `fstrim` may have returned some to the disk.

        Raises:
            HelperError: the disk is full.
            OSError: it can't be read.
        """
        facts = self._file.stat()
        if not self.is_sparse() and facts.st_blocks * BLOCK < facts.st_size:
            self._extend(self._path, facts.st_size, reserve=True)
