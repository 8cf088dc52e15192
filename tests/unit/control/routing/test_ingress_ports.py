"""Ingress ports: which preview gets which, and when another may have it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from stager.control.routing.ingress_ports import IngressPortPool
from stager.domain.route import Endpoint, Page, RouteTable, needs_ingress_port

ENDPOINT = Endpoint("10.200.0.1", 80)
GONE = Page("gone", "gone")


def given_to(ports: IngressPortPool, *hosts: str) -> RouteTable:
    table = RouteTable()
    for host in hosts:
        table = ports.assign(table.upsert(host, ENDPOINT), host)
    return table


def test_each_host_has_one_and_keeps_it() -> None:
    ports = IngressPortPool(range(1, 4))
    table = given_to(ports, "a", "b")
    assert table.ingress_ports() == {"a": 1, "b": 2}
    assert ports.assign(table.upsert("a", Endpoint("10.200.0.9", 80)), "a").ingress_ports() == {
        "a": 1,
        "b": 2,
    }


def test_a_page_of_something_gone_has_none() -> None:
    ports = IngressPortPool([1])
    for state in ("gone", "stopped", "refused"):
        table = RouteTable({"a": Page(state)})
        assert ports.assign(table, "a") == table
    assert ports.assign(RouteTable({"a": Page("starting")}), "a").ingress_ports() == {"a": 1}


def test_when_all_are_given_the_rest_has_none() -> None:
    ports = IngressPortPool([1, 2])
    table = given_to(ports, "a", "b", "c")
    assert table.ingress_ports() == {"a": 1, "b": 2}
    assert ports.lacking(table) == ["c"]


def test_one_is_taken_back_only_when_nothing_leads_there() -> None:
    ports = IngressPortPool([1])
    table = given_to(ports, "a").upsert("a", GONE).upsert("b", ENDPOINT)
    assert ports.tidy(table, lambda host: host == "a").ports == {1: "a"}
    assert ports.tidy(table, lambda _: False).ports == {1: "b"}


def test_one_that_was_given_back_rests_longest() -> None:
    ports = IngressPortPool([1, 2, 3])
    table = given_to(ports, "a")
    table = ports.tidy(table.upsert("a", GONE), lambda _: False)
    for host, port in (("b", 2), ("c", 3), ("d", 1)):
        table = ports.assign(table.upsert(host, ENDPOINT), host)
        assert table.ingress_ports()[host] == port


def test_what_others_have_is_passed_over_until_the_next_look() -> None:
    ports = IngressPortPool([1, 2])
    table = given_to(ports, "a")
    table = ports.reassign(table, {1: "Another program has it."})
    assert table.ingress_ports() == {"a": 2}
    assert ports.taken == {1: "Another program has it."}
    table = ports.reassign(table, {2: "Another program has it."})
    assert table.ingress_ports() == {}
    assert ports.lacking(table) == ["a"]
    assert ports.tidy(table, lambda _: False).ingress_ports().keys() == {"a"}


def test_those_of_another_range_are_replaced() -> None:
    table = replace(given_to(IngressPortPool([1]), "a"), ports={1: "a"})
    assert IngressPortPool([7]).tidy(table, lambda _: True).ingress_ports() == {"a": 7}


hosts = st.sampled_from(["a", "b", "c", "d"])
targets = st.sampled_from([ENDPOINT, GONE, Page("starting"), Page("stopped"), None])


@given(st.lists(st.tuples(hosts, targets, st.booleans(), st.sets(st.integers(1, 3)))))
def test_no_port_is_ever_two_hosts(
    steps: list[tuple[str, Endpoint | Page | None, bool, set[int]]],
) -> None:
    ports, table = IngressPortPool([1, 2, 3]), RouteTable()
    for host, target, tidy, taken in steps:
        before = table.ingress_ports()
        table = ports.assign(table.upsert(host, target) if target else table.delete(host), host)
        closed = {port: "taken" for port in taken if port in table.ports}
        table = ports.reassign(table, closed) if closed else table
        table = ports.tidy(table, lambda _: False) if tidy else table
        doors = table.ingress_ports()
        assert len(set(doors.values())) == len(doors)
        assert set(doors.values()) <= {1, 2, 3}
        assert set(doors) <= {h for h, t in table.routes.items() if needs_ingress_port(t)}
        moved = {h for h in doors.keys() & before.keys() if doors[h] != before[h]}
        assert not moved or closed or tidy, "a host keeps its port for all its life"
        assert set(ports.lacking(table)) == {
            h for h, t in table.routes.items() if needs_ingress_port(t)
        } - set(doors)
