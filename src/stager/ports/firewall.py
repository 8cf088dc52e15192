"""What keeps previews from what they mustn't reach: rules for all, and exceptions by application."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from stager.domain.egress import Destination
from stager.domain.environment import Instance, InstanceLabels

UNGUARDED = "unguarded"
"""The reason with which a start is put off, because nobody can say that the rules are in place."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """A destination that an environment's instances were kept from.

    Args:
        protocol: `tcp`, `udp`, `icmp`, or a number.
        port: 0 where the protocol has none.
        count: attempts, at least: of many within a second only some are counted.
        last: when it was tried last.
    """

    environment: str
    address: str
    port: int
    protocol: str
    count: int
    last: datetime

    @property
    def opens(self) -> str:
        """The entry of `egress_allow` that opens it; empty where there is none for its protocol."""
        return str(Destination(self.address, self.port)) if self.port else ""


class Firewall(Protocol):
    """Rules for what instances may connect to. Each method raises `Retry` while it can't be done."""

    async def guard(self, network: str, labels: InstanceLabels) -> None:
        """Return once the rules for an instance with these labels, in this network, are known to be in place.
        An instance is started after this only.

        Raises:
            Retry: `unguarded`.
        """

    async def renew(self, there: Sequence[tuple[Instance, InstanceLabels]]) -> None:
        """Have the rules in place for all these instances and no others; names are looked up again."""

    async def blocked(self) -> list[Blocked]:
        """What instances were kept from lately, of those that `guard` and `renew` know."""
