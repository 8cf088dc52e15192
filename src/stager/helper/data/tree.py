"""Copies, measures and removes trees of files that containers wrote as root.

Such a tree may contain any name, link, mode and device, and may change meanwhile. So each entry is opened
relative to its folder, without following links, and its type is taken from what was opened.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from itertools import count, islice

from stager.helper.data.ioctl import clone_file, unshared
from stager.helper.protocol import refused
from stager.helper.verbs import failed

MAX_DEPTH = 128
"""Maximum depth of a tree that is copied, in folders. Each keeps four files open."""
MAX_RETRIES = 100
"""How often a folder may get new files while it is removed."""
BATCH = 1000
"""Entries that are removed before the folder is read again."""
BLOCK = 512
"""The unit of `st_blocks` in bytes, stat(2)."""
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
ANY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

Path = tuple[str, ...]
"""The names from the tree's root to an entry."""


@contextlib.contextmanager
def opened(name: str, flags: int, folder: int | None = None, mode: int = 0o600) -> Iterator[int]:
    """Open a file for as long as the block lasts. Raises OSError."""
    file = os.open(name, flags, mode, dir_fd=folder)
    try:
        yield file
    finally:
        os.close(file)


@contextlib.contextmanager
def _present(name: str, folder: int) -> Iterator[int | None]:
    """Open an entry of any type as a reference; yields None if it has vanished."""
    try:
        entry = os.open(name, ANY, dir_fd=folder)
    except FileNotFoundError:
        yield None
        return
    try:
        yield entry
    finally:
        os.close(entry)


@contextlib.contextmanager
def _reopened(entry: int, flags: int) -> Iterator[int]:
    """Open what `ANY` opened: the same file, also if its name is another one's now."""
    with opened(f"/proc/self/fd/{entry}", flags | os.O_CLOEXEC) as file:
        yield file


class TreeCopy:
    """A copy of one tree with owners, modes, times, extended attributes, hard and symbolic links.

    Sockets are left out, as no process listens at those of a stopped service.

    Args:
        links: an empty folder of the target's file system, for the hard links of one file.
        without: paths in the tree that are left out.
        copy: copies the content of a file.
    """

    def __init__(
        self,
        links: int,
        without: frozenset[Path] = frozenset(),
        copy: Callable[[int, int], None] = clone_file,
    ) -> None:
        self._links, self._without, self._copy = links, without, copy

    def copy(self, source: int, target: int) -> None:
        """Copy the content and the attributes of a folder into an empty one.

        Raises:
            HelperError: the tree contains a device, or is too deep.
            OSError: it can't be copied.
        """
        self._copy_folder(source, target, ())

    def _copy_folder(self, source: int, target: int, path: Path) -> None:
        if len(path) > MAX_DEPTH:
            raise refused(f"The volume has more than {MAX_DEPTH} folders in one another.", "too-deep")
        for name in names(source):
            inner = (*path, name)
            if inner not in self._without:
                with _present(name, source) as entry:
                    if entry is not None:
                        self._copy_entry(entry, target, inner)
        _copy_attributes(source, target, os.fstat(source))

    def _copy_entry(self, entry: int, target: int, path: Path) -> None:
        facts, name = os.fstat(entry), path[-1]
        match stat.S_IFMT(facts.st_mode):
            case stat.S_IFREG:
                self._copy_file(entry, facts, target, name)
            case stat.S_IFDIR:
                os.mkdir(name, 0o700, dir_fd=target)
                with _reopened(entry, os.O_RDONLY) as source, opened(name, FOLDER, target) as created:
                    self._copy_folder(source, created, path)
            case stat.S_IFLNK:
                os.symlink(os.readlink("", dir_fd=entry), name, dir_fd=target)
                os.chown(name, facts.st_uid, facts.st_gid, dir_fd=target, follow_symlinks=False)
                times = (facts.st_atime_ns, facts.st_mtime_ns)
                os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)
            case stat.S_IFIFO:
                os.mkfifo(name, 0o600, dir_fd=target)
                os.chown(name, facts.st_uid, facts.st_gid, dir_fd=target, follow_symlinks=False)
                os.chmod(name, stat.S_IMODE(facts.st_mode), dir_fd=target)
            case stat.S_IFBLK | stat.S_IFCHR:
                raise refused(
                    f"The volume contains a device, {'/'.join(path)!r}, which isn't copied.",
                    "device",
                    "Remove the device from the volume.",
                )

    def _copy_file(self, entry: int, facts: os.stat_result, target: int, name: str) -> None:
        link = f"{facts.st_dev}-{facts.st_ino}" if facts.st_nlink > 1 else ""
        if link:
            with contextlib.suppress(FileNotFoundError):
                os.link(link, name, src_dir_fd=self._links, dst_dir_fd=target, follow_symlinks=False)
                return
        created = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with _reopened(entry, os.O_RDONLY) as source, opened(name, created, target) as copied:
            self._copy(source, copied)
            _copy_attributes(source, copied, facts)
        if link:
            os.link(name, link, src_dir_fd=target, dst_dir_fd=self._links, follow_symlinks=False)


def _copy_attributes(source: int, target: int, facts: os.stat_result) -> None:
    """Copy owner, mode, extended attributes and times, in this order: a change of the owner clears the
    set-user-id bit and the capabilities."""
    os.chown(target, facts.st_uid, facts.st_gid)
    os.chmod(target, stat.S_IMODE(facts.st_mode))
    for name in os.listxattr(source):
        os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def names(folder: int) -> Iterator[str]:
    """The names in a folder, read in parts: it may have millions."""
    with os.scandir(folder) as entries:
        for entry in entries:
            yield entry.name


def measure(folder: int) -> tuple[int, int]:
    """Return the bytes on disk of a tree, and how many of them no other file shares. Files that vanish
    meanwhile, and what is deeper than `MAX_DEPTH`, aren't counted.

    Raises:
        OSError: the file system doesn't report shared blocks.
    """
    seen: set[tuple[int, int]] = set()
    size = own = 0
    for entry, facts in _files(folder, 0):
        if facts.st_nlink > 1:
            if (facts.st_dev, facts.st_ino) in seen:
                continue
            seen.add((facts.st_dev, facts.st_ino))
        size += facts.st_blocks * BLOCK
        if facts.st_blocks:
            with _reopened(entry, os.O_RDONLY) as file:
                own += min(unshared(file), facts.st_blocks * BLOCK)
    return size, own


def _files(folder: int, depth: int) -> Iterator[tuple[int, os.stat_result]]:
    for name in names(folder):
        with _present(name, folder) as entry:
            if entry is None:
                continue
            facts = os.fstat(entry)
            if stat.S_ISREG(facts.st_mode):
                yield entry, facts
            elif stat.S_ISDIR(facts.st_mode) and depth < MAX_DEPTH:
                with _reopened(entry, os.O_RDONLY) as inner:
                    yield from _files(inner, depth + 1)


def remove_tree(parent: int, name: str) -> None:
    """Remove a folder with its content. Idempotent.

    Folders in it are moved up instead of being entered, so a tree may be arbitrarily deep.

    Raises:
        HelperError: it gets new files meanwhile.
        OSError: it can't be removed.
    """
    fresh = (f".{secrets.token_hex(8)}-{number}" for number in count())
    with contextlib.suppress(FileNotFoundError), opened(name, FOLDER, parent) as root:
        retries = 0
        while results := [_remove_entry(root, entry, fresh) for entry in islice(names(root), BATCH)]:
            retries += results.count(False)
            if retries > MAX_RETRIES:
                raise failed("The volume gets new files while it is removed.", "volume-in-use")
        os.rmdir(name, dir_fd=parent)


def _remove_entry(root: int, name: str, fresh: Iterator[str]) -> bool:
    """Remove a file, or a folder after its folders were moved to `root`. Returns whether it is gone."""
    if _unlink(name, root):
        return True
    with opened(name, FOLDER, root) as folder:
        for inner in names(folder):
            if not _unlink(inner, folder):
                os.rename(inner, next(fresh), src_dir_fd=folder, dst_dir_fd=root)
    try:
        os.rmdir(name, dir_fd=root)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        return False
    return True


def _unlink(name: str, folder: int) -> bool:
    """Remove a file; returns False if it is a folder."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return True
    except IsADirectoryError:
        return False
    return True
