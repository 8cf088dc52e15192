"""On which node an instance runs, and in which networks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stager.engines.docker import labels
from stager.engines.swarm.drain import replaceable
from stager.engines.swarm.membership import lasting, wanted
from stager.engines.swarm.observation import Observed, observed
from stager.engines.swarm.placement import node_of
from tests.unit.engines.swarm.rows import INSTALLATION, Row, node, one, service, task

NODES = {each["ID"]: each for each in (node("n1"), node("n2"), node("n3", availability="pause"))}


def members(*pairs: tuple[Row, Row]) -> list[Observed]:
    """Services with their tasks, of one environment."""
    return observed([row for row, _ in pairs], [each for _, each in pairs], NODES, INSTALLATION)


class TestNode:
    @pytest.mark.parametrize(
        ("own", "other", "homes", "expected"),
        [
            ("", "", set(), ""),
            ("", "n1", set(), "n1"),
            ("n2", "n1", set(), "n2"),
            ("n3", "n1", set(), "n1"),
            ("", "n3", set(), ""),
            ("", "", {"n2"}, "n2"),
            ("", "n1", {"n2"}, "n2"),
            ("n1", "", {"n1", "n2"}, "n1"),
            ("", "n1", {"n3"}, ""),
        ],
    )
    def test_it_is_that_of_its_volumes_its_last_run_or_the_others(
        self, own: str, other: str, homes: set[str], expected: str
    ) -> None:
        mine = one(service(replicas=0))
        if own:
            mine = replace(mine, task=task(state="failed", node_id=own, desired="shutdown"))
        others = [replace(one(service("s2")), task=task("s2", node_id=other))] if other else []

        assert node_of(mine, others, homes, NODES, INSTALLATION) == expected


class TestNetworks:
    def test_those_that_share_a_generation_reach_each_other(self) -> None:
        web1, web2, database = members(
            (service("web1", 1, generations=(1,)), task("web1")),
            (service("web2", 2, generations=(2,)), task("web2")),
            (service("db", 1, kept=True, generations=(1, 2)), task("db")),
        )
        everyone = [web1, web2, database]

        assert wanted(web1, everyone) == {"stager-i1-d1-db-own"}
        assert wanted(web2, everyone) == {"stager-i1-d1-db-own"}
        assert wanted(database, everyone) == {"stager-i1-e1-g1", "stager-i1-e1-g2"}

    def test_only_networks_of_kept_ones_last(self) -> None:
        """That of a generation is removed while a kept one is in it."""
        web, database, cache = members(
            (service("web", 1, generations=(1,)), task("web")),
            (service("db", 1, kept=True, generations=(1,)), task("db")),
            (service("cache", 1, generations=(2,)), task("cache")),
        )

        assert lasting(web, [web, database, cache]) == {"stager-i1-d1-db-own"}
        assert lasting(database, [web, database, cache]) == set()

    def test_versions_of_a_service_are_apart(self) -> None:
        web, old, new = members(
            (service("web", 2, generations=(2,)), task("web")),
            (service("db1", 1, kept=True, generations=(1,)), task("db1")),
            (service("db2", 2, kept=True, generations=(2,)), task("db2")),
        )

        assert wanted(web, [web, old, new]) == {"stager-i1-d1-db2-own"}


class TestDrain:
    def test_an_instance_on_a_paused_node_serves_no_further_generation(self) -> None:
        leaving, staying = members((service("a"), task("a", node_id="n3")), (service("b"), task("b")))

        found = replaceable([leaving.instance, staying.instance], [leaving, staying])
        assert [each.inputs for each in found] == ["", "x"]

    def test_an_environment_with_named_volumes_stays(self) -> None:
        web, database = members(
            (service("web"), task("web", node_id="n3")),
            (service("db", volume="data"), task("db", node_id="n3")),
        )

        found = replaceable([web.instance, database.instance], [web, database])
        assert [each.inputs for each in found] == ["x", "x"]
        assert web.marks[labels.ENVIRONMENT] == "e1"
