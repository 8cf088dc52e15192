"""Builds on virtual time: each only once, a few at a time, in order, and none that isn't needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from stager.control.builds.queue import FRESH, LINES_KEPT, LINGER, BuildProgress, BuildQueue, BuildRequest
from stager.domain.errors import Fault, Retry
from stager.domain.recipe import Recipe
from stager.ports.builder import BuildOrder, Say
from stager.ports.source import Origin
from stager.testing.fakes.builder import FakeBuilder, Result
from stager.testing.fakes.engine import FakeEngine
from stager.testing.fakes.logs import MemoryLogs
from stager.testing.fakes.sources import FakeSources, SourceFaultMode
from tests.unit.control.virtual_time import LoopClock

ORIGIN = Origin("https://forge.test/acme/shop.git")
SECONDS = 60.0
"""How long a build takes."""
BROKEN = Fault("The step RUN make failed.", reason="build-failed", detail="make: no such target")


def wanted(sha: str = "a1", **given: Any) -> BuildRequest:
    return replace(BuildRequest("shop", "101", ORIGIN, sha, Recipe(), 600.0), **given)


@dataclass
class Rig:
    """Builds over fakes, and who waits for them."""

    at_once: int = 2
    engine: FakeEngine = field(default_factory=lambda: FakeEngine(LoopClock()))
    sources: FakeSources = field(default_factory=lambda: FakeSources({"Dockerfile": "FROM scratch"}))
    logs: MemoryLogs = field(default_factory=MemoryLogs)

    def __post_init__(self) -> None:
        self.builder = FakeBuilder(self.engine)
        self.builder.default = Result(seconds=SECONDS, lines=("#1 FROM base", "#2 RUN make"))
        self.builds = BuildQueue(self.sources, self.builder, self.logs, at_once=self.at_once)

    def want(self, sha: str = "a1", **given: Any) -> asyncio.Task[str]:
        """A caller that waits for it."""
        return asyncio.create_task(self.builds.image(wanted(sha, **given)))

    @property
    def began(self) -> list[str]:
        """The commits whose build began, in order."""
        return [order.sha for order in self.builder.orders]

    def ended(self, sha: str = "a1") -> int:
        """How often a build of it was ended before its end."""
        return self.builder.cancelled[wanted(sha).key]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    yield rig
    await rig.builds.close()
    assert rig.sources.folders == set()
    assert rig.builder.running.total() == 0


async def gone(task: asyncio.Task[str]) -> None:
    """The waiting caller is cancelled."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class TestOnce:
    async def test_one_build_serves_all_callers(self, rig: Rig) -> None:
        waiting = [rig.want() for _ in range(3)]
        await asyncio.sleep(SECONDS / 2)
        images = set(await asyncio.gather(*waiting, rig.want()))

        assert len(images) == 1
        assert rig.began == ["a1"]
        assert rig.sources.fetched == [("101", "a1")]

    async def test_what_is_there_isnt_built_again(self, rig: Rig) -> None:
        first = await rig.want()
        at = asyncio.get_running_loop().time()

        assert await rig.want() == first
        assert rig.began == ["a1"]
        assert asyncio.get_running_loop().time() == at

    async def test_what_was_removed_meanwhile_is(self, rig: Rig) -> None:
        await rig.want()
        rig.builder.lose(wanted().key)
        await rig.want()

        assert rig.began == ["a1", "a1"]

    @pytest.mark.parametrize(
        "other",
        [
            {"sha": "b2"},
            {"app": "blog"},
            {"repository": "102"},
            {"recipe": Recipe("web")},
            {"recipe": Recipe(arguments={"A": "1"})},
            {"recipe": Recipe(secrets={"npm": "x"})},
        ],
    )
    async def test_another_image_is_another_build(self, rig: Rig, other: dict[str, Any]) -> None:
        await asyncio.gather(rig.want(), rig.want(**other))

        assert len(rig.builder.orders) == 2
        assert len({order.key for order in rig.builder.orders}) == 2

    @pytest.mark.parametrize(
        "same",
        [
            {"timeout": 1_000.0},
            {"origin": Origin("https://elsewhere.test/shop.git", authorization="token")},
            {"recipe": Recipe(secrets={"npm": "another"})},
        ],
    )
    async def test_what_changes_nothing_of_the_image_isnt(self, rig: Rig, same: dict[str, Any]) -> None:
        given: dict[str, Any] = {"recipe": Recipe(secrets={"npm": "one"})}
        await asyncio.gather(rig.want(**given), rig.want(**given | same))

        assert rig.began == ["a1"]

    async def test_is_kept_for_a_while_whatever_the_store_says(self, rig: Rig) -> None:
        image = await rig.want()
        assert rig.builds.fresh() == {image}
        await asyncio.sleep(FRESH - 1)
        assert rig.builds.fresh() == {image}
        await asyncio.sleep(2)

        assert rig.builds.fresh() == set()


class TestLine:
    async def test_a_few_at_a_time(self, rig: Rig) -> None:
        waiting = [rig.want(str(number)) for number in range(5)]
        await asyncio.sleep(SECONDS / 2)
        counts = []
        for _ in range(3):
            counts.append(rig.builder.running.total())
            await asyncio.sleep(SECONDS)
        await asyncio.gather(*waiting)

        assert counts == [2, 2, 1]

    async def test_first_come_first_served(self, rig: Rig) -> None:
        shas = [f"{number:02}" for number in range(9)]
        waiting = []
        for sha in shas:
            waiting.append(rig.want(sha))
            await asyncio.sleep(1)
        await asyncio.gather(*waiting)

        assert rig.began == shas

    async def test_a_repeated_request_has_its_old_place(self, rig: Rig) -> None:
        waiting = [rig.want(sha) for sha in ("1", "2", "3", "4", "3")]
        await asyncio.gather(*waiting)

        assert rig.began == ["1", "2", "3", "4"]

    async def test_how_many_are_before(self, rig: Rig) -> None:
        waiting = [rig.want(str(number)) for number in range(4)]
        await asyncio.sleep(1)
        standings = [rig.builds.progress(wanted(str(number)).key) for number in range(4)]

        assert [s and s.ahead for s in standings] == [None, None, 0, 1]
        await asyncio.sleep(SECONDS)
        assert rig.builds.progress(wanted("0").key) is None
        assert rig.builds.progress(wanted("3").key) is not None
        await asyncio.gather(*waiting)

    async def test_those_who_wait_hear_that_it_moves(self) -> None:
        rig, key = Rig(at_once=1), wanted("3").key
        places: list[int | None] = []

        def heard() -> None:
            standing = rig.builds.progress(key)
            if standing and standing.ahead not in places[-1:]:
                places.append(standing.ahead)

        waiting = [rig.want(str(number)) for number in range(3)]
        await asyncio.sleep(1)
        await rig.builds.image(wanted("3"), heard)
        await asyncio.gather(*waiting)

        assert places == [2, 1, 0, None]

    @pytest.mark.parametrize("at_once", [1, 2, 3])
    async def test_no_place_is_lost_or_won_whatever_happens(self, at_once: int) -> None:
        """Some fail, some are given up in line, at the moment that their turn comes, or under way."""
        rig = Rig(at_once)
        rig.builder.results["bad"] = Result(failure=BROKEN, seconds=1)
        for patience in (0.0, 0.5, SECONDS, SECONDS + 0.5, 1.5 * SECONDS):
            waiting = [rig.want(f"{patience}-{number}") for number in range(5)] + [rig.want("bad")]
            await asyncio.sleep(patience)
            for task in waiting[1:4]:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            await asyncio.sleep(LINGER + 1)

        last = [rig.want(f"last-{number}") for number in range(at_once + 1)]
        await asyncio.sleep(SECONDS / 2)
        assert rig.builder.running.total() == at_once
        await asyncio.gather(*last)


class TestUnwanted:
    async def test_a_queued_one_is_removed_at_once(self, rig: Rig) -> None:
        waiting = [rig.want(str(number)) for number in range(4)]
        await asyncio.sleep(1)
        await gone(waiting[2])

        assert rig.builds.progress(wanted("2").key) is None
        standing = rig.builds.progress(wanted("3").key)
        assert standing is not None
        assert standing.ahead == 0
        await asyncio.gather(*waiting, return_exceptions=True)
        assert rig.began == ["0", "1", "3"]

    async def test_a_running_one_is_cancelled_at_once_if_others_wait(self, rig: Rig) -> None:
        waiting = [rig.want(str(number)) for number in range(3)]
        await asyncio.sleep(1)
        await gone(waiting[0])
        await asyncio.sleep(0.1)

        assert rig.ended("0") == 1
        assert rig.began == ["0", "1", "2"]
        await asyncio.gather(*waiting[1:])

    async def test_otherwise_it_continues_for_a_while(self, rig: Rig) -> None:
        await self.look_away(rig)
        await asyncio.sleep(LINGER - 1)
        assert rig.ended() == 0
        await asyncio.sleep(2)

        assert rig.ended() == 1
        assert rig.builds.progress(wanted().key) is None

    async def test_until_another_build_would_have_to_wait(self, rig: Rig) -> None:
        await self.look_away(rig)
        others = [rig.want("b2"), rig.want("c3")]
        await asyncio.sleep(1)

        assert rig.ended() == 1
        assert rig.builder.running.total() == 2
        await asyncio.gather(*others)

    async def test_a_repeated_request_continues_it(self, rig: Rig) -> None:
        for _ in range(10):
            await self.look_away(rig, SECONDS / 20)
            await asyncio.sleep(LINGER / 2)
        await rig.want()

        assert rig.began == ["a1"]
        assert rig.ended() == 0

    async def test_each_absence_counts_by_itself(self, rig: Rig) -> None:
        """Three seconds away, there again, and away once more: that isn't six."""
        for _ in range(5):
            await self.look_away(rig)
            await asyncio.sleep(LINGER - 2)

        assert rig.ended() == 0

    async def test_one_of_several_who_wait_ends_nothing(self, rig: Rig) -> None:
        stays, goes = rig.want(), rig.want()
        await asyncio.sleep(1)
        await gone(goes)
        await asyncio.sleep(LINGER + 1)

        assert rig.ended() == 0
        assert await stays

    async def test_a_new_request_for_one_that_is_being_ended_begins_again(self, rig: Rig) -> None:
        """And isn't ended with it."""
        others = [rig.want("b2"), rig.want("c3"), rig.want("d4")]
        first = rig.want("b2")
        await asyncio.sleep(1)
        for task in (others[0], first):
            task.cancel()
        again = rig.want("b2")  # at the same moment
        image = await again

        assert image
        assert rig.began == ["b2", "c3", "d4", "b2"]
        await asyncio.gather(*others[1:])

    async def test_a_push_in_line_takes_the_place_of_none(self, rig: Rig) -> None:
        """Of ten pushes one after the other only the last is built, once its turn comes."""
        others = [rig.want("x"), rig.want("y")]
        await asyncio.sleep(1)
        for number in range(10):
            task = rig.want(f"push-{number}")
            await asyncio.sleep(1)
            if number < 9:
                await gone(task)
        await asyncio.gather(task, *others)

        assert rig.began == ["x", "y", "push-9"]

    async def look_away(self, rig: Rig, after: float = 1.0) -> None:
        task = rig.want()
        await asyncio.sleep(after)
        await gone(task)


class TestFailure:
    async def test_is_raised_to_all_who_wait(self, rig: Rig) -> None:
        rig.builder.default = Result(failure=BROKEN, seconds=SECONDS)
        waiting = [rig.want() for _ in range(3)]
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)

        assert outcomes == [BROKEN] * 3
        assert rig.began == ["a1"]
        assert rig.builds.progress(wanted().key) is None

    async def test_a_second_request_tries_again(self, rig: Rig) -> None:
        rig.builder.default = Result(failure=BROKEN, seconds=SECONDS)
        with pytest.raises(Fault):
            await rig.want()
        rig.builder.default = Result()

        assert await rig.want()
        assert rig.began == ["a1", "a1"]

    async def test_at_the_very_moment_of_the_failure_as_well(self, rig: Rig) -> None:
        rig.builder.default = Result(failure=BROKEN, seconds=SECONDS)

        async def again() -> str:
            with pytest.raises(Fault):
                await rig.builds.image(wanted())
            rig.builder.default = Result()
            return await rig.builds.image(wanted())

        assert await asyncio.gather(again(), again())
        assert rig.began == ["a1", "a1"]

    async def test_without_waiters_is_discarded(self, rig: Rig) -> None:
        rig.builder.default = Result(failure=BROKEN, seconds=3)
        task = rig.want()
        await asyncio.sleep(1)
        await gone(task)
        await asyncio.sleep(LINGER + 1)

        assert rig.builds.progress(wanted().key) is None

    @pytest.mark.parametrize(
        ("mode", "kind", "reason"),
        [
            (SourceFaultMode.AWAY, Retry, "source-away"),
            (SourceFaultMode.REFUSING, Fault, "source-refused"),
            (SourceFaultMode.LARGE, Fault, "source-too-large"),
        ],
    )
    async def test_to_fetch_the_commit(
        self, rig: Rig, mode: SourceFaultMode, kind: type[Fault | Retry], reason: str
    ) -> None:
        rig.sources.fault_mode = mode
        with pytest.raises(kind) as caught:
            await rig.want()
        assert caught.value.reason == reason
        assert rig.began == []
        rig.sources.fault_mode = SourceFaultMode.WELL

        assert await rig.want()

    async def test_of_an_engine_that_is_away(self, rig: Rig) -> None:
        rig.engine.leave()
        with pytest.raises(Retry):
            await rig.want()
        rig.engine.come_back()

        assert await rig.want()

    async def test_that_it_takes_too_long(self, rig: Rig) -> None:
        with pytest.raises(Fault) as caught:
            await rig.want(timeout=SECONDS / 2)

        assert caught.value.reason == "build-too-slow"


class TestLog:
    KEY = wanted().key
    WHOLE = "Fetching commit a1\n#1 FROM base\n#2 RUN make\n"

    async def followed(self, rig: Rig) -> tuple[str, list[float]]:
        """What a follower reads from now on, and when each piece comes."""
        pieces, times = [], []
        async for piece in rig.builds.follow(self.KEY):
            pieces.append(piece)
            times.append(asyncio.get_running_loop().time())
        return "".join(pieces), times

    async def test_is_kept(self, rig: Rig) -> None:
        await rig.want()

        assert rig.builds.log_of(self.KEY) == self.WHOLE
        assert rig.builds.log_of("") == ""
        assert rig.builds.log_of("nothing") == ""

    async def test_is_followed_from_the_beginning_to_the_end(self, rig: Rig) -> None:
        building, following = rig.want(), []
        for pause in (0, 1, SECONDS / 2):
            await asyncio.sleep(pause)
            following.append(asyncio.create_task(self.followed(rig)))
        await building

        for text, _ in await asyncio.gather(*following):
            assert text == self.WHOLE

    async def test_comes_as_it_is_written(self, rig: Rig) -> None:
        class Talking(FakeBuilder):
            async def build(self, order: BuildOrder, say: Say) -> str:
                for number in range(3):
                    say(f"line {number}")
                    await asyncio.sleep(10)
                return await super().build(order, say)

        rig.builds._builder = Talking(rig.engine)
        start = asyncio.get_running_loop().time()
        building = rig.want()
        await asyncio.sleep(0.01)
        text, times = await self.followed(rig)
        await building

        assert "line 0\nline 1\nline 2\n" in text
        assert [round(at - start) for at in times] == [0, 10, 20, 30]

    async def test_of_one_that_is_over_is_read_and_ends(self, rig: Rig) -> None:
        await rig.want()

        assert (await self.followed(rig))[0] == self.WHOLE

    async def test_of_one_that_never_was_ends(self, rig: Rig) -> None:
        assert (await self.followed(rig))[0] == ""
        assert [piece async for piece in rig.builds.follow("")] == []

    async def test_of_one_that_fails_or_is_given_up_ends(self, rig: Rig) -> None:
        rig.builder.default = Result(failure=BROKEN, seconds=SECONDS, lines=("#1 RUN make",))
        for patience in (SECONDS + 1, 1.0):
            task = rig.want()
            await asyncio.sleep(0.5)
            following = asyncio.create_task(self.followed(rig))
            await asyncio.sleep(patience)
            await gone(task)

            assert (await following)[0].endswith("#1 RUN make\n")

    async def test_of_one_in_line_waits_for_its_turn(self, rig: Rig) -> None:
        others = [rig.want("x"), rig.want("y")]
        await asyncio.sleep(1)
        building = rig.want()
        await asyncio.sleep(1)
        following = asyncio.create_task(self.followed(rig))
        await asyncio.gather(building, *others)

        assert (await following)[0] == self.WHOLE

    async def test_begins_again_with_each_build(self, rig: Rig) -> None:
        rig.builder.default = Result(failure=BROKEN, lines=("a long line of the build that failed",) * 5)
        with pytest.raises(Fault):
            await rig.want()
        rig.builder.default = Result(lines=("fine",), seconds=1)
        await rig.want()

        assert rig.builds.log_of(self.KEY) == "Fetching commit a1\nfine\n"

    async def test_is_the_new_ones_during_the_look_up(self, rig: Rig) -> None:
        """A follower isn't shown the log of the previous build while the image is looked up."""

        class Slow(FakeBuilder):
            async def find(self, app: str, key: str) -> str | None:
                await asyncio.sleep(5)
                return await super().find(app, key)

        rig.builder.default = Result(failure=BROKEN, lines=("a long line of the build that failed",) * 5)
        with pytest.raises(Fault):
            await rig.want()
        slow = rig.builds._builder = Slow(rig.engine)
        slow.default = Result(lines=("fine",), seconds=1)
        building = rig.want()
        await asyncio.sleep(1)
        text, _ = await self.followed(rig)
        await building

        assert text == "Fetching commit a1\nfine\n"

    async def test_of_a_found_image_stays(self, rig: Rig) -> None:
        await rig.want()
        await rig.want()

        assert rig.builds.log_of(self.KEY) == self.WHOLE

    async def test_the_last_lines_are_available(self, rig: Rig) -> None:
        lines = tuple(f"line {number}" for number in range(100))
        rig.builder.default = Result(lines=lines, seconds=SECONDS)
        building = rig.want()
        await asyncio.sleep(1)

        assert rig.builds.progress(self.KEY) == BuildProgress(None, lines[-LINES_KEPT:])
        await building

    async def test_a_closed_follower_is_removed(self, rig: Rig) -> None:
        """A follower that stops leaves nothing behind."""
        building = rig.want()
        await asyncio.sleep(1)
        following = rig.builds.follow(self.KEY)
        await anext(following)
        await following.aclose()  # type: ignore[attr-defined]

        assert len(rig.builds._builds[self.KEY].listeners) == 1
        await building


class TestClose:
    async def test_ends_what_is_under_way_and_in_line(self, rig: Rig) -> None:
        waiting = [rig.want(str(number)) for number in range(4)]
        await asyncio.sleep(1)
        await rig.builds.close()
        await asyncio.gather(*waiting, return_exceptions=True)

        assert all(task.cancelled() for task in waiting)
        assert rig.builder.running.total() == 0
        assert rig.began == ["0", "1"]

    async def test_of_none(self, rig: Rig) -> None:
        await rig.builds.close()


def test_a_key_for_a_generated_dockerfile_depends_on_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, auto = wanted(), wanted(recipe=Recipe(auto=True))
    before = (plain.key, auto.key)
    monkeypatch.setattr("stager.control.builds.queue.GENERATOR_EDITION", 999)
    assert (plain.key == before[0], auto.key == before[1], plain.key == auto.key) == (True, False, False)


async def test_drain_waits_for_running_builds_and_starts_no_other() -> None:
    rig = Rig(at_once=1)
    running, queued = rig.want("a1"), rig.want("b2")
    await asyncio.sleep(SECONDS / 2)
    draining = asyncio.create_task(rig.builds.drain())
    await asyncio.sleep(SECONDS / 4)
    assert not draining.done()
    await draining
    await asyncio.sleep(SECONDS * 2)
    assert running.done()
    assert rig.began == ["a1"]
    assert rig.ended("a1") == 0
    assert not queued.done()
    queued.cancel()
    await rig.builds.close()


async def test_drain_of_an_idle_queue_returns() -> None:
    rig = Rig()
    await rig.builds.drain()
