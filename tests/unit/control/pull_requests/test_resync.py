"""What was lost is healed by asking the forge; an answer that isn't certain removes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime

import pytest

from stager.control.forges import Forges
from stager.control.pull_requests.resync import REDELIVER, Resync
from stager.domain.errors import Retry
from stager.domain.pull_requests.events import ChangeSeen
from stager.domain.source import Change, Repository
from stager.testing import FakeForge, FaultMode
from stager.testing.fakes.forge import whole
from tests.unit.control.harness import SHOP, Harness

TWO_ROUNDS = 620.0
"""Seconds in which a resync happens twice."""


@pytest.fixture
async def house() -> AsyncIterator[Harness]:
    """A house whose app's repository is known from the configuration."""
    async with Harness([replace(SHOP, owner="acme")]).open() as opened:
        yield opened


async def live(house: Harness, *refs: str) -> list[ChangeSeen]:
    """Changes that are open, told of, and live."""
    repository = house.forge.add_repository("acme", "shop")
    opened = [house.forge.open(repository, ref, f"{ref}1") for ref in refs]
    await house.tell(*opened)
    await house.rest(30)
    return opened


async def names(house: Harness) -> set[str]:
    return {e.name for e in await house.environments(present=True)}


class TestRedelivery:
    @pytest.mark.parametrize("error", [Retry("Away.", reason="forge-away"), ValueError("A bug.")])
    async def test_one_forge_in_trouble_keeps_no_other_from_it(
        self, house: Harness, error: Exception
    ) -> None:
        """The one that fails is asked for all of the time, once it can be; the other for what is new."""
        asked: dict[str, list[datetime]] = {"broken": [], "well": []}
        trouble: list[Exception] = [error]

        class Broken(FakeForge):
            async def redeliver(self, since: datetime) -> int:
                asked["broken"].append(since)
                if trouble:
                    raise trouble[0]
                return 0

        class Well(FakeForge):
            async def redeliver(self, since: datetime) -> int:
                asked["well"].append(since)
                return 0

        life = house.life
        forges = Forges([replace(whole(Broken()), name="broken"), replace(whole(Well()), name="well")])
        resync = Resync(
            house.store, forges, life.applications, life.control_plane.pull_requests.change_events, life.clock
        )
        start = life.clock.now() - REDELIVER
        await resync.run()
        await house.rest()
        await resync.run()
        trouble.clear()
        await resync.run()

        assert asked["broken"] == [start] * 3
        assert asked["well"][0] == start
        assert asked["well"][1] == start + REDELIVER


class TestRemovesOnlyWhatIsCertain:
    @pytest.mark.parametrize("mood", [FaultMode.FAILING, FaultMode.PARTIAL, FaultMode.NEVER, FaultMode.SLOW])
    async def test_a_forge_in_a_mood_costs_nothing(self, house: Harness, mood: FaultMode) -> None:
        await live(house, "one", "two")
        house.forge.mood = mood
        await house.rest(TWO_ROUNDS)

        for environment in await house.environments():
            await house.assert_live(environment)

    async def test_an_empty_list_costs_nothing(self, house: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
        await live(house, "one", "two")

        async def empty(_: Repository) -> list[Change]:
            return []

        monkeypatch.setattr(house.forge, "open_changes", empty)
        await house.rest(TWO_ROUNDS)

        assert await names(house) == {"one", "two"}
        assert len(house.engine.there()) == 2

    async def test_a_list_without_some_of_them_costs_nothing(
        self, house: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await live(house, "one", "two")
        whole = house.forge.open_changes

        async def short(repository: Repository) -> list[Change]:
            return (await whole(repository))[:1]

        monkeypatch.setattr(house.forge, "open_changes", short)
        await house.rest(TWO_ROUNDS)

        assert await names(house) == {"one", "two"}

    async def test_a_change_that_cant_be_asked_for_stays(
        self, house: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        [gone, _] = await live(house, "gone", "stays")
        house.forge.close(gone)

        async def unsure(*_: object) -> Change | None:
            raise Retry("The forge can't tell.", reason="forge-away")

        monkeypatch.setattr(house.forge, "change", unsure)
        await house.rest(TWO_ROUNDS)
        assert await names(house) == {"gone", "stays"}
        monkeypatch.undo()
        await house.rest(TWO_ROUNDS)

        assert await names(house) == {"stays"}

    async def test_one_repository_in_trouble_costs_no_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        apps = [replace(SHOP, owner="acme"), replace(SHOP, name="blog", owner="acme")]
        async with Harness(apps).open() as house:
            shop, blog = (
                house.forge.add_repository("acme", "shop"),
                house.forge.add_repository("acme", "blog"),
            )
            whole = house.forge.open_changes

            async def half(repository: Repository) -> list[Change]:
                if repository.name == "shop":
                    raise Retry("Not that one.", reason="forge-away")
                return await whole(repository)

            monkeypatch.setattr(house.forge, "open_changes", half)
            house.forge.open(shop, "one", "a")
            house.forge.open(blog, "two", "b")
            await house.rest(TWO_ROUNDS)

            assert await names(house) == {"two"}


class TestHeals:
    async def test_one_that_was_closed(self, house: Harness) -> None:
        [closed, _] = await live(house, "closed", "stays")
        house.forge.close(closed)
        await house.rest(TWO_ROUNDS)

        assert await names(house) == {"stays"}
        assert len(house.engine.there()) == 1

    async def test_one_that_the_forge_knows_nothing_of(self, house: Harness) -> None:
        [deleted, _] = await live(house, "deleted", "stays")
        house.forge.forget(deleted)
        await house.rest(TWO_ROUNDS)

        assert await names(house) == {"stays"}

    async def test_one_that_was_opened(self, house: Harness) -> None:
        [seen] = await live(house, "seen")
        house.forge.open(seen.change.repository, "missed", "m1")
        await house.rest(TWO_ROUNDS)

        assert await names(house) == {"seen", "missed"}
        assert len(house.engine.there()) == 2

    async def test_a_push(self, house: Harness) -> None:
        [opened] = await live(house, "one")
        house.forge.push(opened, "one2")
        await house.rest(TWO_ROUNDS)

        assert house.engine.spec((await house.assert_live()).id).labels.revision.sha == "one2"

    async def test_one_that_was_reopened(self, house: Harness) -> None:
        [opened] = await live(house, "one")
        await house.tell(house.forge.close(opened))
        await house.rest(30)
        house.forge.reopen(opened)
        await house.rest(TWO_ROUNDS)

        await house.assert_live()

    async def test_one_that_was_reopened_within_a_second(self, house: Harness) -> None:
        house.forge = FakeForge(tick=0.01)
        await house.kill()
        await house.start()
        [opened] = await live(house, "one")
        await house.tell(house.forge.close(opened))
        await house.rest(30)
        house.forge.reopen(opened)
        await house.rest(TWO_ROUNDS)

        await house.assert_live()

    async def test_at_the_start(self, house: Harness) -> None:
        [closed] = await live(house, "closed")
        await house.kill()
        house.forge.close(closed)
        house.forge.open(closed.change.repository, "opened", "o1")
        await house.start(rest=False)
        await house.rest(10)

        assert await names(house) == {"opened"}

    async def test_a_repository_known_from_a_delivery_alone(self) -> None:
        async with Harness().open() as house:
            [seen] = await live(house, "seen")
            house.forge.open(seen.change.repository, "missed", "m1")
            await house.rest(TWO_ROUNDS)

            assert await names(house) == {"seen", "missed"}

    async def test_more_than_one_page_of_them(self, house: Harness) -> None:
        repository = house.forge.add_repository("acme", "shop")
        for number in range(150):
            house.forge.open(repository, f"branch-{number}", f"{number}")
        await house.rest(TWO_ROUNDS)

        assert len(house.engine.there()) == 150


class TestLeavesAlone:
    async def test_what_is_as_it_should_be(self, house: Harness) -> None:
        await live(house, "one")
        before = house.engine.there()
        await house.rest(TWO_ROUNDS)

        assert house.engine.there() == before
        assert (await house.the()).desired.generation == 1

    async def test_what_was_killed_by_hand(self, house: Harness) -> None:
        await live(house, "one")
        await house.stop("one")
        await house.rest(TWO_ROUNDS)

        await house.assert_gone()

    async def test_what_was_launched_by_hand(self, house: Harness) -> None:
        await live(house)
        environment = await house.launch("by-hand")
        await house.rest(TWO_ROUNDS)

        await house.assert_live(environment)

    async def test_what_no_listener_takes(self) -> None:
        async with Harness([replace(SHOP, owner="acme")], listeners=[]).open() as house:
            house.forge.open(house.forge.add_repository("acme", "shop"), "one", "a")
            await house.rest(TWO_ROUNDS)

            assert await house.environments() == []

    async def test_another_repository_that_took_the_name(self, house: Harness) -> None:
        """The repository was renamed, and its name given to another one: that says nothing of ours."""
        await live(house, "one")
        house.forge.add_repository("acme", "shop")
        await house.rest(TWO_ROUNDS)

        assert await names(house) == {"one"}
