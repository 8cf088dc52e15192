"""The pool: a folder on a file system with copy-on-write.

If the data folder is on XFS with reflinks or on btrfs, the pool is a folder there. Otherwise it is an XFS
file system in one file, mounted in the data folder.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stager.helper.data.ioctl import clone_file
from stager.helper.data.loop_file import MIN_BYTES, LoopFile, gigabytes
from stager.helper.data.namespace import Namespace
from stager.helper.data.tree import FOLDER
from stager.helper.protocol import HelperError, refused
from stager.helper.verbs import failed

log = logging.getLogger("stager-helper")

NAME, MARKER = "pool", ".stager-pool"
"""Its folder, and an empty file in it that tells it from the folder that it is mounted on."""
FILE_SYSTEMS = ("xfs", "btrfs")
"""Those on which the pool is a folder, by the name that stat(1) has for them."""
RESERVE_SHARE = 20
MAX_RESERVE, MAX_DISK_RESERVE = 1 << 30, 2 << 30
"""Bytes. If a twentieth of the pool, at most 1 GiB, is left, no volume or snapshot is created: that is for
the writes of running instances. The same for the disk that has a sparse file, at most 2 GiB."""

SETTLE_TIMEOUT = 1.0
"""Seconds until a full pool is refused: XFS frees the blocks of removed files in the background."""
GROW = " To make the pool larger: `sudo stager data grow`."


@dataclass(frozen=True, slots=True)
class Status:
    """The pool's state.

    Args:
        state: `ready`; `none`: it was never created; `broken`: it exists and can't be used.
        storage: `loop` or `direct`; empty if there is none.
        file_system: `xfs` or `btrfs`.
        folder: its path, in dockerd's mount namespace.
        size, used, available: bytes.
        reserved: whether its file has all its blocks.
        disk_available: bytes, of the disk that has the file.
        problem, hint: sentences; empty if everything is in order.
    """

    state: str
    storage: str = ""
    file_system: str = ""
    folder: str = ""
    size: int = 0
    used: int = 0
    available: int = 0
    reserved: bool = False
    disk_available: int = 0
    problem: str = ""
    hint: str = ""


class Pool:
    """The pool of this machine.

    Args:
        folder: the data folder, in the namespace.
        limit: maximum size of its file in bytes; None is what leaves a reserve on the disk.
    """

    def __init__(self, folder: Path, namespace: Namespace, limit: int | None = None) -> None:
        self._data, self._namespace, self._limit = folder, namespace, limit
        self.folder = folder / NAME
        self._file = LoopFile(folder, self.folder, namespace)
        self._kinds: dict[int, str] = {}

    @property
    def _root(self) -> Path:
        return self._namespace.path(self.folder)

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """Open its folder for as long as the block lasts, after mounting it if necessary.

        Raises:
            HelperError: `no-pool`, `pool-broken`.
        """
        self.mount()
        with _errors():
            if not self._exists():
                raise refused("There is no data pool.", "no-pool", "To create it: `sudo stager data init`.")
            root = os.open(self._root, FOLDER)
        try:
            if not _has_marker(root):
                raise failed(f"{self.folder} isn't the data pool: it has no {MARKER}.", "pool-broken")
            yield root
        finally:
            os.close(root)

    def _exists(self) -> bool:
        return self._file.exists() or (self._root / MARKER).exists()

    def mount(self) -> None:
        """Mount its file, if it has one that isn't mounted.

        Raises:
            HelperError: `pool-broken`.
        """
        with _errors():
            if self._file.exists():
                self._file.mount()

    def initialize(self, size: int, *, reserve: bool) -> None:
        """Create the pool, unless there is one.

        Args:
            size: bytes of its file; without effect where no file is needed.
            reserve: whether the file gets all its blocks now.

        Raises:
            HelperError: it can't be created here.
        """
        self._check_namespace()
        with _errors():
            self._create_data_folder()
            if not self._exists():
                if self._has_reflinks():
                    self._root.mkdir(mode=0o700, exist_ok=True)
                else:
                    self._check_size(size, reserve=reserve)
                    self._file.create(size, reserve=reserve)
            self.mount()
            (self._root / MARKER).touch(mode=0o600)

    def grow(self, size: int) -> None:
        """Grow its file to so many bytes, while it is in use. Idempotent.

        Raises:
            HelperError: it can't grow.
        """
        with self.opened(), _errors():
            if not self._file.exists():
                raise refused(
                    f"The data pool is a folder on the disk of {self._data}, and has its size.", "pool-direct"
                )
            self._check_size(size, reserve=not self._file.is_sparse())
            self._file.grow(size)

    def check_room(self) -> None:
        """Check that a volume or snapshot may be created.

        Raises:
            HelperError: `no-pool`, `pool-broken`, `pool-full`.
        """
        deadline = time.monotonic() + SETTLE_TIMEOUT
        while (status := self.status()).problem and status.state == "ready" and time.monotonic() < deadline:
            time.sleep(0.1)
        if status.state == "none":
            raise refused(status.problem, "no-pool", status.hint)
        if status.state == "broken":
            raise failed(status.problem, "pool-broken", status.hint)
        if status.problem:
            raise failed(status.problem, "pool-full", status.hint)

    def _check_namespace(self) -> None:
        """Raise `HelperError` if the helper can't enter dockerd's mount namespace."""
        if lack := self._namespace.lack():
            raise refused(lack, "no-pool", "Under systemd, its unit needs the drop-in builder.conf.")

    def status(self) -> Status:
        """Return its state, after mounting it if necessary."""
        try:
            self._check_namespace()
            with self.opened() as root, _errors():
                return self._ready(os.fstatvfs(root))
        except HelperError as error:
            if error.reason == "no-pool":
                return Status("none", problem=error.message, hint=self._how_to_create(error.hint))
            return Status("broken", folder=str(self.folder), problem=error.message, hint=error.hint)

    def _ready(self, facts: os.statvfs_result) -> Status:
        is_file = self._file.exists()
        is_sparse = is_file and self._file.is_sparse()
        disk = os.statvfs(self._namespace.path(self._data))
        available, on_disk = facts.f_bavail * facts.f_frsize, disk.f_bavail * disk.f_frsize
        problem, hint = _shortage(facts, MAX_RESERVE, f"The data pool {self.folder}", GROW if is_file else "")
        if is_sparse and not problem:
            what = f"The disk of {self._data}, which has the data pool's file,"
            problem, hint = _shortage(disk, MAX_DISK_RESERVE, what, "")
        return Status(
            "ready",
            storage="loop" if is_file else "direct",
            file_system=self._file_system(self._root),
            folder=str(self.folder),
            size=facts.f_blocks * facts.f_frsize,
            used=(facts.f_blocks - facts.f_bfree) * facts.f_frsize,
            available=min(available, on_disk) if is_sparse else available,
            reserved=is_file and not is_sparse,
            disk_available=on_disk,
            problem=problem,
            hint=hint,
        )

    def _how_to_create(self, hint: str) -> str:
        """Return the hint, or why no pool can be created on this machine."""
        with contextlib.suppress(OSError, HelperError):
            path = self._namespace.path(self._data)
            while not path.exists():
                path = path.parent
            if self._file_system(path) in FILE_SYSTEMS:
                return hint
            return self._file.lack() or hint
        return hint

    def maintain(self) -> str:
        """Restore what `fstrim` may have taken from a reserved file. Returns the pool's problem.

        Raises:
            HelperError: the disk is full.
        """
        with _errors():
            if not self._file.exists() or not self._file.is_mounted():
                return ""
            self._file.restore_reserve()
        return self.status().problem

    def _create_data_folder(self) -> None:
        path = self._namespace.path(self._data)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = path.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
            raise refused(
                f"{self._data} must be a folder that belongs to root and that only root may write to.",
                "pool-impossible",
            )

    def _has_reflinks(self) -> bool:
        """Whether the data folder is on a file system on which the pool can be a folder."""
        data = self._namespace.path(self._data)
        if self._file_system(data) not in FILE_SYSTEMS:
            return False
        names = [".reflink-source", ".reflink-target"]
        try:
            with (data / names[0]).open("w+b") as source, (data / names[1]).open("wb") as target:
                source.write(b"\0" * 65536)
                source.flush()
                clone_file(source.fileno(), target.fileno())
        except OSError:
            return False
        finally:
            for name in names:
                (data / name).unlink(missing_ok=True)
        return True

    def _file_system(self, path: Path) -> str:
        device = path.stat().st_dev
        if device not in self._kinds:
            self._kinds[device] = Namespace(None).run("stat", "-f", "-c", "%T", str(path)).strip()
        return self._kinds[device]

    def _check_size(self, size: int, *, reserve: bool) -> None:
        """Check the size of a file that is created or grows. Raises `HelperError`."""
        if size < MIN_BYTES:
            raise refused(f"The data pool needs at least {gigabytes(MIN_BYTES)}.", "pool-size")
        if self._limit is not None and size > self._limit:
            raise refused(
                f"The data pool may have {gigabytes(self._limit)} at most.",
                "pool-size",
                "The helper's option `--data-max` sets this limit.",
            )
        disk = os.statvfs(self._namespace.path(self._data))
        allocated = self._file.allocated()
        available = disk.f_bavail * disk.f_frsize - _reserve(disk, MAX_DISK_RESERVE)
        most = allocated + available if reserve else disk.f_blocks * disk.f_frsize
        if size > most:
            raise refused(
                f"The disk of {self._data} has no room for a data pool of {gigabytes(size)}; "
                f"{gigabytes(max(most, 0))} are possible.",
                "pool-size",
                "Choose a smaller size, or another disk by the helper's option `--data-folder`.",
            )


def _reserve(facts: os.statvfs_result, most: int) -> int:
    return min(facts.f_blocks * facts.f_frsize // RESERVE_SHARE, most)


def _shortage(facts: os.statvfs_result, most: int, what: str, more: str) -> tuple[str, str]:
    """Return a sentence and a hint if a file system is almost full, else two empty strings.

    Args:
        most: the maximum reserve in bytes.
        what: the subject of the sentence.
        more: another hint.
    """
    available, reserve = facts.f_bavail * facts.f_frsize, _reserve(facts, most)
    if available >= reserve:
        return "", ""
    problem = (
        f"{what} is almost full: {available >> 20} MB are available, and the last {reserve >> 20} MB are for "
        "running instances."
    )
    return problem, f"Remove previews or snapshots.{more}"


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Turn errors of the system into `pool-broken`."""
    try:
        yield
    except OSError as error:
        raise failed(f"The data pool can't be used: {error}.", "pool-broken") from error


def _has_marker(root: int) -> bool:
    try:
        return stat.S_ISREG(os.stat(MARKER, dir_fd=root, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False
