"""Previews whose application left the configuration, was renamed or belongs to another owner by now: they
run on, and are removed by what was written down when they were made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from stager.domain.application import Application
from stager.domain.errors import Refused
from stager.domain.pull_requests.events import ChangeSeen
from stager.domain.source import Access, Repository
from tests.unit.control.harness import SHOP, Harness

OURS = replace(SHOP, owner="acme")
BLOG = replace(SHOP, name="blog", image="acme/shop:1", owner="acme")
NEW_CONFIGURATIONS: Sequence[Sequence[Application]] = (
    (),
    (BLOG,),
    (replace(OURS, owner="somebody"),),
    (replace(OURS, name="store"),),
)
CONFIGURATIONS = pytest.mark.parametrize(
    "configured", NEW_CONFIGURATIONS, ids=["none", "other", "owner", "renamed"]
)
TWO_ROUNDS = 700.0


@pytest.fixture
async def opened() -> AsyncIterator[tuple[Harness, ChangeSeen]]:
    """A preview of a pull request that is live."""
    async with Harness([OURS]).open() as house:
        event = house.forge.open(house.forge.add_repository("acme", "shop"), "feature-x", "a1")
        await house.tell(event)
        await house.rest()
        await house.assert_live()
        yield house, event


async def restarted(house: Harness, configured: Sequence[Application]) -> None:
    await house.kill()
    house.applications = configured
    await house.start()


@CONFIGURATIONS
@pytest.mark.parametrize("credentials", [True, False])
async def test_a_closed_change_takes_its_preview_along(
    opened: tuple[Harness, ChangeSeen], configured: Sequence[Application], credentials: bool
) -> None:
    house, event = opened
    house.credentials = credentials
    await restarted(house, configured)
    await house.assert_live()

    await house.tell(house.forge.close(event))
    await house.rest()
    await house.assert_gone()
    assert house.engine.there() == []


@CONFIGURATIONS
async def test_a_close_that_nobody_told_of_is_found(
    opened: tuple[Harness, ChangeSeen], configured: Sequence[Application]
) -> None:
    house, event = opened
    await house.kill()
    house.forge.close(event)
    house.applications = configured
    await house.start(rest=False)
    await house.rest(TWO_ROUNDS)
    await house.assert_gone()


async def test_an_entry_that_was_renamed_with_its_repository(
    opened: tuple[Harness, ChangeSeen],
) -> None:
    house, event = opened
    house.forge.rename(event.change.repository, "acme", "store")
    await restarted(house, [replace(OURS, name="store")])
    event = house.forge.push(event, "a2")
    await house.tell(event)
    await house.rest()
    assert {e.app for e in await house.environments(present=True)} == {"shop", "store"}

    await house.tell(house.forge.close(event))
    await house.rest()
    assert await house.environments(present=True) == []
    assert house.engine.there() == []


@CONFIGURATIONS
async def test_nothing_else_of_it_is_done(
    opened: tuple[Harness, ChangeSeen], configured: Sequence[Application]
) -> None:
    house, event = opened
    await restarted(house, configured)
    await house.tell(house.forge.push(event, "a2"))
    other = house.forge.open(event.change.repository, "feature-y", "b1")
    await house.tell(other, house.forge.close(other))
    await house.rest()

    [environment] = await house.environments()
    assert environment.desired.is_present
    assert environment.desired.revision.sha == "a1"


@pytest.mark.attack(
    "a signed `closed` event of another repository with the same name and pull request's number",
    profile="sender of webhooks",
    result="no effect: a preview is found by its repository's id",
)
async def test_another_repositorys_change_with_its_number_ends_nothing(
    opened: tuple[Harness, ChangeSeen],
) -> None:
    house, event = opened
    await restarted(house, [])
    stranger = replace(event.change, repository=Repository("fake:999", "acme", "shop"), is_open=False)
    await house.tell(replace(event, change=stranger))
    await house.rest()
    await house.assert_live()


async def test_killed_by_the_old_name() -> None:
    async with Harness([OURS]).open() as house:
        await house.launch("master")
        await house.rest()
        await restarted(house, [BLOG])
        with pytest.raises(Refused, match='no "shop" under'):
            await house.launch("master")
        killed = await house.stop("master", "shop")
        assert killed is not None
        await house.rest()
        await house.assert_gone()
        assert await house.stop("master", "shop") is None, "a second kill is fine, too"
        with pytest.raises(Refused, match="Invalid Image"):
            await house.stop("master", "shopp")


async def test_killed_in_a_comment(opened: tuple[Harness, ChangeSeen]) -> None:
    house, event = opened
    await restarted(house, [])
    house.forge.allow(event.change.repository, "ann", Access.WRITE)
    await house.tell(house.forge.say(event, "/stager kill", "ann"))
    await house.rest()
    await house.assert_gone()
