"""The untrusted builder's disk: an ext4 file system of fixed size in one sparse file."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
from contextlib import suppress
from pathlib import Path

from stager.helper.protocol import HelperError

NAME = "disk.ext4"
MIN_BYTES = 1 << 30
"""Minimum size in bytes, for one image."""
UNITS = {"M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
MKFS_TIMEOUT = 60.0
"""Seconds. It usually takes a second, because the file is sparse."""


def size(text: str) -> int:
    """Parse a size such as `20G` into bytes. Raises argparse.ArgumentTypeError."""
    found = re.fullmatch(r"(\d{1,6})([MGT])", text, re.ASCII)
    if found is None or (count := int(found[1]) * UNITS[found[2]]) < MIN_BYTES:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a size of at least 1G, such as 20G")
    return count


def ensure(folder: Path, count: int) -> None:
    """Create the folder and the disk in it. A disk of another size is replaced by an empty one.

    Args:
        folder: the builder's folder.
        count: bytes.

    Raises:
        HelperError: it can't be created.
    """
    _create_folder(folder)
    disk = folder / NAME
    with suppress(FileNotFoundError):
        if disk.stat().st_size == count:
            return
    new = folder / f"{NAME}.new"  # renamed when it is complete
    try:
        with new.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.truncate(count)
        command = ["mkfs.ext4", "-q", "-F", "-m", "0", str(new)]
        done = subprocess.run(  # noqa: S603 (our own command)
            command, capture_output=True, text=True, timeout=MKFS_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _no_disk(str(error)) from error
    if done.returncode:
        raise _no_disk(done.stderr.strip()[-200:])
    new.rename(disk)


def _create_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "root").mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
    except OSError as error:
        raise _no_disk(str(error)) from error
    if facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
        raise _no_disk(f"{folder} must belong to root, and only root may write to it")


def _no_disk(why: str) -> HelperError:
    return HelperError(f"The builder's disk can't be created: {why}.", kind="fault", reason="builder-disk")
