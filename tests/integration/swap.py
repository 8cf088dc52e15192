"""Swap of the test's own, for as long as a block lasts."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

ZRAM = Path("/sys/block/zram0")


class NoSwapError(Exception):
    """This machine can't have swap of the test's own."""


@contextlib.contextmanager
def swap_file(folder: Path, size: int) -> Iterator[None]:
    """Swap in a file. Raises NoSwapError.

    Args:
        size: bytes.
    """
    file = folder / "swap"
    _check_root()
    try:
        _run("fallocate", "--length", str(size), str(file))
        file.chmod(0o600)
        with _used(str(file), priority=10):
            yield
    finally:
        file.unlink(missing_ok=True)


@contextlib.contextmanager
def zram(size: int) -> Iterator[None]:
    """Compressed swap in memory. Raises NoSwapError.

    Args:
        size: bytes before compression.
    """
    _check_root()
    if not ZRAM.exists() or (ZRAM / "disksize").read_text().strip() != "0":
        raise NoSwapError("there is no zram, or it is used")
    (ZRAM / "comp_algorithm").write_text("lz4")
    (ZRAM / "disksize").write_text(str(size))
    try:
        with _used("/dev/zram0", priority=100):
            yield
    finally:
        (ZRAM / "reset").write_text("1")


@contextlib.contextmanager
def _used(place: str, priority: int) -> Iterator[None]:
    _run("mkswap", place)
    _run("swapon", f"--priority={priority}", place)
    try:
        yield
    finally:
        _run("swapoff", place)


def _check_root() -> None:
    if os.geteuid() != 0:
        raise NoSwapError("only root may add swap")


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NoSwapError(str(error)) from error
    if done.returncode:
        raise NoSwapError(f"{' '.join(command)}: {done.stderr.strip()}")
