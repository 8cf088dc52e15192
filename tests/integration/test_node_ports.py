"""The ports of previews on a node: who reaches them, in namespaces of the test's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.namespaces import CONNECT, Helper, Namespace, helping, join, needs_namespaces
from tests.integration.stager import until

pytestmark = needs_namespaces

NODE, FRONT = "198.51.100.1", "198.51.100.2"
NODE6 = "2001:db8::1"
OTHER_LINK, OTHER = "198.51.100.5", "198.51.100.6"
SECOND_LINK, SECOND = "198.51.100.9", "198.51.100.10"
PREVIEW = "172.30.0.2"
PUBLISHED, TRANSLATED, OWN = 20080, 20081, 8080
"""A port with a listener on the node (docker-proxy), one that Docker translates, and another port."""

QUICK = CONNECT.replace(", 3)", ", 1)")


@pytest.fixture
def machines() -> Iterator[dict[str, Namespace]]:
    """A node with a preview; a front, a second node and another machine beside it."""
    with contextlib.ExitStack() as stack:
        made: dict[str, Namespace] = {}
        for name in ("node", "front", "other", "second", "preview"):
            made[name] = Namespace()
            stack.callback(made[name].close)
        node = made["node"]
        both = {f"{NODE}/30": f"{FRONT}/30", f"{NODE6}/64": "2001:db8::2/64"}
        join(node, made["front"], "eth0", both)
        join(node, made["other"], "eth1", {f"{OTHER_LINK}/30": f"{OTHER}/30"})
        join(node, made["second"], "eth2", {f"{SECOND_LINK}/30": f"{SECOND}/30"})
        join(node, made["preview"], "docker_gwbridge", {"172.30.0.1/24": f"{PREVIEW}/24"})
        for name, gateway in (("other", OTHER_LINK), ("second", SECOND_LINK), ("preview", "172.30.0.1")):
            made[name].run(f"ip route add default via {gateway}")
        node.run(
            "echo 1 >/proc/sys/net/ipv4/ip_forward\n"
            "iptables -t nat -A POSTROUTING -s 172.30.0.0/24 ! -o docker_gwbridge -j MASQUERADE\n"
            f"iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport {TRANSLATED} "
            f"-j DNAT --to {PREVIEW}:3000"
        )
        node.serve(f"0.0.0.0:{PUBLISHED}", f"{NODE6}:{PUBLISHED}", f"0.0.0.0:{OWN}")
        made["second"].serve(f"0.0.0.0:{PUBLISHED}", f"0.0.0.0:{OWN}")
        made["preview"].serve(f"{PREVIEW}:3000")
        yield made


@pytest.fixture
def helper(machines: dict[str, Namespace], tmp_path: Path) -> Iterator[Helper]:
    options = ("--check-every=0.2", "--log-group=0", "--chains=STAGER-T")
    with helping(tmp_path, machines["node"].enter, *options) as running:
        yield running


def blocked(source: Namespace, address: str, port: int) -> bool:
    """Whether a connection isn't accepted. A packet that is dropped has no answer to wait for."""
    return not source.reaches(address, port, by=QUICK)


def let_in(helper: Helper, *fronts: str, installation: str = "test") -> None:
    answer = helper.ask(
        "node-ports-apply", installation=installation, fronts=list(fronts), nodes=[NODE, NODE6, SECOND]
    )
    assert answer["ok"], answer


def test_everybody_gets_in_without_it(machines: dict[str, Namespace]) -> None:
    """So that the other tests show something."""
    assert machines["front"].reaches(NODE, PUBLISHED)
    assert machines["other"].reaches(NODE, PUBLISHED)
    assert machines["other"].reaches(NODE, TRANSLATED)
    assert machines["preview"].reaches("172.30.0.1", PUBLISHED)
    assert machines["preview"].reaches(SECOND, PUBLISHED)
    assert machines["front"].reaches(NODE6, PUBLISHED)


def test_only_the_front_gets_in(machines: dict[str, Namespace], helper: Helper) -> None:
    let_in(helper, FRONT)

    assert machines["front"].reaches(NODE, PUBLISHED)
    assert machines["front"].reaches(NODE, TRANSLATED)
    assert machines["node"].reaches("127.0.0.1", PUBLISHED)
    assert blocked(machines["other"], NODE, PUBLISHED)
    assert blocked(machines["other"], NODE, TRANSLATED)
    assert blocked(machines["other"], OTHER_LINK, PUBLISHED)
    assert machines["other"].reaches(NODE, OWN)


def test_nobody_gets_in_by_ipv6(machines: dict[str, Namespace], helper: Helper) -> None:
    let_in(helper, FRONT, "2001:db8::2")

    assert blocked(machines["front"], NODE6, PUBLISHED)


def test_previews_of_a_node_reach_the_ports_of_no_node(
    machines: dict[str, Namespace], helper: Helper
) -> None:
    """Behind the address of a node on which the front runs, they would look like the front."""
    let_in(helper, FRONT)

    assert blocked(machines["preview"], "172.30.0.1", PUBLISHED)
    assert blocked(machines["preview"], NODE, PUBLISHED)
    assert blocked(machines["preview"], SECOND, PUBLISHED)
    assert machines["preview"].reaches(SECOND, OWN)


def test_without_a_front_nobody_gets_in(machines: dict[str, Namespace], helper: Helper) -> None:
    let_in(helper)

    assert blocked(machines["front"], NODE, PUBLISHED)


def test_a_new_front_takes_the_place_of_the_old_one(machines: dict[str, Namespace], helper: Helper) -> None:
    let_in(helper, FRONT)
    let_in(helper, OTHER)

    assert blocked(machines["front"], NODE, PUBLISHED)
    assert machines["other"].reaches(NODE, PUBLISHED)


def test_two_installations_have_their_fronts(machines: dict[str, Namespace], helper: Helper) -> None:
    let_in(helper, FRONT)
    let_in(helper, OTHER, installation="second")

    assert machines["front"].reaches(NODE, PUBLISHED)
    assert machines["other"].reaches(NODE, PUBLISHED)


def test_rules_that_were_flushed_are_set_again(machines: dict[str, Namespace], helper: Helper) -> None:
    let_in(helper, FRONT)

    machines["node"].run("iptables -t raw -F")
    until(lambda: blocked(machines["other"], NODE, PUBLISHED), "the rules are back")
    assert machines["front"].reaches(NODE, PUBLISHED)


def test_a_rule_before_ours_is_moved_behind(machines: dict[str, Namespace], helper: Helper) -> None:
    let_in(helper, FRONT)

    machines["node"].run("iptables -t raw -I PREROUTING 1 -j ACCEPT")

    until(lambda: blocked(machines["other"], NODE, PUBLISHED), "the rules are first again")


def test_the_rules_stay_when_the_helper_ends(machines: dict[str, Namespace], helper: Helper) -> None:
    let_in(helper, FRONT)

    helper.kill9()

    assert machines["front"].reaches(NODE, PUBLISHED)
    assert blocked(machines["other"], NODE, PUBLISHED)
    helper.start()


def test_the_answer_names_the_ports_and_what_changed(helper: Helper) -> None:
    asked = {"installation": "test", "fronts": [FRONT], "nodes": [NODE]}

    first, second = helper.ask("node-ports-apply", **asked), helper.ask("node-ports-apply", **asked)

    assert first == {"ok": True, "result": {"changed": True, "ports": [20000, 29999]}}
    assert second == {"ok": True, "result": {"changed": False, "ports": [20000, 29999]}}


def test_a_front_that_isnt_reached_is_an_error(helper: Helper) -> None:
    answer = helper.ask("node-ports-apply", installation="test", fronts=["192.0.2.77"], nodes=[])

    assert not answer["ok"]
    assert answer["reason"] == "front-unreachable"
