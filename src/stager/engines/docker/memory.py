"""Takes the memory of paused containers back: as root by the kernel's files, else by the root helper."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from stager.domain.errors import Retry, StagerError
from stager.engines.docker.swap import Swap, read_swap
from stager.helper.memory.cgroups import Cgroups, find_cgroups
from stager.helper.memory.memory import RECLAIM_TIMEOUT, Memory
from stager.helper.protocol import HelperError
from stager.helper_client import HelperClient
from stager.ports.engine import Reclaim

DOCS = "docs/how-to/memory-of-sleeping-previews.md"
ADD_SWAP = f"Add zram or a swap file; see {DOCS}."
ADD_HELPER = "The root helper can; see docs/how-to/root-helper.md."
NOT_NOW = frozenset({"container-unknown", "container-awake", "group-unknown"})
"""The helper's reasons for a container that was woken or removed meanwhile."""
WAYS = {1: "memory.force_empty of cgroup v1", 2: "memory.reclaim of cgroup v2"}


class DockerMemory:
    """The memory of this installation's containers.

    Args:
        address: the engine's, such as `unix:///var/run/docker.sock`.
        helper: the root helper; None if it can't reclaim memory.
        lack: why there is no helper, a sentence.
        cgroups: this machine's.
        swap: reads the machine's swap.
    """

    def __init__(
        self,
        address: str,
        installation: str,
        helper: HelperClient | None,
        lack: str = "",
        *,
        cgroups: Cgroups | None = None,
        swap: Callable[[], Swap] = read_swap,
    ) -> None:
        self._installation = installation
        self._helper, self._lack = helper, lack
        self._cgroups = cgroups or find_cgroups()
        self._swap = swap
        at = urlsplit(address)
        self._is_local = at.scheme == "unix"
        self._own = Memory(self._cgroups, Path(at.path))
        self._is_root = os.geteuid() == 0 and not self._cgroups.lack

    def support(self) -> Reclaim:
        """See `ports.engine.Power.reclaim_support`."""
        swap = str(self._swap())
        if not self._is_local:
            return Reclaim("", swap, "It works only with a Docker on the same machine.")
        if not self._is_root and self._helper is None:
            return Reclaim("", swap, f"{self._lack} {ADD_HELPER}".lstrip())
        way = WAYS.get(self._cgroups.version, "the root helper")
        return Reclaim(way, swap, "" if swap else ADD_SWAP)

    async def reclaim(self, container: str) -> int | None:
        """See `ports.engine.Power.reclaim`."""
        if not self.support().works:
            return None
        try:
            if self._is_root or self._helper is None:
                return await self._directly(container)
            return await self._by_helper(self._helper, container)
        except StagerError as error:
            if error.detail in NOT_NOW:
                return None
            raise

    async def _directly(self, container: str) -> int:
        try:
            return await asyncio.to_thread(self._own.reclaim, self._installation, container)
        except HelperError as error:
            raise Retry(error.message, reason="engine-error", detail=error.reason) from error

    async def _by_helper(self, helper: HelperClient, container: str) -> int:
        answer = await helper.call(
            "memory-reclaim", RECLAIM_TIMEOUT + 5, installation=self._installation, container=container
        )
        return int(answer["bytes"])
