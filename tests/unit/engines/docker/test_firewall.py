"""What Stager asks the root helper for, read by the helper's own shapes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from stager.domain.environment import Instance, InstanceState
from stager.domain.errors import Retry
from stager.domain.profile import Destination, Egress, Limits, ProfileName, profile_name, profile_of
from stager.domain.source import Trust
from stager.engines.docker.network.egress import KEEP_SECONDS, MAX_ADDRESSES, HostAddresses
from stager.engines.docker.network.firewall import HelperFirewall
from stager.engines.docker.network.pool import bridge_of, tag_of
from stager.helper.firewall.policy import BRIDGES, POLICY, Allowed, Group, Policy, policy_of
from stager.helper.shapes import fields, text
from stager.helper.verbs import Feature, Result, Verb, failed
from stager.helper_client import HelperClient
from tests.contracts.engines import instance_labels
from tests.unit.helper.serving import served

INSTALLATION = "test-me"
DATABASE = Destination("10.0.0.5", 5432)
EGRESS = {
    "shop": Egress(),
    "closed": Egress("none"),
    "strict": Egress("internet"),
    "open": Egress("private", (DATABASE, Destination("db.test", 5432))),
}
FORKS = {"shop", "strict"}


def egress_of(app: str, profile: ProfileName) -> Egress:
    return profile_of(profile, Limits(1, 1, 1, 1), EGRESS[app]).egress


class Recording(Feature):
    """Takes policies as the helper's firewall does, and keeps no rules."""

    name = "firewall"

    def __init__(self) -> None:
        self.policies: list[Policy] = []
        self.rows: list[dict[str, object]] = []
        self.is_broken = False
        self.seconds = 0.0

    def verbs(self) -> Iterable[Verb]:
        yield Verb("firewall-apply", POLICY, self._apply, "firewall")
        yield Verb("firewall-blocked", fields(tag=text(".*", "a tag")), self._tell, "blocked")

    def _apply(self, given: Mapping[str, Any]) -> Result:
        time.sleep(self.seconds)
        if self.is_broken:
            raise failed("iptables is broken.", "firewall-failed")
        self.policies.append(policy_of(given))
        return {"changed": True}

    def _tell(self, given: Mapping[str, Any]) -> Result:
        return {"blocked": self.rows, "unavailable": ""}

    @property
    def last(self) -> dict[str, tuple[str, tuple[Allowed, ...]]]:
        """Each bridge that isn't as usual, of the latest policy."""
        groups: tuple[Group, ...] = self.policies[-1].groups
        return {bridge: (group.egress, group.allow) for group in groups for bridge in group.bridges}


class NameServer:
    def __init__(self, **known: list[str]) -> None:
        self.known, self.asked, self.now = known, 0, 0.0

    async def __call__(self, name: str) -> list[str]:
        self.asked += 1
        if name not in self.known:
            raise OSError("no such name")
        return self.known[name]


@pytest.fixture
def names() -> NameServer:
    return NameServer(**{"db.test": ["10.0.0.7", "fd00::7"]})


@pytest.fixture
def recording() -> Recording:
    return Recording()


@pytest.fixture
async def firewall(tmp_path: Path, recording: Recording, names: NameServer) -> AsyncIterator[HelperFirewall]:
    async with served(tmp_path, recording) as path:
        known = HostAddresses(names, lambda: names.now)
        yield HelperFirewall(
            HelperClient(path), INSTALLATION, lambda: (443, 80, 80), egress_of, host_addresses=known
        )


def of(app: str, trust: Trust = Trust.TRUSTED, network: str = "") -> tuple[str, Any]:
    return network or f"network-{app}-{trust}", replace(
        instance_labels(), app=app, trust=trust, profile=profile_name(trust)
    )


def there(app: str, trust: Trust = Trust.TRUSTED) -> tuple[Instance, Any]:
    network, born = of(app, trust)
    return Instance("c1", "e1", "web", "d1", 1, InstanceState.RUNNING, network=network), born


def bridge(app: str, trust: Trust = Trust.TRUSTED) -> str:
    return bridge_of(INSTALLATION, of(app, trust)[0], profile_name(trust))


async def test_the_usual_ones_need_no_rules_of_their_own(
    firewall: HelperFirewall, recording: Recording
) -> None:
    await firewall.guard(*of("shop"))
    await firewall.guard(*of("shop", Trust.FORK))
    await firewall.guard(*of("strict", Trust.FORK))
    assert recording.policies[-1] == Policy(tag_of(INSTALLATION), (80, 443))


async def test_what_an_application_says_is_its_bridges(
    firewall: HelperFirewall, recording: Recording
) -> None:
    for app, trust in (("closed", Trust.TRUSTED), ("closed", Trust.FORK), ("strict", Trust.TRUSTED)):
        await firewall.guard(*of(app, trust))
    await firewall.guard(*of("open"))
    await firewall.guard(*of("open", Trust.FORK))
    allow = (Allowed("10.0.0.5", 5432), Allowed("10.0.0.7", 5432), Allowed("fd00::7", 5432))
    assert recording.last == {
        bridge("closed"): ("none", ()),
        bridge("closed", Trust.FORK): ("none", ()),
        bridge("strict"): ("internet", ()),
        bridge("open"): ("private", allow),
        bridge("open", Trust.FORK): ("internet", allow),
    }


async def test_a_renewal_drops_removed_ones_and_resolves_names_again(
    firewall: HelperFirewall, recording: Recording, names: NameServer
) -> None:
    await firewall.guard(*of("open"))
    await firewall.guard(*of("closed"))
    assert names.asked == 1
    await firewall.guard(*of("open"))
    assert names.asked == 1, "not at each start"
    await firewall.renew([])
    assert set(recording.last) == {bridge("open"), bridge("closed")}, "they may be newer than the list"
    names.known["db.test"] = ["10.0.0.8"]
    await firewall.renew([there("open")])
    assert set(recording.last) == {bridge("open")}
    both = [Allowed(address, 5432) for address in ("10.0.0.5", "10.0.0.7", "10.0.0.8", "fd00::7")]
    assert recording.last[bridge("open")][1] == tuple(both), "the old ones count for a while"
    names.now = KEEP_SECONDS + 1
    await firewall.renew([there("open")])
    assert recording.last[bridge("open")][1] == (both[0], both[2])


async def test_a_name_that_isnt_found_opens_nothing_and_keeps_what_it_had(
    firewall: HelperFirewall, recording: Recording, names: NameServer
) -> None:
    known = names.known.pop("db.test")
    await firewall.guard(*of("open"))
    assert recording.last[bridge("open")][1] == (Allowed("10.0.0.5", 5432),)
    names.known["db.test"] = known
    await firewall.renew([there("open")])
    names.known.clear()
    await firewall.renew([there("open")])
    assert len(recording.last[bridge("open")][1]) == 3


async def test_a_name_server_may_say_anything(names: NameServer) -> None:
    names.known["db.test"] = ["0.0.0.0", "224.0.0.1", *(f"10.0.1.{n}" for n in range(50))]
    known = HostAddresses(names, lambda: 0.0)
    await known.look_up([Destination("db.test", 1)], again=True)
    found = known.addresses("db.test")
    assert len(found) == MAX_ADDRESSES
    assert all(ip_address(each).is_private and each.startswith("10.") for each in found)
    assert known.addresses("::FFFF") == ["::ffff"]


async def test_without_an_answer_it_says_that_it_mustnt_start(
    firewall: HelperFirewall, recording: Recording, tmp_path: Path
) -> None:
    recording.is_broken = True
    with pytest.raises(Retry, match=r"isn't started.*iptables is broken") as unguarded:
        await firewall.guard(*of("shop"))
    assert unguarded.value.reason == "unguarded"
    nobody = HelperFirewall(HelperClient(tmp_path / "none"), INSTALLATION, tuple, egress_of)
    with pytest.raises(Retry) as unguarded:
        await nobody.guard(*of("shop"))
    assert unguarded.value.reason == "unguarded"
    with pytest.raises(Retry):
        await nobody.renew([])


async def test_what_the_helper_wont_take_is_put_off_as_well(recording: Recording, tmp_path: Path) -> None:
    """Such as one of another version."""
    async with served(tmp_path) as path:
        firewall = HelperFirewall(HelperClient(path), INSTALLATION, tuple, egress_of)
        with pytest.raises(Retry) as unguarded:
            await firewall.guard(*of("shop"))
    assert unguarded.value.reason == "unguarded"


async def test_many_at_once_share_questions_that_began_after_they_came(
    firewall: HelperFirewall, recording: Recording
) -> None:
    recording.seconds = 0.05
    await asyncio.gather(*(firewall.guard(*of("closed", network=f"n{n}")) for n in range(8)))
    assert len(recording.policies) == 2
    assert len(recording.last) == 8


async def test_more_bridges_than_a_group_takes(firewall: HelperFirewall, recording: Recording) -> None:
    many = [there("closed") for _ in range(BRIDGES + 1)]
    born = [(replace(instance, network=f"n{n}"), b) for n, (instance, b) in enumerate(many)]
    await firewall.renew(born)
    assert [len(group.bridges) for group in recording.policies[-1].groups] == [BRIDGES, 1]


async def test_blocked_connections_are_listed_of_our_instances(
    firewall: HelperFirewall, recording: Recording
) -> None:
    row = {"address": "10.0.0.5", "port": 5432, "protocol": "tcp", "count": 2, "last": 1_700_000_000}
    recording.rows = [{"bridge": bridge("shop"), **row}, {"bridge": "pvtffff00000000", **row}]
    assert await firewall.blocked() == []
    await firewall.guard(*of("shop"))
    [blocked] = await firewall.blocked()
    assert (blocked.environment, blocked.opens, blocked.count) == ("e1", "10.0.0.5:5432", 2)
    assert blocked.last.isoformat() == "2023-11-14T22:13:20+00:00"
    assert replace(blocked, address="fd00::5").opens == "[fd00::5]:5432"
    assert replace(blocked, port=0).opens == ""


def test_a_bridges_name_fits_and_identifies_its_installation() -> None:
    name = bridge_of("installation", "stager-installation-10.200.0.0", ProfileName.RESTRICTED)
    assert len(name) == 15
    assert name.startswith(f"pvf{tag_of('installation')}")
    assert bridge_of("another", "stager-installation-10.200.0.0", ProfileName.RESTRICTED)[3:7] != name[3:7]


async def test_the_builders_exceptions(recording: Recording, names: NameServer, tmp_path: Path) -> None:
    registry = Destination("db.test", 5000)
    async with served(tmp_path, recording) as path:
        firewall = HelperFirewall(
            HelperClient(path),
            INSTALLATION,
            tuple,
            egress_of,
            host_addresses=HostAddresses(names),
            builder_allow=(registry,),
        )
        await firewall.renew([])
    assert recording.policies[-1].builder_allow == (Allowed("10.0.0.7", 5000), Allowed("fd00::7", 5000))
