"""The firewall of the previews: rules for all, and exceptions by application."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from stager.domain.environment import Instance, InstanceLabels
from stager.domain.profile import Destination

UNGUARDED = "unguarded"
"""The reason of a `Retry` when a start is delayed because the rules aren't known to be applied."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """A destination to which connections of an environment's instances were blocked.

    Args:
        protocol: `tcp`, `udp`, `icmp`, or a number.
        port: 0 where the protocol has none.
        count: the minimum number of attempts; of many within a second only some are counted.
        last: the time of the last attempt.
    """

    environment: str
    address: str
    port: int
    protocol: str
    count: int
    last: datetime

    @property
    def opens(self) -> str:
        """The entry of `egress_allow` that allows it; empty where its protocol can't be allowed."""
        return str(Destination(self.address, self.port)) if self.port else ""


class Firewall(Protocol):
    """Applies the rules. Each method raises `Retry` while that fails."""

    async def guard(self, network: str, labels: InstanceLabels) -> None:
        """Apply the rules for an instance with these labels in this network. An instance is only started
        after this returns.

        Raises:
            Retry: `unguarded`.
        """

    async def renew(self, there: Sequence[tuple[Instance, InstanceLabels]]) -> None:
        """Apply the rules of exactly these instances; host names are resolved again."""

    async def blocked(self) -> list[Blocked]:
        """Recently blocked destinations of the instances that `guard` and `renew` were called with."""
