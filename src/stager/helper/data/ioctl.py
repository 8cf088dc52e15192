"""The calls of the kernel for files with shared blocks: clone, map of extents, flags, and sync."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import struct

FICLONE = 0x40049409
"""ioctl_ficlone(2)."""
FS_IOC_FIEMAP = 0xC020660B
"""https://docs.kernel.org/filesystems/fiemap.html"""
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS = 0x80086601, 0x40086602
"""ioctl_iflags(2)."""
FS_NOCOW_FL = 0x00800000
HEADER = struct.Struct("=QQIIII")
EXTENT = struct.Struct("=QQQQQIIII")
EXTENTS = 512
"""Extents that one call returns."""
EXTENT_LAST, EXTENT_SHARED = 0x1, 0x2000
CHUNK = 1 << 30
"""Bytes that one call copies."""

_libc = ctypes.CDLL(None, use_errno=True)


def clone_file(source: int, target: int) -> None:
    """Let an empty file share all blocks of another one.

    Args:
        source, target: open files of one file system.

    Raises:
        OSError: the file system can't do that, or is full.
    """
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as error:
        if error.errno != errno.EINVAL or not _copy_nocow(source, target):
            raise
        fcntl.ioctl(target, FICLONE, source)


def copy_file(source: int, target: int) -> None:
    """Copy the content of a file. Raises OSError."""
    while os.copy_file_range(source, target, CHUNK):
        pass


def unshared(file: int) -> int:
    """Return how many bytes of a file no other file shares.

    Raises:
        OSError: the file system doesn't report it.
    """
    return sum(length for length, is_shared in _extents(file) if not is_shared)


def sync_file_system(file: int) -> None:
    """Write everything of a file's file system to the disk, syncfs(2). Raises OSError."""
    if _libc.syncfs(file):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _extents(file: int) -> list[tuple[int, bool]]:
    """The lengths of a file's extents, and whether each is shared."""
    found: list[tuple[int, bool]] = []
    start = 0
    while True:
        buffer = bytearray(HEADER.size + EXTENTS * EXTENT.size)
        HEADER.pack_into(buffer, 0, start, (1 << 64) - 1 - start, 0, 0, EXTENTS, 0)
        fcntl.ioctl(file, FS_IOC_FIEMAP, buffer)
        count = HEADER.unpack_from(buffer)[3]
        for index in range(count):
            logical, _, length, _, _, flags, *_ = EXTENT.unpack_from(
                buffer, HEADER.size + index * EXTENT.size
            )
            found.append((length, bool(flags & EXTENT_SHARED)))
            start = logical + length
            if flags & EXTENT_LAST:
                return found
        if not count:
            return found


def _copy_nocow(source: int, target: int) -> bool:
    """Give an empty file the source's flag "no copy-on-write", which btrfs requires for a clone and MariaDB
    sets. Returns whether that changed something."""
    with contextlib.suppress(OSError):
        wanted, present = flags_of(source) & FS_NOCOW_FL, flags_of(target)
        if wanted != present & FS_NOCOW_FL:
            value = (present & ~FS_NOCOW_FL) | wanted
            fcntl.ioctl(target, FS_IOC_SETFLAGS, struct.pack("l", value))
            return True
    return False


def flags_of(file: int) -> int:
    """Return a file's flags. Raises OSError."""
    return int(struct.unpack("l", fcntl.ioctl(file, FS_IOC_GETFLAGS, struct.pack("l", 0)))[0])
