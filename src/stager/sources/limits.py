"""How much of a repository is had at most, and how long that may take."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from stager.domain.errors import Fault

BLOCK = 4096
"""Bytes that even an empty file takes. Counted so, a limit of bytes is one of the number of files, too."""

LOOK_SECONDS = 0.2
LOOKS_SHARE = 10
"""How many times as long as a look took is waited until the next: there may be very many files."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What sources keep to.

    Args:
        bytes: of what one fetch brings, and of what one checkout amounts to, submodules and LFS included.
        seconds: that one fetch, or filling one folder, may take.
        submodules: whether they are fetched; their folders stay empty otherwise.
        lfs: whether what Git LFS keeps is fetched; its pointers stay otherwise.
    """

    bytes: int = 2 * 1024**3
    seconds: float = 300.0
    submodules: bool = True
    lfs: bool = True


class Budget:
    """The bytes that one checkout has left.

    Args:
        what: what it is for, for the sentence.
    """

    def __init__(self, limits: Limits, what: str) -> None:
        self._left = limits.bytes
        self._limits = limits
        self._what = what

    def take(self, size: int) -> None:
        """Raises `Fault` (`source-too-large`) when so much isn't left."""
        self._left -= size
        if self._left < 0:
            raise too_large(self._what, self._limits)


@asynccontextmanager
async def bounded(folder: Path, limits: Limits, what: str) -> AsyncIterator[None]:
    """What happens within ends when it takes too long, or puts too much into `folder`.

    Args:
        what: what is had, for the sentence.

    Raises:
        Fault: `source-too-slow`, `source-too-large`.
    """
    over = False

    async def watch() -> None:
        nonlocal over
        loop = asyncio.get_running_loop()
        before = await asyncio.to_thread(size_of, folder)
        took = 0.0
        while not over:
            await asyncio.sleep(max(LOOK_SECONDS, LOOKS_SHARE * took))
            begin = loop.time()
            over = await asyncio.to_thread(size_of, folder) - before > limits.bytes
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
        raise (too_large(what, limits) if over else too_slow(what, limits)) from None


def size_of(folder: Path) -> int:
    """Bytes of the files below a folder, in which others may be at work."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(place) / name).lstat().st_size
    return total


def too_large(what: str, limits: Limits) -> Fault:
    return Fault(
        f"{what} is larger than the {_bytes(limits.bytes)} that the configuration allows.",
        hint="Keep large files out of the repository, or raise the limit.",
        reason="source-too-large",
    )


def too_slow(what: str, limits: Limits) -> Fault:
    return Fault(
        f"{what} didn't come within {limits.seconds:g} s.",
        hint="Is the repository's host slow, or the repository very large? The limit can be raised.",
        reason="source-too-slow",
    )


def _bytes(count: int) -> str:
    return f"{count / 1024**2:g} MB" if count >= 1024**2 else f"{count} bytes"
