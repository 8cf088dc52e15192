"""The firewall of the root helper, in namespaces of the test's own: what previews reach, what undoes it."""

from __future__ import annotations

import contextlib
import pwd
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.integration.namespaces import ASK, Helper, Namespace, helping, join, needs_namespaces
from tests.unit.docs.pages import samples

pytestmark = needs_namespaces

TAG = "ab12"
PREVIEW, FORK = f"pvt{TAG}00000001", f"pvf{TAG}00000002"
INTERNET, PRIVATE, METADATA = "203.0.113.2", "192.168.77.2", "169.254.169.254"
INTERNET6, PRIVATE6, METADATA6 = "2001:db8:1::2", "fd77::2", "fd00:ec2::254"
RESOLVER = "10.53.53.53"
HOST = "198.51.100.1"


@pytest.fixture
def namespaces() -> Iterator[dict[str, Namespace]]:
    """A host with a preview, one from a fork, and what is outside."""
    with contextlib.ExitStack() as stack:
        made: dict[str, Namespace] = {}
        for name in ("host", "preview", "fork", "outside"):
            made[name] = Namespace()
            stack.callback(made[name].close)
        host, outside = made["host"], made["outside"]
        for number, (name, bridge) in enumerate((("preview", PREVIEW), ("fork", FORK))):
            net, net6 = f"10.200.{number}", f"fd2{number}:"
            both = {f"{net}.1/28": f"{net}.2/28", f"{net6}:1/64": f"{net6}:2/64"}
            join(host, made[name], bridge, both)
            made[name].run(f"ip route add default via {net}.1; ip -6 route add default via {net6}:1")
        join(host, outside, "eth0", {f"{HOST}/24": "198.51.100.2/24", "2001:db8::1/64": "2001:db8::2/64"})
        for address in (INTERNET, PRIVATE, METADATA, RESOLVER):
            outside.run(f"ip address add {address}/32 dev lo")
            host.run(f"ip route add {address}/32 via 198.51.100.2")
        for address in (INTERNET6, PRIVATE6, METADATA6):
            outside.run(f"ip address add {address}/128 dev lo nodad")
            host.run(f"ip -6 route add {address}/128 via 2001:db8::2")
        outside.run("ip route add 10.200.0.0/14 via 198.51.100.1")
        outside.run("for n in 0 1; do ip -6 route add fd2$n::/64 via 2001:db8::1; done")
        # As Docker makes them; of its own rules only this chain matters here.
        host.run("echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding")
        host.run(
            "iptables -N DOCKER-USER; iptables -A FORWARD -j DOCKER-USER; iptables -A DOCKER-USER -j RETURN"
        )
        host.serve("0.0.0.0:80", "0.0.0.0:443", ":::8080")
        outside.serve(*(f"{address}:80" for address in (INTERNET, PRIVATE, METADATA)))
        outside.serve(*(f"{address}:80" for address in (INTERNET6, PRIVATE6, METADATA6)))
        outside.serve(f"{RESOLVER}:53", f"udp:{RESOLVER}:53", f"{RESOLVER}:80", f"{PRIVATE}:5432")
        made["preview"].serve("10.200.0.2:3000")
        made["fork"].serve("10.200.1.2:3000", "fd21::2:3000")
        yield made


@pytest.fixture
def helper(namespaces: dict[str, Namespace], tmp_path: Path) -> Iterator[Helper]:
    """A helper on that host."""
    dns = tmp_path / "daemon.json"
    dns.write_text(f'{{"dns": ["{RESOLVER}"]}}')
    options = ("--check-every=0.1", f"--docker-config={dns}", "--chains=STAGER-T")
    with helping(tmp_path, namespaces["host"].enter, *options) as started:
        yield started


def applied(helper: Helper, *groups: dict[str, Any], ports: tuple[int, ...] = (443,)) -> None:
    answer = helper.ask("firewall-apply", tag=TAG, ports=ports, groups=groups, builder_allow=[])
    assert answer["ok"], answer


def group(*bridges: str, egress: str = "private", allow: tuple[tuple[str, int], ...] = ()) -> dict[str, Any]:
    allowed = [{"address": address, "port": port} for address, port in allow]
    return {"egress": egress, "allow": allowed, "bridges": bridges}


def reached(namespace: Namespace) -> set[str]:
    there = {
        "host": (HOST, 80),
        "host's gateway": ("10.200.0.1", 80),
        "front": (HOST, 443),
        "private": (PRIVATE, 80),
        "database": (PRIVATE, 5432),
        "metadata": (METADATA, 80),
        "internet": (INTERNET, 80),
        "resolver": (RESOLVER, 53),
        "resolver's other port": (RESOLVER, 80),
        "other preview": ("10.200.1.2", 3000),
    }
    return _reached(namespace, there)


def reached6(namespace: Namespace) -> set[str]:
    there = {
        "host": ("2001:db8::1", 8080),
        "private": (PRIVATE6, 80),
        "metadata": (METADATA6, 80),
        "internet": (INTERNET6, 80),
        "other preview": ("fd21::2", 3000),
    }
    return _reached(namespace, there)


def _reached(namespace: Namespace, there: dict[str, tuple[str, int]]) -> set[str]:
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda target: namespace.reaches(*target), there.values())
    return {name for name, is_reached in zip(there, found, strict=True) if is_reached}


TRUSTED = {"front", "private", "database", "internet", "resolver", "resolver's other port"}
UNTRUSTED = {"front", "internet", "resolver"}


def test_without_it_previews_reach_everything(namespaces: dict[str, Namespace]) -> None:
    assert len(reached(namespaces["preview"])) == 10
    assert len(reached6(namespaces["preview"])) == 5


@pytest.mark.attack(
    "Private networks, metadata services and services of the machine",
    profile="code from a fork",
    result="rejected by the root helper's firewall; trusted code reaches private networks",
)
def test_what_previews_reach(namespaces: dict[str, Namespace], helper: Helper) -> None:
    assert reached(namespaces["preview"]) == TRUSTED - {"front"}, "before Stager told it anything"
    applied(helper)
    assert reached(namespaces["preview"]) == TRUSTED
    assert reached(namespaces["fork"]) - {"other preview"} == UNTRUSTED
    assert namespaces["preview"].reaches(RESOLVER, 53, ASK)
    assert namespaces["fork"].reaches(RESOLVER, 53, ASK)
    assert not namespaces["fork"].reaches(PRIVATE, 53, ASK)


@pytest.mark.attack(
    "The same by IPv6",
    profile="code from a fork",
    result="rejected by the same rules",
)
def test_the_same_by_ipv6(namespaces: dict[str, Namespace], helper: Helper) -> None:
    applied(helper)
    assert reached6(namespaces["preview"]) == {"private", "internet"}
    assert reached6(namespaces["fork"]) - {"other preview"} == {"internet"}
    # A neighbour is still found after its entry expired.
    namespaces["preview"].run("ip -6 neigh flush dev eth0")
    namespaces["host"].run(f"ip -6 neigh flush dev {PREVIEW}")
    assert namespaces["preview"].reaches(INTERNET6)


def test_the_machine_itself_isnt_restricted(namespaces: dict[str, Namespace], helper: Helper) -> None:
    applied(helper)
    host = namespaces["host"]
    assert host.reaches("10.200.0.2", 3000), "the front reaches a preview"
    assert host.reaches("10.200.1.2", 3000)
    assert host.reaches("fd21::2", 3000)
    assert host.reaches(PRIVATE)
    assert namespaces["outside"].reaches(HOST, 80), "and is reached by others"
    assert namespaces["outside"].reaches("10.200.0.2", 3000), (
        "as before: the rules are about what previews do"
    )


def test_what_an_application_says(namespaces: dict[str, Namespace], helper: Helper) -> None:
    applied(helper, group(PREVIEW, egress="internet"), group(FORK, egress="none"))
    assert reached(namespaces["preview"]) == UNTRUSTED
    assert reached(namespaces["fork"]) - {"other preview"} == set()
    allow = ((PRIVATE, 5432), (HOST, 80), (PRIVATE6, 80))
    applied(helper, group(PREVIEW, egress="none", allow=allow), group(FORK, egress="internet", allow=allow))
    assert reached(namespaces["preview"]) == {"database", "host"}
    assert reached(namespaces["fork"]) - {"other preview"} == {*UNTRUSTED, "database", "host"}
    assert reached6(namespaces["preview"]) == {"private"}
    applied(helper)
    assert reached(namespaces["preview"]) == TRUSTED, "and it is taken back"
    assert "STAGER-T-OUT-0" not in namespaces["host"].run("iptables-save")


def test_published_ports_of_other_containers_are_host_services(
    namespaces: dict[str, Namespace], helper: Helper
) -> None:
    """Docker redirects them before any of our rules."""
    host = namespaces["host"]
    there = f"-d {HOST} -p tcp --dport"
    host.run(f"iptables -t nat -A PREROUTING {there} 9000 -j DNAT --to-destination {INTERNET}:80")
    host.run(f"iptables -t nat -A PREROUTING {there} 9443 -j DNAT --to-destination {PRIVATE}:80")
    applied(helper)
    assert not namespaces["preview"].reaches(HOST, 9000)
    applied(helper, group(PREVIEW, allow=((HOST, 9000),)), ports=(443, 9443))
    # As Docker, which stops whatever goes from one of its networks to another.
    host.run(f"iptables -A FORWARD -i {PREVIEW} -j DROP; iptables -A FORWARD -o {PREVIEW} -j DROP")
    assert namespaces["preview"].reaches(HOST, 9000)
    assert namespaces["preview"].reaches(HOST, 9443), "visitors come in there"
    assert not namespaces["preview"].reaches(INTERNET, 80)


@pytest.mark.parametrize(
    "deed",
    [
        "iptables -F STAGER-T-IN; iptables -F STAGER-T-OUT",
        "iptables -F STAGER-T-OUT-PV",
        "iptables -I STAGER-T-OUT-PV 1 -j RETURN",
        "iptables -D STAGER-T-BLOCK 1",
        "iptables -F DOCKER-USER",
        "iptables -F INPUT",
        "iptables -I INPUT 1 -j ACCEPT",
        "iptables -I DOCKER-USER 1 -j ACCEPT",
        "iptables -I FORWARD 1 -j ACCEPT",
        "iptables -F; iptables -X",
        "iptables -F FORWARD; iptables -F DOCKER-USER; iptables -X DOCKER-USER",
        "ip6tables -F; ip6tables -X",
        "nft flush ruleset || { iptables -F; iptables -X; ip6tables -F; ip6tables -X; }",
    ],
)
def test_rules_that_went_come_back(namespaces: dict[str, Namespace], helper: Helper, deed: str) -> None:
    applied(helper)
    before = helper.ask("hello")["result"]["features"]["firewall"]
    # The helper may restore a chain before the last command, which then fails.
    namespaces["host"].run(f"{deed} || true")
    time.sleep(1.0)
    assert before == helper.ask("hello")["result"]["features"]["firewall"] == ""
    assert not namespaces["preview"].reaches(HOST, 80)
    assert not namespaces["preview"].reaches(METADATA, 80)
    assert not namespaces["preview"].reaches("2001:db8::1", 8080)
    assert "have been restored" in helper.log
    writes = helper.log.count("set again")
    time.sleep(0.5)
    assert helper.log.count("set again") == writes, "it rests then"


def test_an_application_of_it_repairs_at_once(namespaces: dict[str, Namespace], tmp_path: Path) -> None:
    with helping(tmp_path, namespaces["host"].enter, "--check-every=600") as helper:
        asked = {"tag": TAG, "ports": [443], "groups": [], "builder_allow": []}
        assert helper.ask("firewall-apply", **asked)["result"] == {"changed": True}
        assert helper.ask("firewall-apply", **asked)["result"] == {"changed": False}
        namespaces["host"].run("iptables -F DOCKER-USER")
        assert namespaces["preview"].reaches(METADATA, 80)
        assert helper.ask("firewall-apply", **asked)["result"] == {"changed": True}
        assert not namespaces["preview"].reaches(METADATA, 80)


def test_the_rules_outlive_the_helper_and_the_next_one_reads_them(
    namespaces: dict[str, Namespace], helper: Helper
) -> None:
    applied(helper, group(PREVIEW, allow=((HOST, 80),)))
    for end in (helper.stop, helper.kill9):
        end()
        assert reached(namespaces["preview"]) == {*TRUSTED, "host"}
        helper.start()
        assert reached(namespaces["preview"]) == {*TRUSTED, "host"}
    assert not namespaces["fork"].reaches(HOST, 80)


def test_two_helpers_get_along(namespaces: dict[str, Namespace], helper: Helper, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    options = ("--check-every=0.1", "--chains=STAGER-U", "--tag=0000", "--log-group=718")
    applied(helper)
    with helping(tmp_path / "other", namespaces["host"].enter, *options) as other:
        answer = other.ask("firewall-apply", tag=TAG, ports=[80], groups=[], builder_allow=[])
        assert answer["reason"] == "other-installation"
        time.sleep(0.5)
        before = helper.log.count("set again"), other.log.count("set again")
        time.sleep(0.5)
        assert (helper.log.count("set again"), other.log.count("set again")) == before
        assert reached(namespaces["preview"]) == TRUSTED


def test_blocked_connections_are_rejected_at_once_and_reported(
    namespaces: dict[str, Namespace], helper: Helper
) -> None:
    applied(helper)
    began = time.monotonic()
    for _ in range(3):
        assert not namespaces["preview"].reaches(HOST, 80)
    assert not namespaces["fork"].reaches(PRIVATE6, 80)
    assert not namespaces["fork"].reaches(PRIVATE, 53, ASK)
    assert time.monotonic() - began < 2.5, "rejected, not dropped"
    deadline = time.monotonic() + 5
    rows: list[dict[str, Any]] = []
    while len(rows) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
        rows = helper.ask("firewall-blocked", tag=TAG)["result"]["blocked"]
    rejected = {(r["bridge"], r["address"], r["port"], r["protocol"], r["count"]) for r in rows}
    assert rejected == {
        (PREVIEW, HOST, 80, "tcp", 3),
        (FORK, PRIVATE6, 80, "tcp", 1),
        (FORK, PRIVATE, 53, "udp", 1),
    }
    assert helper.ask("firewall-blocked", tag="0000")["result"]["blocked"] == []


def test_the_capabilities_of_the_documented_unit_are_enough(
    namespaces: dict[str, Namespace], tmp_path: Path
) -> None:
    [unit] = [sample.text for sample in samples("ini") if sample.page.name == "root-helper.md"]
    [names] = [line.split("=")[1] for line in unit.splitlines() if line.startswith("CapabilityBoundingSet=")]
    kept = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in names.split())
    confined = ["setpriv", f"--bounding-set=-all,{kept}", "--no-new-privs", "--pdeathsig=TERM"]
    with helping(tmp_path, [*namespaces["host"].enter, *confined], "--user=nobody") as helper:
        assert helper.socket.stat().st_uid == pwd.getpwnam("nobody").pw_uid
        applied(helper)
        assert reached(namespaces["preview"]) >= {"front", "internet"}
        assert "host" not in reached(namespaces["preview"])
        assert helper.ask("firewall-blocked", tag=TAG)["result"]["unavailable"] == ""


def test_without_the_kernels_log_the_rules_hold_all_the_same(
    namespaces: dict[str, Namespace], tmp_path: Path
) -> None:
    """One that lacks hashlimit, played by an iptables-restore that refuses it."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("iptables-restore", "ip6tables-restore"):
        script = f'''#!/bin/sh
            text=$(cat); case "$text" in *hashlimit*) echo "no hashlimit" >&2; exit 2;; esac
            echo "$text" | /usr/sbin/{name} "$@"'''
        (tools / name).write_text(script)
        (tools / name).chmod(0o755)
    code = (
        "import sys; from stager.helper.firewall import iptables; from stager.helper.__main__ import main;"
        " iptables.PATH = sys.argv.pop(1) + ':' + iptables.PATH; main()"
    )
    with helping(tmp_path, namespaces["host"].enter) as helper:
        helper.stop()
        at = helper._command.index("-m")
        helper._command[at : at + 2] = ["-c", code, str(tools)]
        helper.start()
        applied(helper)
        assert reached(namespaces["preview"]) == TRUSTED
        assert "no hashlimit" in helper.ask("firewall-blocked", tag=TAG)["result"]["unavailable"]
        assert helper.ask("hello")["result"]["features"]["firewall"] == ""
