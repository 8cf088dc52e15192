"""The edge proxy follows the front, and its failures have no effect on previews."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from stager.control.routing.edge_proxy import MAX_RETRY_INTERVAL, MIN_INTERVAL, SYNC_TIMEOUT, EdgeProxySync
from stager.control.routing.ingress_ports import IngressPortPool
from stager.control.routing.route_table import Routes
from stager.domain.errors import Fault, Retry
from stager.domain.route import Endpoint, Page, RouteTable
from stager.testing import FakeEdgeProxy, FakeRouter

A, B, C = "a.stage.test", "b.stage.test", "c.stage.test"
FIRST, SECOND = Endpoint("10.200.0.1", 80), Endpoint("10.200.0.2", 80)
HOME = Endpoint(path="/run/control.sock")
GONE = Page("gone")


class Rig:
    """A publisher with an outpost before its router, running."""

    def __init__(self, router: FakeRouter, edge_proxy: FakeEdgeProxy, ports: range = range(1, 4)) -> None:
        self.router = router
        self.edge_proxy = edge_proxy
        self.sync = EdgeProxySync(edge_proxy, IngressPortPool(ports))
        self.routes = Routes(router, self.sync)
        self.problem = ""

    async def run(self) -> None:
        await self.routes.adopt()
        await self.routes.set_home("stage.test", HOME)
        await self.sync.run(self._report)

    def _report(self, name: str, problem: str) -> None:
        assert name == self.edge_proxy.name
        self.problem = problem


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig(FakeRouter(), FakeEdgeProxy())
    running = asyncio.create_task(rig.run())
    await asyncio.sleep(10 * MIN_INTERVAL)
    yield rig
    running.cancel()


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_what_is_shown_is_reached_when_that_returns(rig: Rig) -> None:
    await rig.routes.show({A: FIRST})
    assert rig.router.table.routes == {A: FIRST}
    assert rig.edge_proxy.upstreams == rig.router.table.ingress_ports() == {A: 1}
    await rig.routes.show({A: GONE})
    assert rig.edge_proxy.upstreams == {}


async def test_what_merely_starts_isn_t_waited_for(rig: Rig) -> None:
    before = now()
    rig.edge_proxy.delay = 3.0
    await rig.routes.show({A: Page("starting")})
    assert now() == before
    await asyncio.sleep(5)
    assert rig.edge_proxy.upstreams == {A: 1}
    before = now()
    await rig.routes.show({A: FIRST})
    assert now() == before, "it leads there already"


async def test_a_refresh_is_none_of_its_business(rig: Rig) -> None:
    await rig.routes.show({A: FIRST})
    updates = rig.edge_proxy.updates
    await rig.routes.show({A: SECOND})
    await asyncio.sleep(60)
    assert rig.edge_proxy.updates == updates


async def test_changes_are_gathered(rig: Rig) -> None:
    updates, before = rig.edge_proxy.updates, now()
    await asyncio.gather(*(rig.routes.show({host: FIRST}) for host in (A, B, C)))
    await rig.routes.show({A: GONE})
    await rig.routes.show({B: GONE})
    await asyncio.sleep(0)
    assert rig.edge_proxy.upstreams == {C: 3}
    assert rig.edge_proxy.updates - updates <= 2 + (now() - before) / MIN_INTERVAL


async def test_one_that_is_slow_isn_t_waited_for_long(rig: Rig) -> None:
    rig.edge_proxy.delay = 60.0
    before = now()
    await rig.routes.show({A: FIRST})
    assert now() - before <= SYNC_TIMEOUT
    await asyncio.sleep(61)
    assert rig.edge_proxy.upstreams == {A: 1}


@pytest.mark.parametrize("error", [Fault("It says no.", hint="Ask.", reason="x"), Retry("Away.", reason="x")])
async def test_one_that_says_no_doesnt_prevent_the_preview(rig: Rig, error: Fault | Retry) -> None:
    rig.edge_proxy.failing = error
    before = now()
    await rig.routes.show({A: FIRST})
    assert now() - before <= MIN_INTERVAL
    assert rig.router.table.routes == {A: FIRST}
    assert rig.problem == str(error)
    await rig.routes.show({A: SECOND})
    assert now() - before <= MIN_INTERVAL, "nobody waits for what has been tried"
    rig.edge_proxy.failing = None
    await asyncio.sleep(2 * MAX_RETRY_INTERVAL)
    assert rig.edge_proxy.upstreams == {A: 1}
    assert rig.problem == ""


async def test_it_is_tried_again_with_growing_pauses(rig: Rig) -> None:
    rig.edge_proxy.failing = Retry("Away.", reason="x")
    await rig.routes.show({A: FIRST})
    updates = rig.edge_proxy.updates
    await asyncio.sleep(3600)
    assert (
        3600 / (MAX_RETRY_INTERVAL + MIN_INTERVAL) - 1
        <= rig.edge_proxy.updates - updates
        <= 3600 / MAX_RETRY_INTERVAL + 6
    )


async def test_a_bug_of_ours_doesn_t_end_it(rig: Rig) -> None:
    rig.edge_proxy.failing = ZeroDivisionError()  # type: ignore[assignment]
    await rig.routes.show({A: FIRST})
    assert "a bug in Stager" in rig.problem
    rig.edge_proxy.failing = None
    await asyncio.sleep(2 * MAX_RETRY_INTERVAL)
    assert (rig.edge_proxy.upstreams, rig.problem) == ({A: 1}, "")


async def test_one_host_that_it_refuses_costs_no_other(rig: Rig) -> None:
    rig.edge_proxy.refusing = {B: "nginx refuses its file.", C: "nginx refuses its file."}
    for host in (A, B, C):
        await rig.routes.show({host: FIRST})
    assert rig.edge_proxy.upstreams == {A: 1}
    assert rig.problem == "2 previews are left out: nginx refuses its file."
    assert B not in rig.problem, "anybody may read this"


async def test_what_was_done_to_it_is_put_right_by_the_next_look(rig: Rig) -> None:
    await rig.routes.show({A: FIRST})
    rig.edge_proxy.upstreams = {}
    await rig.routes.tidy()
    await asyncio.sleep(2 * MIN_INTERVAL)
    assert rig.edge_proxy.upstreams == {A: 1}


async def test_a_door_stays_open_for_as_long_as_something_leads_there(rig: Rig) -> None:
    await rig.routes.show({A: FIRST})
    rig.edge_proxy.failing = Fault("It says no.", reason="x")
    await rig.routes.show({A: GONE})
    await rig.routes.tidy()
    assert rig.router.table.ports == {1: A}
    rig.edge_proxy.failing = None
    await asyncio.sleep(2 * MAX_RETRY_INTERVAL)
    await rig.routes.tidy()
    assert rig.router.table.ports == {}


async def test_after_a_restart_a_port_is_kept_until_the_edge_proxy_follows(rig: Rig) -> None:
    await rig.routes.show({A: FIRST})
    rig.edge_proxy.failing = Fault("It says no.", reason="x")
    await rig.routes.show({A: GONE})
    heir = Rig(rig.router, rig.edge_proxy)
    running = asyncio.create_task(heir.run())
    await asyncio.sleep(5)
    await heir.routes.tidy()
    assert rig.router.table.ports == {1: A}
    rig.edge_proxy.failing = None
    await asyncio.sleep(2 * MAX_RETRY_INTERVAL)
    await heir.routes.tidy()
    assert (rig.router.table.ports, rig.edge_proxy.upstreams) == ({}, {})
    running.cancel()


async def test_a_port_that_a_stranger_has_is_passed_over(rig: Rig) -> None:
    rig.router.taken = {1, 2}
    await rig.routes.show({A: FIRST})
    assert rig.router.table.ports == {3: A}
    await rig.routes.show({B: FIRST})
    assert rig.router.table.routes == {A: FIRST, B: FIRST}
    assert rig.edge_proxy.upstreams == {A: 3}
    await asyncio.sleep(2 * MIN_INTERVAL)
    assert rig.problem == (
        "One preview is left out: no ingress port is free; configure more under `ingress_ports`."
        " Another program has it."
    )
    rig.router.taken = set()
    await rig.routes.tidy()
    await asyncio.sleep(2 * MIN_INTERVAL)
    assert rig.edge_proxy.upstreams.keys() == {A, B}
    assert rig.problem == ""


async def test_without_one_there_are_no_doors() -> None:
    router = FakeRouter()
    router.table = RouteTable({A: FIRST}, "stage.test", HOME, {1: A})
    routes = Routes(router)
    await routes.adopt()
    await routes.set_home("stage.test", HOME)
    await routes.show({B: FIRST})
    assert router.table.ports == {}
