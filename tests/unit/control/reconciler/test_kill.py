"""`kill -9` at every single point: before and after each call that control makes of anything outside itself.

Each scenario runs once undisturbed, to count its points, and then once for each of them at which the state
differs from that at the one before: the control plane is killed there, another starts over the same store,
engine, router and forge, and everything comes to rest as without the kill. Each of these points is played
once: every other one with a forge that can be asked, the others with one that can't; with `LONGER`, all with
both.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from stager.domain.environment import Depth, InstanceState
from stager.domain.pull_requests.events import ChangeEvent
from stager.domain.route import Endpoint
from stager.domain.status import State
from stager.testing import Program
from tests.length import LONGER
from tests.unit.control.harness import IMAGE, SHOP, Harness
from tests.unit.control.tripwire import Tripwire

BROKEN = Program(exit_code=3, output="no such table: orders")
FINISHED = 90.0
"""Seconds in which whatever was begun has come to its end."""
SETTLED = 30.0
"""Seconds in which an undisturbed preview comes to rest."""


class Scenario:
    """One thing that happens to a preview of a pull request: `before`, at rest; `happen`; what is at the end.

    Args:
        uninterrupted: visitors must be served by a running instance all the time.
        url: what the comment names in the end.
    """

    uninterrupted = False
    url = "http://feature-x.preview.test"

    @classmethod
    def harness_for(cls, *, credentials: bool) -> Harness:
        """A harness in which it can happen."""
        return Harness([replace(SHOP, owner="acme")], credentials=credentials)

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.repository = harness.forge.add_repository("acme", "shop")
        self.unanswered: ChangeEvent | None = None

    async def before(self) -> None:
        self.event = await self.deliver(self.harness.forge.open(self.repository, "feature-x", "a1"))

    async def happen(self) -> None:
        raise NotImplementedError

    async def at_the_end(self) -> None:
        raise NotImplementedError

    async def deliver(self, event: ChangeEvent) -> ChangeEvent:
        self.unanswered = event
        await self.harness.deliver(event)
        self.unanswered = None
        return event

    async def tell_again(self) -> None:
        """Where the forge can't be asked, only a redelivery helps one that wasn't acknowledged."""
        if self.unanswered is not None and not self.harness.credentials:
            await self.harness.deliver(self.unanswered)

    def ports(self) -> object:
        """All that outlives the control plane, and what the senders of requests know."""
        return self.harness.outside, self.unanswered

    async def assert_live_and_reported(self, sha: str, generation: int) -> None:
        instance = await self.harness.assert_live(generation=generation)
        assert self.harness.engine.spec(instance.id).labels.revision.sha == sha
        assert await self.harness.engine.sweep() == 0
        self.assert_one_comment(self.url)

    def assert_one_comment(self, *told: str) -> None:
        if not self.harness.credentials:
            return
        [comment] = [comment for comment in self.harness.forge.comments if comment.ours]
        for text in told:
            assert text in comment.body


class Opened(Scenario):
    async def before(self) -> None:
        pass

    async def happen(self) -> None:
        await self.deliver(self.harness.forge.open(self.repository, "feature-x", "a1"))

    async def at_the_end(self) -> None:
        await self.assert_live_and_reported("a1", 1)
        assert (await self.harness.status()).state is State.LIVE


class Pushed(Scenario):
    uninterrupted = True

    async def happen(self) -> None:
        await self.deliver(self.harness.forge.push(self.event, "b2"))

    async def at_the_end(self) -> None:
        await self.assert_live_and_reported("b2", 2)
        self.assert_one_comment("is live", "`b2`")


class BrokenPush(Pushed):
    async def happen(self) -> None:
        self.harness.engine.add_image(IMAGE, BROKEN)
        await super().happen()

    async def at_the_end(self) -> None:
        await self.assert_live_and_reported("a1", 1)
        assert (await self.harness.status()).state is State.FAILED_UPDATE
        self.assert_one_comment("newest commit failed", "no such table: orders")


class Closed(Scenario):
    async def happen(self) -> None:
        await self.deliver(self.harness.forge.close(self.event))

    async def at_the_end(self) -> None:
        await self.harness.assert_gone()
        assert (await self.harness.status()).state is State.GONE
        assert await self.harness.engine.sweep() == 0
        self.assert_one_comment("was removed")


class Reopened(Closed):
    async def before(self) -> None:
        await super().before()
        await self.harness.rest()
        await self.deliver(self.harness.forge.close(self.event))

    async def happen(self) -> None:
        await self.deliver(self.harness.forge.reopen(self.event))

    async def at_the_end(self) -> None:
        await self.assert_live_and_reported("a1", 2)
        self.assert_one_comment("is live")


class Crashed(Scenario):
    async def happen(self) -> None:
        [instance] = self.harness.engine.there()
        self.harness.engine.end(instance.id, 1)

    async def at_the_end(self) -> None:
        await self.assert_live_and_reported("a1", 1)


class StoppedManually(Scenario):
    async def happen(self) -> None:
        await self.harness.stop("feature-x")

    async def at_the_end(self) -> None:
        # If it was killed before the command was stored, no answer said that it worked.
        if (await self.harness.the()).desired.suspension is None:
            await self.assert_live_and_reported("a1", 1)
        else:
            await self.harness.assert_gone()
            assert (await self.harness.status()).state is State.STOPPED
            self.assert_one_comment("is stopped")


class LaunchedManually(Scenario):
    uninterrupted = True

    async def happen(self) -> None:
        await self.harness.launch("feature-x")

    async def at_the_end(self) -> None:
        await self.assert_live_and_reported("a1", (await self.harness.the()).desired.generation)


class FallenAsleep(Scenario):
    depth = Depth.PAUSED

    async def happen(self) -> None:
        await self.sleep()

    async def sleep(self) -> None:
        environment = await self.harness.the()
        await self.harness.running.control_plane.environments.power.sleep(environment.id, self.depth)

    async def at_the_end(self) -> None:
        """Asleep or, if it was killed before the command was stored, live. A visit is served in any case."""
        there = await self.harness.the()
        asleep = InstanceState.PAUSED if self.depth is Depth.PAUSED else InstanceState.STOPPED
        states = {i.state for i in self.harness.engine.there()}
        assert states == {asleep if there.desired.is_asleep else InstanceState.RUNNING}
        async with self.harness.router.visit(there.host) as visit:
            assert self.harness.served(there.host) is not None, visit.target
        await self.harness.rest(SETTLED)
        await self.assert_live_and_reported("a1", 1)


class StoppedAsleep(FallenAsleep):
    depth = Depth.STOPPED


class Woken(FallenAsleep):
    async def before(self) -> None:
        await super().before()
        await self.harness.rest(SETTLED)
        await self.sleep()

    async def happen(self) -> None:
        async with self.harness.router.visit("feature-x.preview.test"):
            pass


class StartedAgain(Woken):
    depth = Depth.STOPPED


class PushedAsleep(Woken):
    async def happen(self) -> None:
        await self.deliver(self.harness.forge.push(self.event, "b2"))

    async def at_the_end(self) -> None:
        await self.assert_live_and_reported("b2", 2)
        self.assert_one_comment("is live", "`b2`")


class ClosedAsleep(Woken):
    async def happen(self) -> None:
        await self.deliver(self.harness.forge.close(self.event))

    async def at_the_end(self) -> None:
        await self.harness.assert_gone()
        assert await self.harness.engine.sweep() == 0


SCENARIOS = [
    *(Opened, Pushed, BrokenPush, Closed, Reopened, Crashed, StoppedManually, LaunchedManually),
    *(FallenAsleep, StoppedAsleep, Woken, StartedAgain, PushedAsleep, ClosedAsleep),
]


async def play(kind: type[Scenario], *kills: int, credentials: bool = True) -> Tripwire:
    """Play a scenario in a harness of its own, with `kill -9` at the first of these points, at the second one
    of the life after that, and so on. Returns the wire of the life in which it happened."""
    harness = kind.harness_for(credentials=credentials)
    async with harness.open():
        scenario = kind(harness)
        await scenario.before()
        await harness.rest(SETTLED)
        await harness.kill()
        wires = [Tripwire(at) for at in (*kills, None)]
        if not kills:  # The other lives are played at the points that this one finds.
            wires[0].watch(scenario.ports)
        for wire in wires:
            wire.check(uninterrupted(harness) if kind.uninterrupted else lambda: "")
        await harness.start(wires[0], rest=False)
        await harness.rest(SETTLED)
        wires[0].arm()
        await until_killed(wires[0], scenario.happen)
        if not kills:
            wires[0].disarm()  # a life in which a later point is chosen would end here, too
        for wire in wires[1:]:
            await harness.kill()
            wire.arm()
            await harness.start(wire, rest=False)
            await until_killed(wire, scenario.tell_again)
        await harness.rest(SETTLED)
        await scenario.at_the_end()
        assert [wire.broken for wire in wires] == [[] for _ in wires]
    return wires[0]


async def until_killed(wire: Tripwire, happen: Callable[[], Awaitable[None]]) -> None:
    """Let it happen, until the wire trips or everything has been done."""
    happening = asyncio.ensure_future(happen())
    with suppress(TimeoutError):
        async with asyncio.timeout(FINISHED):
            await wire.tripped.wait()
    happening.cancel()
    with suppress(asyncio.CancelledError):
        await happening


def uninterrupted(harness: Harness) -> Callable[[], str]:
    host = "feature-x.preview.test"

    def check() -> str:
        target = harness.target(host)
        reached = isinstance(target, Endpoint) and harness.served(host) is not None
        return "" if reached else f"a visitor met {target}"

    return check


@pytest.mark.parametrize("credentials", [True, False], ids=["asking", "told"])
@pytest.mark.parametrize("kind", SCENARIOS)
async def test_killed_at_every_point(kind: type[Scenario], credentials: bool) -> None:
    wire = await play(kind, credentials=credentials)
    assert len(wire.distinct) > 10
    wrong = []
    for at in wire.distinct if LONGER > 1 else wire.distinct[credentials::2]:
        try:
            await play(kind, at, credentials=credentials)
        except AssertionError as error:
            wrong.append(f"killed {wire.passed[at]} (point {at}): {str(error).splitlines()[0]}")
    assert wrong == []


@pytest.mark.parametrize("kind", SCENARIOS)
async def test_killed_again_and_again(kind: type[Scenario]) -> None:
    """Three times, at points by lot, also while it picks up what the life before left undone."""
    lot = random.Random(kind.__name__)
    points = len((await play(kind)).passed)
    for _ in range(5 * LONGER):
        kills = [lot.randrange(points) for _ in range(3)]
        try:
            await play(kind, *kills)
        except AssertionError as error:
            raise AssertionError(f"killed at points {kills}: {error}") from error


async def test_stores_that_it_was_live_wherever_it_is_killed() -> None:
    class Remembered(Opened):
        async def at_the_end(self) -> None:
            await super().at_the_end()
            assert (await self.harness.deployment()).live_at is not None

    for at in (await play(Remembered)).distinct:
        await play(Remembered, at)
