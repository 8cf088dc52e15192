"""What every router promises. Each test runs against a real front process and against the one in memory."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

import pytest

from stager.domain.errors import Retry
from stager.domain.identity.access_policy import AccessPolicy, Guard
from stager.domain.route import Endpoint, Health, Page, PageState, RouteTable
from stager.domain.traffic import FrontEvent, FrontEventKind
from stager.front.process.client import FrontClient
from stager.ports.router import Router
from stager.testing import FakeRouter
from tests.unit.front.harness import App, Rig, request, rig

DOMAIN = "stage.test"
HOST, OTHER = f"a.{DOMAIN}", f"b.{DOMAIN}"
HOME = Endpoint(path="/run/stager/control.sock")
PAGE = Page("failed", "größer", "shop", "It failed.", "Look.", ("a <b>", "`c`"), "https://forge.test/7")
GUARDED = AccessPolicy(
    Guard(
        frozenset({"password", "link"}),
        "e",
        "http://x/",
        60,
        "d",
        frozenset({"l1"}),
        ("a.test", "admin--a.test"),
        "test",
    ),
    index=True,
)
NOBODY = Endpoint("127.0.0.1", 9)
ASLEEP = Page("asleep", "größer", "shop")
CONNECTED = FrontEvent(FrontEventKind.CONNECTED)
WAKE = FrontEvent(FrontEventKind.WAKE, HOST)


class Plane(Protocol):
    """A data plane under test, with an application behind it."""

    router: Router
    endpoint: Endpoint

    def visit(self, host: str) -> AbstractAsyncContextManager[Visitor]:
        """A request that stays open for as long as the block lasts, or until it is cut."""

    async def away(self) -> Router:
        """A router whose data plane is away."""

    async def restart(self) -> None:
        """The data plane goes down without a word, and comes back."""


class Visitor(Protocol):
    async def until_cut(self) -> None:
        """Returns when the request is cut."""

    async def leave(self) -> None:
        """The request ends as it should."""


class _FakeVisitor:
    def __init__(self, cut: asyncio.Event, over: asyncio.Event) -> None:
        self._cut = cut
        self._over = over

    async def until_cut(self) -> None:
        await self._cut.wait()

    async def leave(self) -> None:
        self._over.set()


class FakePlane:
    def __init__(self) -> None:
        self._fake = FakeRouter()
        self._fake.refusing = {NOBODY}
        self.router: Router = self._fake
        self.endpoint = Endpoint("10.200.0.1", 3000)

    @asynccontextmanager
    async def visit(self, host: str) -> AsyncIterator[Visitor]:
        over, inside, cut = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def stay() -> None:
            async with self._fake.visit(host) as visit:
                nonlocal cut
                cut = visit.cut
                inside.set()
                await over.wait()

        staying = asyncio.create_task(stay())
        await inside.wait()
        yield _FakeVisitor(cut, over)
        over.set()
        await staying

    async def away(self) -> Router:
        away = FakeRouter()
        away.leave()
        return away

    async def restart(self) -> None:
        self._fake.leave()
        self._fake.come_back()


class _FrontVisitor:
    def __init__(self, app: App, reader: asyncio.StreamReader) -> None:
        self._app = app
        self._reader = reader

    async def until_cut(self) -> None:
        with suppress(ConnectionError):
            await self._reader.read()

    async def leave(self) -> None:
        self._app.go.set()
        await self._reader.readuntil(b"\r\n\r\n")


class FrontPlane:
    def __init__(self, rig: Rig, app: App, nowhere: Path) -> None:
        self._rig = rig
        self._app = app
        self._nowhere = nowhere
        self.router: Router = rig.client
        self.endpoint = app.endpoint

    @asynccontextmanager
    async def visit(self, host: str) -> AsyncIterator[Visitor]:
        before = self._app.open
        async with self._rig.dial() as (reader, writer):
            writer.write(request("/wait", host=host))
            for _ in range(100):
                if self._app.open > before or reader.at_eof():
                    break
                await asyncio.sleep(0.01)
            yield _FrontVisitor(self._app, reader)

    async def away(self) -> Router:
        return FrontClient(self._nowhere)

    async def restart(self) -> None:
        os.kill(self._rig.hello.pid, signal.SIGKILL)
        await self._rig.client.until_gone()
        await self._rig.launcher.ensure()


@pytest.fixture(params=["memory", "front"])
async def plane(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Plane]:
    if request.param == "memory":
        yield FakePlane()
        return
    app = App()
    await app.start()
    async with rig(tmp_path / "front") as running:
        yield FrontPlane(running, app, tmp_path)
    await app.stop()


def table(plane: Plane) -> RouteTable:
    return RouteTable({HOST: plane.endpoint, OTHER: PAGE}, DOMAIN, HOME)


class TestTable:
    async def test_is_served_as_it_was_given(self, plane: Plane) -> None:
        await plane.router.apply(table(plane))

        assert await plane.router.current() == table(plane)

    async def test_again_is_the_same(self, plane: Plane) -> None:
        await plane.router.apply(table(plane))
        await plane.router.apply(table(plane))

        assert await plane.router.current() == table(plane)

    async def test_a_whole_table_removes_what_isnt_in_it(self, plane: Plane) -> None:
        await plane.router.apply(table(plane))
        await plane.router.apply(RouteTable({OTHER: PAGE}, "", None))

        assert await plane.router.current() == RouteTable({OTHER: PAGE}, "", None)

    @pytest.mark.parametrize("again", [False, True])
    async def test_changes_turn_one_into_another(self, plane: Plane, again: bool) -> None:
        before = table(plane)
        every = [
            before.upsert(OTHER, plane.endpoint),
            before.upsert(f"c.{DOMAIN}", PAGE),
            before.delete(HOST),
            RouteTable(before.routes, "other.test", HOME),
            RouteTable({f"c.{DOMAIN}": NOBODY}, "other.test", Endpoint("127.0.0.1", 80)),
            RouteTable(before.routes, DOMAIN, None),
            before.with_policies({HOST: GUARDED, OTHER: AccessPolicy(index=True)}),
            before.upsert(HOST, PAGE, GUARDED),
            before.upsert(f"c.{DOMAIN}", plane.endpoint, GUARDED),
        ]
        every += [table.with_policies({HOST: None}) for table in every]
        for after in every:
            await plane.router.apply(before)
            for _ in range(1 + again):
                await plane.router.update(before, after)
            assert await plane.router.current() == after

    async def test_survives_a_restart(self, plane: Plane) -> None:
        kept = table(plane).with_policies({HOST: GUARDED, OTHER: AccessPolicy(index=True)})
        await plane.router.apply(table(plane))
        await plane.router.update(table(plane), kept)
        await plane.restart()

        assert await plane.router.current() == kept

    async def test_terms_go_with_their_host(self, plane: Plane) -> None:
        guarded = table(plane).with_policies({HOST: GUARDED})
        await plane.router.apply(guarded)
        without = guarded.delete(HOST)
        await plane.router.update(guarded, without)
        again = without.upsert(HOST, PAGE)
        await plane.router.update(without, again)

        assert await plane.router.current() == again
        assert not again.policies


class TestDrain:
    async def led_away(self, plane: Plane) -> None:
        """New requests go elsewhere; those that are open stay where they are."""
        before, after = table(plane), table(plane).upsert(HOST, PAGE)
        await plane.router.update(before, after)

    async def test_ends_at_once_when_nothing_is_open(self, plane: Plane) -> None:
        await plane.router.apply(table(plane))
        async with asyncio.timeout(2):
            assert await plane.router.drain(plane.endpoint, 30) == 0
            assert await plane.router.drain(NOBODY, 30) == 0

    async def test_waits_for_what_is_open(self, plane: Plane) -> None:
        await plane.router.apply(table(plane))
        async with plane.visit(HOST) as visitor:
            await self.led_away(plane)
            draining = asyncio.create_task(plane.router.drain(plane.endpoint, 10))
            await asyncio.sleep(0.05)
            assert not draining.done()
            await visitor.leave()
            async with asyncio.timeout(5):
                assert await draining == 0

    async def test_cuts_what_doesnt_end_in_time(self, plane: Plane) -> None:
        await plane.router.apply(table(plane))
        async with plane.visit(HOST) as first, plane.visit(HOST) as second:
            await self.led_away(plane)
            assert await plane.router.drain(plane.endpoint, 0.1) == 2
            async with asyncio.timeout(5):
                await first.until_cut()
                await second.until_cut()
            assert await plane.router.drain(plane.endpoint, 10) == 0


async def visited(plane: Plane, host: str = HOST) -> None:
    """Send a request and wait for its response."""
    async with plane.visit(host) as visitor:
        await visitor.leave()


class TestPark:
    async def parked(self, plane: Plane, idle: float = 0.0, host: str = HOST) -> bool:
        before = await plane.router.current()
        return await plane.router.park(before, before.upsert(host, ASLEEP), {host}, idle)

    async def test_a_host_that_is_not_in_use(self, plane: Plane) -> None:
        before = table(plane).with_policies({HOST: GUARDED})
        await plane.router.apply(before)
        after = before.upsert(HOST, ASLEEP, GUARDED)

        assert await plane.router.park(before, after, {HOST}, 0)
        assert await plane.router.current() == after
        assert after.policies == {HOST: GUARDED}

    async def test_again_is_the_same(self, plane: Plane) -> None:
        """The reply to the first may have been lost."""
        await plane.router.apply(table(plane))
        after = table(plane).upsert(HOST, ASLEEP)
        for _ in range(2):
            assert await plane.router.park(table(plane), after, {HOST}, 0)
        assert await plane.router.current() == after

    async def test_not_while_a_request_is_open(self, plane: Plane) -> None:
        await plane.router.apply(table(plane))
        async with plane.visit(HOST) as visitor:
            assert not await self.parked(plane)
            assert await plane.router.current() == table(plane)
            await visitor.leave()
        async with asyncio.timeout(5):
            while not await self.parked(plane):
                await asyncio.sleep(0.01)

    async def test_not_while_one_of_its_hosts_is_in_use(self, plane: Plane) -> None:
        both = table(plane).upsert(OTHER, NOBODY)
        await plane.router.apply(both)
        asleep = both.upsert(HOST, ASLEEP).upsert(OTHER, ASLEEP)
        async with plane.visit(HOST):
            assert not await plane.router.park(both, asleep, {HOST, OTHER}, 0)
            assert await plane.router.current() == both

    async def test_not_within_the_idle_time(self, plane: Plane) -> None:
        await plane.router.apply(table(plane))
        assert not await self.parked(plane, idle=600)  # the data plane has only just started
        await visited(plane)
        assert not await self.parked(plane, idle=600)
        assert await self.parked(plane)

    async def test_not_without_an_endpoint(self, plane: Plane) -> None:
        await plane.router.apply(table(plane))
        assert not await self.parked(plane, host=OTHER)
        assert not await self.parked(plane, host=f"unknown.{DOMAIN}")


class TestActivity:
    async def test_nobody_was_there(self, plane: Plane) -> None:
        await plane.router.apply(table(plane))
        activity = await plane.router.activity()
        assert activity.idle == {}
        assert activity.idle_of([HOST, OTHER]) == activity.uptime

    async def test_a_visit_counts_while_it_is_open_and_afterwards(self, plane: Plane) -> None:
        await plane.router.apply(table(plane))
        async with plane.visit(HOST) as visitor:
            async with asyncio.timeout(5):
                while (await plane.router.activity()).uptime < 1.5:
                    await asyncio.sleep(0.05)
            assert (await plane.router.activity()).idle == {HOST: 0}
            await visitor.leave()
        assert (await plane.router.activity()).idle_of([HOST]) < 5

    async def test_pages_do_not_count(self, plane: Plane) -> None:
        await plane.router.apply(table(plane))
        async with plane.visit(OTHER), plane.visit(f"unknown.{DOMAIN}"):
            assert (await plane.router.activity()).idle == {}

    async def test_a_host_that_is_gone_is_forgotten(self, plane: Plane) -> None:
        await plane.router.apply(table(plane))
        await visited(plane)
        await plane.router.update(table(plane), table(plane).delete(HOST))
        assert (await plane.router.activity()).idle == {}


@asynccontextmanager
async def heard(router: Router) -> AsyncIterator[asyncio.Queue[FrontEvent]]:
    """The router's events during the block, after the first one."""
    events: asyncio.Queue[FrontEvent] = asyncio.Queue()

    async def listen() -> None:
        async for event in router.events():
            events.put_nowait(event)

    listening = asyncio.create_task(listen())
    assert await asyncio.wait_for(events.get(), 5) == CONNECTED
    await asyncio.sleep(0.05)  # the front sends events once it has been asked to
    yield events
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


class TestEvents:
    async def test_a_host_whose_endpoint_refuses(self, plane: Plane) -> None:
        await plane.router.apply(table(plane).upsert(HOST, NOBODY))
        async with heard(plane.router) as events, plane.visit(HOST):
            refused = FrontEvent(FrontEventKind.UNREACHABLE, HOST)
            assert await asyncio.wait_for(events.get(), 5) == refused

    async def test_that_it_came_back(self, plane: Plane) -> None:
        async with heard(plane.router) as events:
            await plane.restart()

            assert await asyncio.wait_for(events.get(), 10) == CONNECTED


class TestHold:
    @pytest.mark.parametrize("state", ["asleep", "waking"])
    async def test_a_request_to_a_sleeping_host_wakes_it_and_is_served(
        self, plane: Plane, state: PageState
    ) -> None:
        asleep = table(plane).upsert(HOST, Page(state))
        await plane.router.apply(asleep)
        async with heard(plane.router) as events:
            visiting = asyncio.create_task(visited(plane))
            for _ in range(2):  # again each second, in case one was lost
                assert await asyncio.wait_for(events.get(), 5) == WAKE
            assert (await plane.router.activity()).idle == {HOST: 0}
            assert not visiting.done()
            await plane.router.update(asleep, table(plane))
            await asyncio.wait_for(visiting, 5)

    async def test_requests_that_wait_announce_themselves_to_who_connects_later(self, plane: Plane) -> None:
        asleep = table(plane).upsert(HOST, ASLEEP)
        await plane.router.apply(asleep)
        visiting = asyncio.create_task(visited(plane))
        await asyncio.sleep(0.1)
        async with heard(plane.router) as events:
            assert await asyncio.wait_for(events.get(), 5) == WAKE
            await plane.router.update(asleep, asleep.upsert(HOST, PAGE))
            visiting.cancel()
            await asyncio.gather(visiting, return_exceptions=True)


class TestAway:
    async def test_every_call_says_try_again(self, plane: Plane) -> None:
        away, empty = await plane.away(), RouteTable()
        for call in (
            away.current(),
            away.apply(empty),
            away.update(empty, empty.upsert(HOST, PAGE)),
            away.park(empty, empty.upsert(HOST, ASLEEP), {HOST}, 0),
            away.activity(),
            away.drain(NOBODY, 1),
        ):
            with pytest.raises(Retry) as caught:
                await call
            assert caught.value.reason == "front-away"


class TestHealth:
    async def test_nothing_is_the_matter(self, plane: Plane) -> None:
        await plane.router.apply(table(plane))
        assert await plane.router.health() == Health()
