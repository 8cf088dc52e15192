"""What was lost is healed by asking the forge; an answer that isn't certain removes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime

import pytest

from stager.control.forges import Forges
from stager.control.pull_requests.resync import REDELIVER, Resync
from stager.domain.errors import Retry
from stager.domain.pull_requests.events import ChangeEvent
from stager.domain.source import Change, Repository
from stager.testing import FakeForge, FaultMode
from stager.testing.fakes.forge import as_forge
from tests.unit.control.harness import SHOP, Harness

TWO_ROUNDS = 620.0
"""Seconds in which a resync happens twice."""


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    """A harness whose app's repository is known from the configuration."""
    async with Harness([replace(SHOP, owner="acme")]).open() as opened:
        yield opened


async def live(harness: Harness, *refs: str) -> list[ChangeEvent]:
    """Changes that are open, delivered, and live."""
    repository = harness.forge.add_repository("acme", "shop")
    opened = [harness.forge.open(repository, ref, f"{ref}1") for ref in refs]
    await harness.deliver(*opened)
    await harness.rest(30)
    return opened


async def names(harness: Harness) -> set[str]:
    return {e.name for e in await harness.environments(present=True)}


class TestRedelivery:
    @pytest.mark.parametrize("error", [Retry("Away.", reason="forge-away"), ValueError("A bug.")])
    async def test_one_forge_in_trouble_keeps_no_other_from_it(
        self, harness: Harness, error: Exception
    ) -> None:
        """The one that fails is asked for all of the time, once it can be; the other for what is new."""
        asked: dict[str, list[datetime]] = {"broken": [], "well": []}
        failure: list[Exception] = [error]

        class Broken(FakeForge):
            async def redeliver(self, since: datetime) -> int:
                asked["broken"].append(since)
                if failure:
                    raise failure[0]
                return 0

        class Well(FakeForge):
            async def redeliver(self, since: datetime) -> int:
                asked["well"].append(since)
                return 0

        running = harness.running
        forges = Forges([replace(as_forge(Broken()), name="broken"), replace(as_forge(Well()), name="well")])
        resync = Resync(
            harness.store,
            forges,
            running.applications,
            running.control_plane.pull_requests.change_events,
            running.clock,
        )
        start = running.clock.now() - REDELIVER
        await resync.run()
        await harness.rest()
        await resync.run()
        failure.clear()
        await resync.run()

        assert asked["broken"] == [start] * 3
        assert asked["well"][0] == start
        assert asked["well"][1] == start + REDELIVER


class TestRemovesOnlyWhatIsCertain:
    @pytest.mark.parametrize("mode", [FaultMode.FAILING, FaultMode.PARTIAL, FaultMode.NEVER, FaultMode.SLOW])
    async def test_a_forge_in_a_mood_costs_nothing(self, harness: Harness, mode: FaultMode) -> None:
        await live(harness, "one", "two")
        harness.forge.fault_mode = mode
        await harness.rest(TWO_ROUNDS)

        for environment in await harness.environments():
            await harness.assert_live(environment)

    async def test_an_empty_list_costs_nothing(
        self, harness: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await live(harness, "one", "two")

        async def empty(_: Repository) -> list[Change]:
            return []

        monkeypatch.setattr(harness.forge, "open_changes", empty)
        await harness.rest(TWO_ROUNDS)

        assert await names(harness) == {"one", "two"}
        assert len(harness.engine.there()) == 2

    async def test_a_list_without_some_of_them_costs_nothing(
        self, harness: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await live(harness, "one", "two")
        whole = harness.forge.open_changes

        async def short(repository: Repository) -> list[Change]:
            return (await whole(repository))[:1]

        monkeypatch.setattr(harness.forge, "open_changes", short)
        await harness.rest(TWO_ROUNDS)

        assert await names(harness) == {"one", "two"}

    async def test_a_change_that_cant_be_read_stays(
        self, harness: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        [gone, _] = await live(harness, "gone", "stays")
        harness.forge.close(gone)

        async def unsure(*_: object) -> Change | None:
            raise Retry("The forge can't tell.", reason="forge-away")

        monkeypatch.setattr(harness.forge, "change", unsure)
        await harness.rest(TWO_ROUNDS)
        assert await names(harness) == {"gone", "stays"}
        monkeypatch.undo()
        await harness.rest(TWO_ROUNDS)

        assert await names(harness) == {"stays"}

    async def test_one_repository_in_trouble_costs_no_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        apps = [replace(SHOP, owner="acme"), replace(SHOP, name="blog", owner="acme")]
        async with Harness(apps).open() as harness:
            shop, blog = (
                harness.forge.add_repository("acme", "shop"),
                harness.forge.add_repository("acme", "blog"),
            )
            whole = harness.forge.open_changes

            async def half(repository: Repository) -> list[Change]:
                if repository.name == "shop":
                    raise Retry("Not that one.", reason="forge-away")
                return await whole(repository)

            monkeypatch.setattr(harness.forge, "open_changes", half)
            harness.forge.open(shop, "one", "a")
            harness.forge.open(blog, "two", "b")
            await harness.rest(TWO_ROUNDS)

            assert await names(harness) == {"two"}


class TestHeals:
    async def test_one_that_was_closed(self, harness: Harness) -> None:
        [closed, _] = await live(harness, "closed", "stays")
        harness.forge.close(closed)
        await harness.rest(TWO_ROUNDS)

        assert await names(harness) == {"stays"}
        assert len(harness.engine.there()) == 1

    async def test_one_that_is_unknown_to_the_forge(self, harness: Harness) -> None:
        [deleted, _] = await live(harness, "deleted", "stays")
        harness.forge.forget(deleted)
        await harness.rest(TWO_ROUNDS)

        assert await names(harness) == {"stays"}

    async def test_one_that_was_opened(self, harness: Harness) -> None:
        [seen] = await live(harness, "seen")
        harness.forge.open(seen.change.repository, "missed", "m1")
        await harness.rest(TWO_ROUNDS)

        assert await names(harness) == {"seen", "missed"}
        assert len(harness.engine.there()) == 2

    async def test_a_push(self, harness: Harness) -> None:
        [opened] = await live(harness, "one")
        harness.forge.push(opened, "one2")
        await harness.rest(TWO_ROUNDS)

        assert harness.engine.spec((await harness.assert_live()).id).labels.revision.sha == "one2"

    async def test_one_that_was_reopened(self, harness: Harness) -> None:
        [opened] = await live(harness, "one")
        await harness.deliver(harness.forge.close(opened))
        await harness.rest(30)
        harness.forge.reopen(opened)
        await harness.rest(TWO_ROUNDS)

        await harness.assert_live()

    async def test_one_that_was_reopened_within_a_second(self, harness: Harness) -> None:
        harness.forge = FakeForge(tick=0.01)
        await harness.kill()
        await harness.start()
        [opened] = await live(harness, "one")
        await harness.deliver(harness.forge.close(opened))
        await harness.rest(30)
        harness.forge.reopen(opened)
        await harness.rest(TWO_ROUNDS)

        await harness.assert_live()

    async def test_at_the_start(self, harness: Harness) -> None:
        [closed] = await live(harness, "closed")
        await harness.kill()
        harness.forge.close(closed)
        harness.forge.open(closed.change.repository, "opened", "o1")
        await harness.start(rest=False)
        await harness.rest(10)

        assert await names(harness) == {"opened"}

    async def test_a_repository_known_from_a_delivery_alone(self) -> None:
        async with Harness().open() as harness:
            [seen] = await live(harness, "seen")
            harness.forge.open(seen.change.repository, "missed", "m1")
            await harness.rest(TWO_ROUNDS)

            assert await names(harness) == {"seen", "missed"}

    async def test_more_than_one_page_of_them(self, harness: Harness) -> None:
        repository = harness.forge.add_repository("acme", "shop")
        for number in range(150):
            harness.forge.open(repository, f"branch-{number}", f"{number}")
        await harness.rest(TWO_ROUNDS)

        assert len(harness.engine.there()) == 150


class TestLeavesAlone:
    async def test_what_is_as_it_should_be(self, harness: Harness) -> None:
        await live(harness, "one")
        before = harness.engine.there()
        await harness.rest(TWO_ROUNDS)

        assert harness.engine.there() == before
        assert (await harness.the()).desired.generation == 1

    async def test_what_was_killed_manually(self, harness: Harness) -> None:
        await live(harness, "one")
        await harness.stop("one")
        await harness.rest(TWO_ROUNDS)

        await harness.assert_gone()

    async def test_what_was_launched_manually(self, harness: Harness) -> None:
        await live(harness)
        environment = await harness.launch("by-hand")
        await harness.rest(TWO_ROUNDS)

        await harness.assert_live(environment)

    async def test_what_no_listener_takes(self) -> None:
        async with Harness([replace(SHOP, owner="acme")], listeners=[]).open() as harness:
            harness.forge.open(harness.forge.add_repository("acme", "shop"), "one", "a")
            await harness.rest(TWO_ROUNDS)

            assert await harness.environments() == []

    async def test_another_repository_that_took_the_name(self, harness: Harness) -> None:
        """The repository was renamed, and its name given to another one: that says nothing of ours."""
        await live(harness, "one")
        harness.forge.add_repository("acme", "shop")
        await harness.rest(TWO_ROUNDS)

        assert await names(harness) == {"one"}
