"""Checks whether sleeping previews can give their memory back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stager.domain.errors import StagerError
from stager.engines.docker.memory import ADD_SWAP, DockerMemory
from stager.engines.docker.swap import Swap, read_swap
from stager.helper.memory.cgroups import Cgroups, find_cgroups
from stager.helper_client import HelperClient
from stager.ports.diagnostics import Finding, Verdict

KEPT = "The memory of sleeping previews stays in use"
ALMOST_FULL = 0.9
"""The used share of the swap from which there is a warning."""


class MemoryCheck:
    """Checks how the memory of sleeping previews is reclaimed, and where it goes.

    Args:
        address: the engine's.
        helper: the root helper; None if it isn't used.
    """

    subject = "memory"

    def __init__(
        self,
        address: str,
        helper: HelperClient | None,
        *,
        cgroups: Cgroups | None = None,
        swap: Callable[[], Swap] = read_swap,
    ) -> None:
        self._address, self._helper = address, helper
        self._cgroups = cgroups or find_cgroups()
        self._swap = swap

    async def run(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.run`."""
        lack = await self._lack()
        helper = None if lack else self._helper
        memory = DockerMemory(self._address, "", helper, lack, cgroups=self._cgroups, swap=self._swap)
        support, swap = memory.support(), self._swap()
        if not support.way:
            return [self._finding(Verdict.OK, f"{KEPT} until they are stopped.", support.hint)]
        if not support.swap:
            message = f"{KEPT} until they are stopped: the machine has no swap."
            return [self._finding(Verdict.OK, message, support.hint)]
        message = f"The memory of sleeping previews goes to {swap}, by {support.way}."
        if swap.used > ALMOST_FULL * swap.size:
            return [self._finding(Verdict.WARNING, f"{message} It is almost full.", ADD_SWAP)]
        return [self._finding(Verdict.OK, message)]

    async def _lack(self) -> str:
        """Why the helper can't, a sentence; empty if it can."""
        if self._helper is None:
            return "`helper: off` in the configuration."
        if not self._helper.socket.exists():
            return f"There is no root helper at {self._helper.socket}."
        try:
            features = (await self._helper.call("hello")).get("features") or {}
        except StagerError as error:
            return error.message
        return str(features.get("memory", "This root helper is too old."))

    def _finding(self, verdict: Verdict, message: str, hint: str = "") -> Finding:
        return Finding(self.subject, verdict, message, hint)
