"""A fake firewall, which records the environments that it guards."""

from __future__ import annotations

from collections.abc import Sequence

from stager.domain.environment import Instance, InstanceLabels
from stager.domain.errors import Retry
from stager.ports.firewall import UNGUARDED, Blocked


class FakeFirewall:
    """See `ports.firewall.Firewall`.

    Attributes:
        guarded: guarded environments by network.
        renewals: the number of calls of `renew`.
    """

    def __init__(self) -> None:
        self.guarded: dict[str, str] = {}
        self.renewals = 0
        self._away = False
        self._blocked: list[Blocked] = []

    def leave(self) -> None:
        """Make every call fail until `come_back`."""
        self._away = True

    def come_back(self) -> None:
        self._away = False

    def block(self, blocked: Blocked) -> None:
        """Record a blocked destination."""
        self._blocked.append(blocked)

    async def guard(self, network: str, labels: InstanceLabels) -> None:
        self._turn()
        self.guarded[network] = labels.environment

    async def renew(self, there: Sequence[tuple[Instance, InstanceLabels]]) -> None:
        self._turn()
        self.renewals += 1
        self.guarded = {
            network: labels.environment for instance, labels in there for network in instance.networks
        }

    async def blocked(self) -> list[Blocked]:
        self._turn()
        known = set(self.guarded.values())
        return [blocked for blocked in self._blocked if blocked.environment in known]

    def _turn(self) -> None:
        if self._away:
            raise Retry("The firewall doesn't answer.", reason=UNGUARDED)
