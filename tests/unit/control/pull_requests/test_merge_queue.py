"""The required status ends at a merge queue's commits, for which there is no preview."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stager.domain.pull_requests.events import MergeQueued
from stager.ports.forge import Progress
from stager.testing import FaultMode
from tests.unit.control.harness import SHOP, Harness

SHA = "e" * 40


async def queued(harness: Harness, name: str = "shop") -> list[tuple[str, str, Progress]]:
    """The statuses of the commit that a merge queue created."""
    repository = harness.forge.add_repository("acme", name)
    await harness.deliver(MergeQueued(repository, SHA))
    await harness.rest()
    return [(s.repository_id, s.context, s.announcement.progress) for s in harness.forge.statuses]


async def test_has_a_status_that_has_ended(harness: Harness) -> None:
    [(_, context, progress)] = await queued(harness)

    assert (context, progress) == ("stager/shop", Progress.SUCCESS)
    assert harness.forge.statuses[0].sha == SHA
    assert "merge queue" in harness.forge.statuses[0].announcement.description
    assert await harness.environments() == []
    assert harness.forge.deployments == []


async def test_by_the_applications_own_name() -> None:
    async with Harness([replace(SHOP, name="web", owner="acme", repository="shop")]).open() as harness:
        assert [context for _, context, _ in await queued(harness)] == ["stager/web"]


async def test_of_a_repository_that_is_nobodys_has_none(harness: Harness) -> None:
    assert await queued(harness, "other") == []


async def test_where_commits_have_no_statuses_has_none() -> None:
    async with Harness(announces=False).open() as harness:
        assert await queued(harness) == []


@pytest.mark.parametrize("mode", [FaultMode.FAILING, FaultMode.REFUSING])
async def test_a_forge_that_doesnt_take_it_holds_up_nothing(harness: Harness, mode: FaultMode) -> None:
    harness.forge.fault_mode = mode
    assert await queued(harness) == []
    harness.forge.fault_mode = FaultMode.WELL
    await harness.deliver(harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", "a1"))
    await harness.rest()

    await harness.assert_live()
