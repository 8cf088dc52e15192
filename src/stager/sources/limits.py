"""Limits on the size and duration of fetches and checkouts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from stager.domain.errors import Fault

BLOCK = 4096
"""Minimum number of bytes that a file counts for, so that the limit also bounds the number of files."""

CHECK_SECONDS = 0.2
CHECK_SHARE = 10
"""The pause between two checks, as a multiple of a check's duration: there may be very many files."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of fetches and checkouts.

    Args:
        bytes: maximum size of one fetch, and of one checkout with submodules and LFS files.
        seconds: maximum duration of one fetch, and of one checkout.
        submodules: whether submodules are fetched; otherwise their folders stay empty.
        lfs: whether LFS files are fetched; otherwise their pointers stay.
    """

    bytes: int = 2 * 1024**3
    seconds: float = 300.0
    submodules: bool = True
    lfs: bool = True


class Budget:
    """The remaining bytes of one checkout.

    Args:
        what: the subject of the error message.
    """

    def __init__(self, limits: Limits, what: str) -> None:
        self._left = limits.bytes
        self._limits = limits
        self._what = what

    def take(self, size: int) -> None:
        """Raises `Fault` (`source-too-large`) when less is left."""
        self._left -= size
        if self._left < 0:
            raise too_large(self._what, self._limits)


@asynccontextmanager
async def bounded(folder: Path, limits: Limits, what: str) -> AsyncIterator[None]:
    """Cancels its block when it takes too long or `folder` grows too large.

    Args:
        what: the subject of the error message.

    Raises:
        Fault: `source-too-slow`, `source-too-large`.
    """
    is_too_large = False

    async def watch() -> None:
        nonlocal is_too_large
        loop = asyncio.get_running_loop()
        before = await asyncio.to_thread(size_of, folder)
        took = 0.0
        while not is_too_large:
            await asyncio.sleep(max(CHECK_SECONDS, CHECK_SHARE * took))
            begin = loop.time()
            is_too_large = await asyncio.to_thread(size_of, folder) - before > limits.bytes
            took = loop.time() - begin
        scope.reschedule(loop.time())

    try:
        async with asyncio.timeout(limits.seconds) as scope:
            watcher = asyncio.create_task(watch())
            try:
                yield
            finally:
                watcher.cancel()
                await asyncio.wait([watcher])
    except TimeoutError:
        raise (too_large(what, limits) if is_too_large else too_slow(what, limits)) from None


def size_of(folder: Path) -> int:
    """The size in bytes of the files below a folder, which may change meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(place) / name).lstat().st_size
    return total


def too_large(what: str, limits: Limits) -> Fault:
    return Fault(
        f"{what} is larger than {_bytes(limits.bytes)}, the limit of the configuration.",
        hint="Keep large files out of the repository, or raise the limit.",
        reason="source-too-large",
    )


def too_slow(what: str, limits: Limits) -> Fault:
    return Fault(
        f"{what} wasn't fetched within {limits.seconds:g} s.",
        hint="Check whether the repository's host is slow or the repository very large, or raise the limit.",
        reason="source-too-slow",
    )


def _bytes(count: int) -> str:
    return f"{count / 1024**2:g} MB" if count >= 1024**2 else f"{count} bytes"
