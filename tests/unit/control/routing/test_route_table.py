"""The control plane's copy of the route table, and the router's."""

from __future__ import annotations

import asyncio

import pytest

from stager.control.routing.route_table import Routes
from stager.domain.errors import Retry
from stager.domain.identity.access_policy import AccessPolicy
from stager.domain.route import Endpoint, Page, RouteTable
from stager.testing import FakeRouter

A, B = "a.stage.test", "b.stage.test"
FIRST, SECOND = Endpoint("10.200.0.1", 80), Endpoint("10.200.0.2", 80)
ASLEEP = Page("asleep", "a")
INDEXED = AccessPolicy(index=True)


class ForgetfulRouter(FakeRouter):
    """Applies a change, and then doesn't reply, once."""

    def __init__(self) -> None:
        super().__init__()
        self.loses_reply = False

    async def _set(self, table: RouteTable) -> None:
        await super()._set(table)
        if self.loses_reply:
            self.loses_reply = False
            raise Retry("The reply was lost.", reason="front-away")


async def routed(router: FakeRouter) -> Routes:
    routes = Routes(router)
    await routes.adopt()
    await routes.show({A: FIRST, B: SECOND}, indexed)
    return routes


async def indexed() -> AccessPolicy | None:
    return INDEXED


class TestPark:
    async def test_hosts_keep_their_access_policy(self) -> None:
        router = FakeRouter()
        routes = await routed(router)

        assert await routes.park({A: ASLEEP, B: ASLEEP})
        assert routes.table == router.table
        assert router.table.routes == {A: ASLEEP, B: ASLEEP}
        assert router.table.policies == {A: INDEXED, B: INDEXED}

    async def test_a_request_prevents_it(self) -> None:
        router = FakeRouter()
        routes = await routed(router)
        async with router.visit(B):
            assert not await routes.park({A: ASLEEP, B: ASLEEP})
        assert routes.table.routes == router.table.routes == {A: FIRST, B: SECOND}
        assert not await routes.park({A: ASLEEP, B: ASLEEP}, idle=600), "it was only just"
        assert await routes.park({A: ASLEEP, B: ASLEEP})

    async def test_what_is_parked_stays_so(self) -> None:
        router = FakeRouter()
        routes = await routed(router)
        assert await routes.park({A: ASLEEP})
        waiting = asyncio.create_task(visited(router, A))
        await asyncio.sleep(0)
        assert await routes.park({A: ASLEEP}, idle=600)
        await routes.show({A: FIRST})
        await waiting


async def visited(router: FakeRouter, host: str) -> None:
    async with router.visit(host):
        pass


class TestLostReply:
    """The router has the change, and this side doesn't know."""

    async def test_of_park(self) -> None:
        router = ForgetfulRouter()
        routes = await routed(router)
        router.loses_reply = True
        with pytest.raises(Retry):
            await routes.park({A: ASLEEP})
        assert router.table.routes[A] == ASLEEP
        assert await routes.park({A: ASLEEP}, idle=600), "again, it is so already"
        assert routes.table == router.table

    async def test_the_host_is_shown_again(self) -> None:
        router = ForgetfulRouter()
        routes = await routed(router)
        router.loses_reply = True
        with pytest.raises(Retry):
            await routes.park({A: ASLEEP})
        await routes.show({A: FIRST}, indexed)
        assert router.table.routes[A] == FIRST
        assert routes.table == router.table

    async def test_of_a_change(self) -> None:
        router = ForgetfulRouter()
        routes = await routed(router)
        router.loses_reply = True
        with pytest.raises(Retry):
            await routes.show({A: SECOND}, indexed)
        await routes.show({A: FIRST}, indexed)
        assert router.table.routes[A] == FIRST
