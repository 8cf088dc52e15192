"""The firewall as the root helper keeps it: bridges are told apart by their names, see `networks`."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stager.domain.egress import Destination, Egress, Reach
from stager.domain.environment import Instance, InstanceLabels
from stager.domain.errors import Retry, StagerError
from stager.domain.profile import WIDEST_REACH, ProfileName
from stager.engines.docker.network.egress import Names
from stager.engines.docker.network.pool import bridge_of, tag_of
from stager.helper_client import HelperClient
from stager.ports.firewall import UNGUARDED, Blocked

PATIENCE, GLANCE = 10.0, 2.0
"""Seconds for one answer of the helper's, which mostly takes a hundredth of one; and for one that only a page
waits for."""
BRIDGES = 500
"""In one group, as the helper takes them."""


@dataclass(frozen=True, slots=True)
class _Member:
    environment: str
    app: str
    profile: ProfileName


class HelperFirewall:
    """See `ports.firewall.Firewall`.

    Args:
        ports: tells the machine's ports at which visitors come in; they may change while Stager runs.
        egress_of: what an instance may connect to, by its application's name and its profile.
        builder_allow: what the builder of untrusted code may connect to besides the internet.
    """

    def __init__(
        self,
        helper: HelperClient,
        installation: str,
        ports: Callable[[], Sequence[int]],
        egress_of: Callable[[str, ProfileName], Egress],
        *,
        names: Names | None = None,
        builder_allow: Sequence[Destination] = (),
    ) -> None:
        self._helper = helper
        self._installation = installation
        self._ports = ports
        self._egress_of = egress_of
        self._names = names or Names()
        self._builder_allow = tuple(builder_allow)
        self._members: dict[str, _Member] = {}
        self._news: set[str] = set()
        """Bridges that were guarded since a renewal began."""
        self._turn = asyncio.Lock()
        self._asked = self._done = 0

    async def guard(self, network: str, labels: InstanceLabels) -> None:
        """See `ports.firewall.Firewall.guard`."""
        bridge = bridge_of(self._installation, network, labels.profile)
        self._members[bridge] = _Member(labels.environment, labels.app, labels.profile)
        self._news.add(bridge)
        try:
            await self._names.look_up(self._egress_of(labels.app, labels.profile).allow, again=False)
            await self._apply()
        except StagerError as error:
            raise Retry(
                f"It isn't started, because its firewall rules can't be checked. {error.message}",
                hint=error.hint,
                reason=UNGUARDED,
                detail=error.detail,
            ) from error

    async def renew(self, there: Sequence[tuple[Instance, InstanceLabels]]) -> None:
        """See `ports.firewall.Firewall.renew`. An instance that is guarded meanwhile may not be among these,
        nor one that was guarded since they were listed, so that those stay until the next time."""
        news, self._news = self._news, set()
        listed = {
            bridge_of(self._installation, instance.network, labels.profile): _Member(
                labels.environment, labels.app, labels.profile
            )
            for instance, labels in there
        }
        self._members = {b: m for b, m in self._members.items() if b in news} | listed
        members = {(m.app, m.profile) for m in listed.values()}
        allowed = [each for member in members for each in self._egress_of(*member).allow]
        await self._names.look_up([*allowed, *self._builder_allow], again=True)
        await self._apply()

    async def blocked(self) -> list[Blocked]:
        """See `ports.firewall.Firewall.blocked`."""
        told = await self._helper.call("firewall-blocked", GLANCE, tag=tag_of(self._installation))
        return [
            Blocked(
                member.environment,
                row["address"],
                row["port"],
                row["protocol"],
                row["count"],
                datetime.fromtimestamp(row["last"], UTC),
            )
            for row in told["blocked"]
            if (member := self._members.get(row["bridge"])) is not None
        ]

    async def _apply(self) -> None:
        """Have what is wanted now in place. Calls that come while the helper is asked share a next one."""
        self._asked += 1
        mine = self._asked
        async with self._turn:
            if self._done >= mine:
                return
            covered = self._asked
            await self._helper.call("firewall-apply", PATIENCE, **self._policy())
            self._done = covered

    def _policy(self) -> dict[str, Any]:
        """As `stager.helper.firewall.policy` reads it."""
        return {
            "tag": tag_of(self._installation),
            "ports": sorted(set(self._ports())),
            "groups": list(self._groups()),
            "builder_allow": self._addresses(self._builder_allow),
        }

    def _groups(self) -> Iterator[dict[str, Any]]:
        alike: defaultdict[tuple[Reach, tuple[Destination, ...]], list[str]] = defaultdict(list)
        for bridge, member in self._members.items():
            egress = self._egress_of(member.app, member.profile)
            if egress.reach != WIDEST_REACH[member.profile] or egress.allow:
                alike[egress.reach, egress.allow].append(bridge)
        for (reach, allow), bridges in sorted(alike.items(), key=str):
            addresses = self._addresses(allow)
            for start in range(0, len(bridges), BRIDGES):
                some = sorted(bridges)[start : start + BRIDGES]
                yield {"egress": reach, "allow": addresses, "bridges": some}

    def _addresses(self, allow: Sequence[Destination]) -> list[dict[str, Any]]:
        return [
            {"address": address, "port": each.port}
            for each in allow
            for address in self._names.addresses(each.host)
        ]
