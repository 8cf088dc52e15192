"""The untrusted builder's disk: an ext4 file system in one sparse file, which can't grow beyond its size."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
from contextlib import suppress
from pathlib import Path

from stager.helper.protocol import HelperError

NAME = "disk.ext4"
LEAST = 1 << 30
"""Bytes below which no image fits."""
UNITS = {"M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
MAKING = 60.0
"""Seconds; a second is usual, because the file is sparse."""


def size(text: str) -> int:
    """Bytes, from a text such as `20G`. Raises argparse.ArgumentTypeError."""
    found = re.fullmatch(r"(\d{1,6})([MGT])", text, re.ASCII)
    if found is None or (count := int(found[1]) * UNITS[found[2]]) < LEAST:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a size of at least 1G, such as 20G")
    return count


def make(folder: Path, count: int) -> None:
    """Make the folder and the disk in it; one of another size is made again, empty.

    Raises:
        HelperError: it can't be made.
    """
    _make_folder(folder)
    disk = folder / NAME
    with suppress(FileNotFoundError):
        if disk.stat().st_size == count:
            return
    new = folder / f"{NAME}.new"  # renamed when it is whole
    try:
        with new.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.truncate(count)
        command = ["mkfs.ext4", "-q", "-F", "-m", "0", str(new)]
        done = subprocess.run(  # noqa: S603 (our own command)
            command, capture_output=True, text=True, timeout=MAKING, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _no_disk(str(error)) from error
    if done.returncode:
        raise _no_disk(done.stderr.strip()[-200:])
    new.rename(disk)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "root").mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
    except OSError as error:
        raise _no_disk(str(error)) from error
    if facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
        raise _no_disk(f"{folder} must belong to root, and nobody else may write to it")


def _no_disk(why: str) -> HelperError:
    return HelperError(f"The builder's disk can't be made: {why}.", kind="fault", reason="builder-disk")
