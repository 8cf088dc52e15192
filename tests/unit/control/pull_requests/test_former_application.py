"""Previews whose application left the configuration, was renamed or belongs to another owner by now: they
run on, and are removed by what was written down when they were made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from stager.domain.application import Application
from stager.domain.errors import Refused
from stager.domain.pull_requests.events import ChangeEvent
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
async def opened() -> AsyncIterator[tuple[Harness, ChangeEvent]]:
    """A preview of a pull request that is live."""
    async with Harness([OURS]).open() as harness:
        event = harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", "a1")
        await harness.deliver(event)
        await harness.rest()
        await harness.assert_live()
        yield harness, event


async def restarted(harness: Harness, configured: Sequence[Application]) -> None:
    await harness.kill()
    harness.applications = configured
    await harness.start()


@CONFIGURATIONS
@pytest.mark.parametrize("credentials", [True, False])
async def test_a_closed_change_takes_its_preview_along(
    opened: tuple[Harness, ChangeEvent], configured: Sequence[Application], credentials: bool
) -> None:
    harness, event = opened
    harness.credentials = credentials
    await restarted(harness, configured)
    await harness.assert_live()

    await harness.deliver(harness.forge.close(event))
    await harness.rest()
    await harness.assert_gone()
    assert harness.engine.there() == []


@CONFIGURATIONS
async def test_a_close_without_a_delivery_is_found(
    opened: tuple[Harness, ChangeEvent], configured: Sequence[Application]
) -> None:
    harness, event = opened
    await harness.kill()
    harness.forge.close(event)
    harness.applications = configured
    await harness.start(rest=False)
    await harness.rest(TWO_ROUNDS)
    await harness.assert_gone()


async def test_an_entry_that_was_renamed_with_its_repository(
    opened: tuple[Harness, ChangeEvent],
) -> None:
    harness, event = opened
    harness.forge.rename(event.change.repository, "acme", "store")
    await restarted(harness, [replace(OURS, name="store")])
    event = harness.forge.push(event, "a2")
    await harness.deliver(event)
    await harness.rest()
    assert {e.app for e in await harness.environments(present=True)} == {"shop", "store"}

    await harness.deliver(harness.forge.close(event))
    await harness.rest()
    assert await harness.environments(present=True) == []
    assert harness.engine.there() == []


@CONFIGURATIONS
async def test_nothing_else_of_it_is_done(
    opened: tuple[Harness, ChangeEvent], configured: Sequence[Application]
) -> None:
    harness, event = opened
    await restarted(harness, configured)
    await harness.deliver(harness.forge.push(event, "a2"))
    other = harness.forge.open(event.change.repository, "feature-y", "b1")
    await harness.deliver(other, harness.forge.close(other))
    await harness.rest()

    [environment] = await harness.environments()
    assert environment.desired.is_present
    assert environment.desired.revision.sha == "a1"


@pytest.mark.attack(
    "A signed `closed` event of another repository with the same name and pull request number",
    profile="sender of webhooks",
    result="no effect: a preview belongs to the repository's id",
)
async def test_another_repositorys_change_with_its_number_ends_nothing(
    opened: tuple[Harness, ChangeEvent],
) -> None:
    harness, event = opened
    await restarted(harness, [])
    stranger = replace(event.change, repository=Repository("fake:999", "acme", "shop"), is_open=False)
    await harness.deliver(replace(event, change=stranger))
    await harness.rest()
    await harness.assert_live()


async def test_killed_by_the_old_name() -> None:
    async with Harness([OURS]).open() as harness:
        await harness.launch("master")
        await harness.rest()
        await restarted(harness, [BLOG])
        with pytest.raises(Refused, match='no "shop" under'):
            await harness.launch("master")
        killed = await harness.stop("master", "shop")
        assert killed is not None
        await harness.rest()
        await harness.assert_gone()
        assert await harness.stop("master", "shop") is None, "a second kill is fine, too"
        with pytest.raises(Refused, match="Invalid Image"):
            await harness.stop("master", "shopp")


async def test_killed_in_a_comment(opened: tuple[Harness, ChangeEvent]) -> None:
    harness, event = opened
    await restarted(harness, [])
    harness.forge.allow(event.change.repository, "ann", Access.WRITE)
    await harness.deliver(harness.forge.say(event, "/stager kill", "ann"))
    await harness.rest()
    await harness.assert_gone()
