"""The firewall, implemented by the root helper, which identifies bridges by their names, see `pool`."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stager.domain.environment import Instance, InstanceLabels
from stager.domain.errors import Retry, StagerError
from stager.domain.profile import WIDEST_REACH, Destination, Egress, ProfileName, Reach
from stager.engines.docker.network.egress import HostAddresses
from stager.engines.docker.network.pool import bridge_of, tag_of
from stager.helper_client import HelperClient
from stager.ports.firewall import UNGUARDED, Blocked

APPLY_TIMEOUT, QUERY_TIMEOUT = 10.0, 2.0
"""Seconds for a change of the rules, which defaultly takes 10 ms; and for a query for a page."""
BRIDGES = 500
"""The helper's maximum number of bridges per group."""


@dataclass(frozen=True, slots=True)
class _Member:
    environment: str
    app: str
    profile: ProfileName


class HelperFirewall:
    """See `ports.firewall.Firewall`.

    Args:
        helper: the client of the root helper.
        installation: the id of this installation.
        ports: returns the machine's public ports; they may change while Stager runs.
        egress_of: returns the egress policy of an application's instances, by its name and their profile.
        host_addresses: the cache of resolved names.
        builder_allow: destinations that the builder of untrusted code may connect to besides the internet.
    """

    def __init__(
        self,
        helper: HelperClient,
        installation: str,
        ports: Callable[[], Sequence[int]],
        egress_of: Callable[[str, ProfileName], Egress],
        *,
        host_addresses: HostAddresses | None = None,
        builder_allow: Sequence[Destination] = (),
    ) -> None:
        self._helper = helper
        self._installation = installation
        self._ports = ports
        self._egress_of = egress_of
        self._host_addresses = host_addresses or HostAddresses()
        self._builder_allow = tuple(builder_allow)
        self._members: dict[str, _Member] = {}
        self._guarded_since: set[str] = set()
        """Bridges that were guarded since the last renewal began."""
        self._turn = asyncio.Lock()
        self._requested = self._applied = 0

    async def guard(self, network: str, labels: InstanceLabels) -> None:
        """See `ports.firewall.Firewall.guard`."""
        bridge = bridge_of(self._installation, network, labels.profile)
        self._members[bridge] = _Member(labels.environment, labels.app, labels.profile)
        self._guarded_since.add(bridge)
        try:
            await self._host_addresses.look_up(self._egress_of(labels.app, labels.profile).allow, again=False)
            await self._apply()
        except StagerError as error:
            raise Retry(
                f"The container isn't started, because its firewall rules can't be verified. {error.message}",
                hint=error.hint,
                reason=UNGUARDED,
                detail=error.detail,
            ) from error

    async def renew(self, instances: Sequence[tuple[Instance, InstanceLabels]]) -> None:
        """See `ports.firewall.Firewall.renew`. Bridges that were guarded since the last renewal began may be
        missing from the list, so they are kept until the next renewal."""
        guarded, self._guarded_since = self._guarded_since, set()
        listed = {
            bridge_of(self._installation, network, labels.profile): _Member(
                labels.environment, labels.app, labels.profile
            )
            for instance, labels in instances
            for network in instance.networks
        }
        self._members = {b: m for b, m in self._members.items() if b in guarded} | listed
        members = {(m.app, m.profile) for m in listed.values()}
        allowed = [each for member in members for each in self._egress_of(*member).allow]
        await self._host_addresses.look_up([*allowed, *self._builder_allow], again=True)
        await self._apply()

    async def blocked(self) -> list[Blocked]:
        """See `ports.firewall.Firewall.blocked`."""
        answer = await self._helper.call("firewall-blocked", QUERY_TIMEOUT, tag=tag_of(self._installation))
        return [
            Blocked(
                member.environment,
                row["address"],
                row["port"],
                row["protocol"],
                row["count"],
                datetime.fromtimestamp(row["last"], UTC),
            )
            for row in answer["blocked"]
            if (member := self._members.get(row["bridge"])) is not None
        ]

    async def _apply(self) -> None:
        """Apply the current policy. Concurrent calls are combined into one request."""
        self._requested += 1
        number = self._requested
        async with self._turn:
            if self._applied >= number:
                return
            covered = self._requested
            await self._helper.call("firewall-apply", APPLY_TIMEOUT, **self._policy())
            self._applied = covered

    def _policy(self) -> dict[str, Any]:
        """The policy in the form of `stager.helper.firewall.policy`."""
        return {
            "tag": tag_of(self._installation),
            "ports": sorted(set(self._ports())),
            "groups": list(self._groups()),
            "builder_allow": self._addresses(self._builder_allow),
        }

    def _groups(self) -> Iterator[dict[str, Any]]:
        groups: defaultdict[tuple[Reach, tuple[Destination, ...]], list[str]] = defaultdict(list)
        for bridge, member in self._members.items():
            egress = self._egress_of(member.app, member.profile)
            if egress.reach != WIDEST_REACH[member.profile] or egress.allow:
                groups[egress.reach, egress.allow].append(bridge)
        for (reach, allow), bridges in sorted(groups.items(), key=str):
            addresses = self._addresses(allow)
            for start in range(0, len(bridges), BRIDGES):
                chunk = sorted(bridges)[start : start + BRIDGES]
                yield {"egress": reach, "allow": addresses, "bridges": chunk}

    def _addresses(self, allow: Sequence[Destination]) -> list[dict[str, Any]]:
        return [
            {"address": address, "port": each.port}
            for each in allow
            for address in self._host_addresses.addresses(each.host)
        ]
