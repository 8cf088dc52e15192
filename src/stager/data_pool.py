"""The client of the data pool, which the root helper manages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stager.helper_client import HelperClient, unreadable

STATUS_TIMEOUT = 35.0
CREATION_TIMEOUT = 370.0
"""Seconds, slightly more than the helper's own."""


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """The pool's state.

    Args:
        state: `ready`; `none`: it was never created; `broken`: it exists and can't be used.
        storage: `loop`: a file system in a file; `direct`: a folder; empty if there is none.
        file_system: `xfs` or `btrfs`.
        folder: its path.
        size, used, available: bytes.
        reserved: whether its file has all its blocks on the disk.
        disk_available: bytes on the disk that has its file.
        problem, hint: sentences; empty if everything is in order.
    """

    state: str
    storage: str
    file_system: str
    folder: str
    size: int
    used: int
    available: int
    reserved: bool
    disk_available: int
    problem: str
    hint: str


class DataPool:
    """The pool of this machine.

    Args:
        socket: the helper's.
    """

    def __init__(self, socket: Path) -> None:
        self._helper = HelperClient(socket)

    async def status(self) -> PoolStatus:
        """Return its state. Raises `StagerError`: the helper doesn't answer."""
        return _status(await self._helper.call("data-status", STATUS_TIMEOUT))

    async def initialize(self, size: int, *, reserve: bool) -> PoolStatus:
        """Create it, unless it exists.

        Args:
            size: bytes of its file; without effect where no file is needed.
            reserve: whether the file gets all its blocks now.

        Raises:
            StagerError: it can't be created.
        """
        return _status(await self._helper.call("data-init", CREATION_TIMEOUT, bytes=size, reserve=reserve))

    async def grow(self, size: int) -> PoolStatus:
        """Grow its file to so many bytes. Raises `StagerError`."""
        return _status(await self._helper.call("data-grow", CREATION_TIMEOUT, bytes=size))


def _status(answer: dict[str, Any]) -> PoolStatus:
    try:
        return PoolStatus(**answer)
    except TypeError as error:
        raise unreadable(str(error)) from error
