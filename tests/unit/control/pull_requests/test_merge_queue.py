"""The required status ends at a merge queue's commits, for which there is no preview."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stager.domain.pull_requests.events import MergeQueued
from stager.ports.forge import Progress
from stager.testing import FaultMode
from tests.unit.control.harness import SHOP, Harness

SHA = "e" * 40


async def queued(house: Harness, name: str = "shop") -> list[tuple[str, str, Progress]]:
    """What the forge has been told of the commit, after a merge queue made it."""
    repository = house.forge.add_repository("acme", name)
    await house.tell(MergeQueued(repository, SHA))
    await house.rest()
    return [(s.repository_id, s.context, s.announcement.progress) for s in house.forge.statuses]


async def test_has_a_status_that_has_ended(house: Harness) -> None:
    [(_, context, progress)] = await queued(house)

    assert (context, progress) == ("stager/shop", Progress.SUCCESS)
    assert house.forge.statuses[0].sha == SHA
    assert "merge queue" in house.forge.statuses[0].announcement.description
    assert await house.environments() == []
    assert house.forge.deployments == []


async def test_by_the_applications_own_name() -> None:
    async with Harness([replace(SHOP, name="web", owner="acme", repository="shop")]).open() as house:
        assert [context for _, context, _ in await queued(house)] == ["stager/web"]


async def test_of_a_repository_that_is_nobodys_has_none(house: Harness) -> None:
    assert await queued(house, "other") == []


async def test_where_commits_have_no_statuses_has_none() -> None:
    async with Harness(announces=False).open() as house:
        assert await queued(house) == []


@pytest.mark.parametrize("mood", [FaultMode.FAILING, FaultMode.REFUSING])
async def test_a_forge_that_doesnt_take_it_holds_up_nothing(house: Harness, mood: FaultMode) -> None:
    house.forge.mood = mood
    assert await queued(house) == []
    house.forge.mood = FaultMode.WELL
    await house.tell(house.forge.open(house.forge.add_repository("acme", "shop"), "feature-x", "a1"))
    await house.rest()

    await house.assert_live()
