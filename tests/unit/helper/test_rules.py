"""The rules as values: every chain that is jumped to is there, and what must hold holds for every policy."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stager.helper.firewall.policy import POLICY, Allowed, Group, Policy, policy_of
from stager.helper.firewall.rules import FAMILIES, METADATA, PRIVATE, Chains, FirewallOptions, chains_of
from stager.helper.firewall.tables import is_reached, ours, read, restore_script
from stager.helper.protocol import HelperError

TAG = "ab12"
TARGETS = {"RETURN", "ACCEPT", "DROP", "REJECT", "NFLOG"}

ports = st.integers(1, 65535)
addresses = st.ip_addresses().filter(lambda a: not a.is_unspecified and not a.is_multicast).map(str)
allowed = st.lists(st.builds(Allowed, addresses, ports), max_size=3).map(tuple)
bridges = st.builds("pv{}{}{:08x}".format, st.sampled_from("tf"), st.just(TAG), st.integers(0, 2**32 - 1))
groups = st.builds(
    Group,
    st.sampled_from(("private", "internet", "none")),
    allowed,
    st.lists(bridges, max_size=3).map(tuple),
)
policies = st.builds(
    Policy,
    st.just(TAG),
    st.lists(ports, max_size=3).map(tuple),
    st.lists(groups, max_size=3).map(tuple),
    allowed,
)


def saved(chains: Chains) -> str:
    """As `iptables-save` would print it, in a table in which they are reached."""
    heads = [":INPUT ACCEPT [0:0]", ":FORWARD DROP [0:0]", *(f":{chain} - [0:0]" for chain in chains)]
    jumps = ["-A INPUT -j STAGER-IN", "-A FORWARD -j STAGER-OUT"]
    rules = [f"-A {chain} {rule}" for chain, rules in chains.items() for rule in rules]
    return "\n".join(["*filter", *heads, *jumps, *rules, "COMMIT"])


@given(policies, st.lists(addresses, max_size=3), st.sampled_from(FAMILIES))
def test_any_rules_are_applied_completely(policy: Policy, resolvers: list[str], family: int) -> None:
    options = FirewallOptions(log_group=717)
    chains = chains_of(options, [policy], resolvers, family)
    for rules in chains.values():
        for rule in rules:
            target = rule.split(" -j ")[-1].removeprefix("-j ").split()[0]
            assert target in TARGETS or target in chains, rule
            assert "\n" not in rule
            assert ("." in re.sub(r"-j.*", "", rule)) <= (family == 4), rule
    assert all(len(chain) <= 28 for chain in chains), "XT_EXTENSION_MAXNAMELEN"
    inside, outside = chains["STAGER-IN-PV"], chains["STAGER-OUT-PV"]
    assert inside[-1] == "-j STAGER-BLOCK", "the machine is closed"
    assert chains["STAGER-BLOCK"][-1].startswith("-j REJECT")
    for net in METADATA[family]:
        assert f"-d {net} -j STAGER-BLOCK" in outside
    assert "-i pvf+ -j STAGER-PRIVATE" in outside, "for code from forks, whatever is wanted"
    assert chains["STAGER-PRIVATE"] == [f"-d {net} -j STAGER-BLOCK" for net in PRIVATE[family]]
    assert chains["STAGER-IN"] == ["-i pvt+ -j STAGER-IN-PV", "-i pvf+ -j STAGER-IN-PV"]


@given(policies)
def test_exceptions_and_ports_are_their_bridges_only(policy: Policy) -> None:
    for family in FAMILIES:
        chains = chains_of(FirewallOptions(), [policy], [], family)
        for chain in ("STAGER-IN-PV", "STAGER-OUT-PV"):
            for rule in chains[chain]:
                if "ACCEPT" in rule or "dport" in rule:
                    assert "ESTABLISHED" in rule or rule.startswith((f"-i pvt{TAG}+", f"-i pvf{TAG}+")), rule


def test_a_helper_for_one_installation_touches_no_other() -> None:
    options = FirewallOptions("STAGER-T", TAG, "pvfother")
    chains = chains_of(options, [], [], 4)
    assert chains["STAGER-T-IN"] == [
        f"-i {i} -j STAGER-T-IN-PV" for i in ("pvtab12+", "pvfab12+", "pvfother")
    ]
    assert "pvt+" not in str(chains)


def test_the_table_is_read_and_what_comes_first_is_known() -> None:
    options, chains = FirewallOptions(), chains_of(FirewallOptions(), [], [], 4)
    table = read(saved(chains))
    assert ours(table, chains) == chains
    assert is_reached(table, options)
    text = saved(chains)
    for before, still in (
        ("-A INPUT -j STAGER-X-IN", True),
        ("-A INPUT -j ACCEPT", False),
        ("-A INPUT -j STAGER-X-OUT", False),
        ("-A INPUT -s 10.0.0.1/32 -j STAGER-X-IN", False),
        ("-A FORWARD -j ACCEPT", False),
    ):
        chain = before.split()[1]
        changed = text.replace(f"-A {chain} ", f"{before}\n-A {chain} ", 1)
        assert is_reached(read(changed), options) is still, before


def test_through_dockers_chain_or_past_it() -> None:
    options, chains = FirewallOptions(), chains_of(FirewallOptions(), [], [], 4)
    bare = saved(chains)
    by_docker = bare.replace(
        "-A FORWARD -j STAGER-OUT", "-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -j STAGER-OUT"
    )
    by_docker = by_docker.replace(":FORWARD", ":DOCKER-USER - [0:0]\n:FORWARD")
    assert is_reached(read(by_docker), options)
    without = by_docker.replace("-A DOCKER-USER -j STAGER-OUT", "-A DOCKER-USER -j RETURN")
    assert not is_reached(read(without), options)
    mended = restore_script(read(without), chains, options).splitlines()
    assert "-I DOCKER-USER 1 -j STAGER-OUT" in mended
    assert not any(line.startswith(("-I FORWARD", "-D")) for line in mended if "INPUT" not in line)
    assert "-I FORWARD 1 -j STAGER-OUT" in restore_script(read(":FORWARD DROP"), chains, options)
    twice = bare.replace(
        "-A INPUT -j STAGER-IN", "-A INPUT -j ACCEPT\n-A INPUT -j STAGER-IN\n-A INPUT -j STAGER-IN"
    )
    assert restore_script(read(twice), chains, options).count("-D INPUT -j STAGER-IN") == 2


def test_groups_that_are_over_go() -> None:
    group = Group("none", (), (f"pvt{TAG}00000001",))
    before = chains_of(FirewallOptions(), [Policy(TAG, (), (group,))], [], 4)
    text = restore_script(read(saved(before)), chains_of(FirewallOptions(), [], [], 4), FirewallOptions())
    assert "-X STAGER-IN-0" in text
    assert "-X STAGER-OUT-0" in text
    assert "-X STAGER-IN-PV" not in text


FINE = {
    "tag": TAG,
    "ports": [443, 80, 443],
    "groups": [
        {"egress": "none", "allow": [{"address": "10.0.0.5", "port": 5432}], "bridges": [f"pvt{TAG}0000000a"]}
    ],
    "builder_allow": [],
}


def test_what_a_policy_is() -> None:
    group = Group("none", (Allowed("10.0.0.5", 5432),), (f"pvt{TAG}0000000a",))
    assert policy_of(POLICY(FINE, "fields")) == Policy(TAG, (80, 443), (group,))


def _group(**changes: object) -> dict[str, object]:
    return {"groups": [{"egress": "none", "allow": [], "bridges": [], **changes}]}


@pytest.mark.parametrize(
    "change",
    [
        {"tag": ""},
        {"tag": "AB12"},
        {"tag": "ab12\n"},
        {"tag": "ab1+"},
        {"ports": [0]},
        {"ports": ["80"]},
        {"ports": list(range(1, 17))},
        {"ports": 80},
        _group(egress="all"),
        _group(bridges=["eth0"]),
        _group(bridges=["docker0"]),
        _group(bridges=["pvt+"]),
        _group(bridges=["pvtffff00000001"]),
        _group(bridges=[f"pvt{TAG}00000001 -j ACCEPT"]),
        _group(bridges=[f"pvt{TAG}0000001\n"]),
        _group(bridges=[f"pvt{TAG}00000001"] * 501),
        _group(allow=[{"address": "db.example.org", "port": 5432}]),
        _group(allow=[{"address": "10.0.0.0/8", "port": 5432}]),
        _group(allow=[{"address": "0.0.0.0", "port": 5432}]),
        _group(allow=[{"address": "fe80::1%eth0", "port": 5432}]),
        _group(allow=[{"address": "10.0.0.5 -j ACCEPT", "port": 5432}]),
        _group(allow=[{"address": "١٠.0.0.5", "port": 5432}]),
        _group(allow=[{"address": 167772165, "port": 5432}]),
        _group(allow=[{"address": "10.0.0.5", "port": 65536}]),
        _group(allow=[{"address": "10.0.0.5", "port": 1, "protocol": "all"}]),
        _group(allow=[{"address": "10.0.0.5", "port": 1}] * 65),
        _group(rule="-j ACCEPT"),
        {"groups": [{}] * 257},
        {"chains": "INPUT"},
    ],
)
def test_what_isnt_one(change: dict[str, object]) -> None:
    with pytest.raises(HelperError) as error:
        policy_of(POLICY({**FINE, **change}, "fields"))
    assert error.value.kind == "refused"
