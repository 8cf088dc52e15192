"""The rules of a node's ports as values; `tests/integration/test_node_ports.py` tries them."""

from __future__ import annotations

from stager.engines.swarm.nodes.swarm_nodes import PORTS as EXPECTED
from stager.helper.firewall.node_ports import PORTS, rules_of

OPENS = "-p tcp -m tcp --dport 20000:29999 --tcp-flags FIN,SYN,RST,ACK SYN"


def test_a_front_gets_in_by_its_interface() -> None:
    assert rules_of({"10.0.0.1": "eth0"}, ["10.0.0.2"]) == [
        "-i lo -j RETURN",
        f"-s 10.0.0.1 -i eth0 {OPENS} -j RETURN",
        f"{OPENS} -m addrtype --dst-type LOCAL -j DROP",
        f"-d 10.0.0.2 {OPENS} -j DROP",
    ]


def test_a_front_on_this_machine_needs_no_rule() -> None:
    assert not [rule for rule in rules_of({"10.0.0.1": "lo"}, []) if "10.0.0.1" in rule]


def test_without_a_front_all_are_dropped() -> None:
    assert rules_of({}, []) == ["-i lo -j RETURN", f"{OPENS} -m addrtype --dst-type LOCAL -j DROP"]


def test_stager_and_its_helper_mean_the_same_ports() -> None:
    assert list(PORTS) == EXPECTED
