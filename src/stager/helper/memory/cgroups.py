"""The memory of control groups, in both of their versions.

Version 1: Documentation/admin-guide/cgroup-v1/memory.rst of the kernel, `memory.force_empty` (5.1) and
`memory.swappiness` (5.3). Version 2: Documentation/admin-guide/cgroup-v2.rst, `memory.reclaim` (Linux 5.19)
and `memory.swap.max`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Files:
    """The names of a version's files.

    Args:
        swap: what limits the use of swap.
        open: the content of `swap` without a limit.
    """

    usage: str
    reclaim: str
    swap: str
    open: str


VERSIONS = {
    1: Files("memory.usage_in_bytes", "memory.force_empty", "memory.swappiness", "100"),
    2: Files("memory.current", "memory.reclaim", "memory.swap.max", "max"),
}


@dataclass(frozen=True, slots=True)
class Cgroups:
    """The hierarchy of control groups that has the memory controller.

    Args:
        version: 1 or 2; 0 if there is none.
        mount: where it is mounted.
        root: the group that is at `mount`.
        proc: `/proc`.
    """

    version: int
    mount: Path
    root: str = "/"
    proc: Path = PROC

    @property
    def lack(self) -> str:
        """Why this process can't reclaim memory, a sentence; empty if it can."""
        if not self.version:
            return "The kernel has no memory controller."
        file = self.mount / VERSIONS[self.version].reclaim
        if not file.exists():
            return f"The kernel has no `{file.name}`; Linux 5.19 and later do."
        if not os.access(file, os.W_OK):
            return f"{file} can't be written to."
        return ""

    def group_of(self, process: int, container: str) -> Path | None:
        """The folder of a container's group; None if this process isn't in one with the container's name.

        Args:
            process: any process of the container.
            container: its full id, which is a part of the name of its group.
        """
        names = (container, f"docker-{container}.scope")
        try:
            path = self._path_of(process)
        except OSError:
            return None
        root = PurePosixPath(self.root)
        if path is None or ".." in path.parts or not path.is_relative_to(root):
            return None
        parts = path.relative_to(root).parts
        # A container with control groups of its own moves its processes into groups below its own.
        at = next((index for index, part in enumerate(parts) if part in names), None)
        return None if at is None else self.mount.joinpath(*parts[: at + 1])

    def _path_of(self, process: int) -> PurePosixPath | None:
        """Read it from proc_pid_cgroup(5)."""
        for line in (self.proc / str(process) / "cgroup").read_text("utf-8", "surrogateescape").splitlines():
            number, controllers, path = line.split(":", 2)
            is_wanted = "memory" in controllers.split(",") if self.version == 1 else number == "0"
            if is_wanted and path.startswith("/"):
                return PurePosixPath(path)
        return None

    def reclaim(self, group: Path, closed: str = "") -> int:
        """Move as much of a group's memory to swap as possible. Returns the bytes that it gave back.

        Args:
            group: its folder.
            closed: the content of the file that limits its use of swap, which is opened meanwhile; empty to
                leave that file alone.

        Raises:
            OSError: the kernel refuses.
        """
        files = VERSIONS[self.version]
        before = _number(group / files.usage)
        with _swap_open(group / files.swap, files.open, closed):
            try:
                _write(group / files.reclaim, "0" if self.version == 1 else str(before))
            except OSError as error:
                if error.errno != errno.EAGAIN:  # less than all of it, as always
                    raise
        return max(0, before - _number(group / files.usage))


def find_cgroups(proc: Path = PROC) -> Cgroups:
    """Find the hierarchy that has the memory controller, among what is mounted."""
    second = Cgroups(0, Path("/"), proc=proc)
    for line in (proc / "self" / "mountinfo").read_text("utf-8", "surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if kind == "cgroup" and "memory" in options.split(","):
            return Cgroups(1, Path(point), root, proc)
        if kind == "cgroup2" and _has_memory(Path(point)):
            second = Cgroups(2, Path(point), root, proc)
    return second


def _has_memory(mount: Path) -> bool:
    try:
        return "memory" in (mount / "cgroup.controllers").read_text("ascii").split()
    except OSError:
        return False


@contextlib.contextmanager
def _swap_open(file: Path, opened: str, closed: str) -> Iterator[None]:
    if not closed or not file.exists():  # a kernel that doesn't account for swap
        yield
        return
    _write(file, opened)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):  # the container was removed
            _write(file, closed)


def _number(file: Path) -> int:
    return int(file.read_text("ascii"))


def _write(file: Path, text: str) -> None:
    """Write to a file of the kernel's, which must exist. Raises OSError."""
    handle = os.open(file, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.write(handle, text.encode("ascii"))
    finally:
        os.close(handle)
