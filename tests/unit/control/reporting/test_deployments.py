"""Deployments and statuses: each says how the preview stands, and none is left waiting for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from stager.control.reporting.announcements import PROGRESS
from stager.control.reporting.commit_status import OVERTAKEN
from stager.domain.environment import ChangeLink
from stager.domain.errors import Refused
from stager.domain.pull_requests.events import ChangeSeen
from stager.domain.pull_requests.rules import Rules
from stager.domain.status import State
from stager.ports.forge import Announcement, Progress
from stager.testing import FakeForge, FaultMode, Program
from stager.testing.fakes.forge_places import Deployment
from tests.unit.control.harness import IMAGE, SHOP, Harness
from tests.unit.control.tripwire import Tripwire

A, B, C = ("a" * 40, "b" * 40, "c" * 40)
URL = "http://feature-x.preview.test"
PLACE = "preview/shop/pr-1"


async def opened(house: Harness, sha: str = A, seconds: float = 300, **how: Any) -> ChangeSeen:
    """A pull request, and so much time after it."""
    event = house.forge.open(house.forge.add_repository("acme", "shop"), "feature-x", sha, **how)
    await house.tell(event)
    await house.rest(seconds)
    return event


async def told(house: Harness, event: ChangeSeen, seconds: float = 300) -> None:
    await house.tell(event)
    await house.rest(seconds)


def deployment(house: Harness, sha: str = A) -> Deployment:
    """The one deployment of a commit."""
    [found] = [d for d in house.forge.deployments if d.sha == sha]
    return found


def statuses(house: Harness, sha: str = A) -> list[Announcement]:
    """Whatever was said of a commit, oldest first."""
    return [s.announcement for s in house.forge.statuses if s.sha == sha]


def progress(house: Harness, sha: str = A) -> Progress:
    """How a commit's status stands."""
    return statuses(house, sha)[-1].progress


def assert_all_end(house: Harness) -> None:
    """No commit waits, and at most one deployment shows something."""
    assert all(progress(house, s.sha) is not Progress.IN_PROGRESS for s in house.forge.statuses)
    shown = [d for d in house.forge.deployments if d.progress is not Progress.INACTIVE]
    assert len(shown) <= 1
    assert all(d.progress is not Progress.IN_PROGRESS for d in shown)


def test_every_state_has_its_progress() -> None:
    assert PROGRESS.keys() == set(State)


class TestDeployments:
    async def test_of_a_preview_that_comes_up(self, house: Harness) -> None:
        await opened(house)
        found = deployment(house)

        assert (found.environment, found.number) == (PLACE, 1)
        assert [t.progress for t in found.told] == [Progress.IN_PROGRESS, Progress.SUCCESS]
        first, last = found.told
        assert (first.url, last.url) == ("", URL)
        assert last.description == "The preview is live."
        assert last.log_url == f"http://preview.test/previews/{(await house.the()).id}"

    async def test_the_one_before_goes_when_a_newer_comes(self, house: Harness) -> None:
        event = await opened(house)
        await told(house, house.forge.push(event, B))

        assert deployment(house, A).progress is Progress.INACTIVE
        assert deployment(house, B).progress is Progress.SUCCESS

    async def test_of_a_push_that_fails(self, house: Harness) -> None:
        event = await opened(house)
        house.engine.add_image(IMAGE, Program(exit_code=1))
        await told(house, house.forge.push(event, B))

        assert deployment(house, B).progress is Progress.FAILURE
        assert deployment(house, B).told[-1].url == "", "what answers there is another commit"

    async def test_is_cleaned_up_on_close(self, house: Harness) -> None:
        event = await opened(house)
        await told(house, house.forge.close(event, merged=True))

        assert deployment(house).progress is Progress.INACTIVE
        assert "is closed" in deployment(house).told[-1].description

    async def test_comes_back_on_reopening(self, house: Harness) -> None:
        event = await opened(house)
        await told(house, house.forge.close(event))
        await told(house, house.forge.reopen(event))

        assert deployment(house).progress is Progress.SUCCESS

    async def test_there_is_none_of_what_was_refused(self, house: Harness) -> None:
        await opened(house, fork=house.forge.add_repository("mallory", "shop"))

        assert house.forge.deployments == []

    async def test_goes_when_the_preview_is_refused_later(self) -> None:
        async with Harness([replace(SHOP, rules=Rules(labels=("preview",)))]).open() as house:
            event = await opened(house, labels=("preview",))
            await told(house, house.forge.edit(event, labels=()))

            assert deployment(house).progress is Progress.INACTIVE

    async def test_is_found_again_after_the_database_was_lost(self, house: Harness) -> None:
        event = await opened(house)
        await house.kill()
        house.store = type(house.store)()
        await house.start()
        await house.rest(600)

        assert deployment(house).progress is Progress.SUCCESS
        await told(house, house.forge.close(event))
        assert deployment(house).progress is Progress.INACTIVE


class TestStatuses:
    async def test_of_a_preview_that_comes_up(self, house: Harness) -> None:
        await opened(house)

        [status] = {s.context for s in house.forge.statuses}
        assert status == "stager/shop"
        assert [s.progress for s in statuses(house)] == [Progress.IN_PROGRESS, Progress.SUCCESS]
        assert statuses(house)[-1].url == URL

    async def test_of_one_that_fails(self, house: Harness) -> None:
        house.engine.add_image(IMAGE, Program(exit_code=1, output="no such table"))
        await opened(house)

        assert progress(house) is Progress.FAILURE
        assert statuses(house)[-1].description.startswith("Failed while")

    @pytest.mark.parametrize(
        ("rules", "how", "why"),
        [
            (Rules(), {"author_is_bot": True}, "No preview: a bot opened this pull request."),
            (Rules(drafts=False), {"draft": True}, "No preview: this is a draft."),
            (Rules(wait_for_checks=True), {}, "No preview yet: the commit has no checks yet."),
        ],
    )
    async def test_a_refusal_says_why_once_and_bars_nobodys_merge(
        self, rules: Rules, how: dict[str, Any], why: str
    ) -> None:
        async with Harness([replace(SHOP, rules=rules)]).open() as house:
            await opened(house, **how)
            await house.rest(3600)

            [status] = statuses(house)
            assert (status.progress, status.description) == (Progress.SUCCESS, why)

    async def test_a_fork_that_nobody_approved(self, house: Harness) -> None:
        await opened(house, fork=house.forge.add_repository("mallory", "shop"))

        [status] = statuses(house)
        assert status.progress is Progress.SUCCESS
        assert "newest commit isn't approved" in status.description

    async def test_a_commit_that_was_overtaken_doesnt_wait(self, house: Harness) -> None:
        house.engine.delays["start"] = 100
        event = await opened(house, A, seconds=5)
        assert progress(house, A) is Progress.IN_PROGRESS
        await told(house, house.forge.push(event, B), seconds=5)

        assert (progress(house, A), statuses(house, A)[-1].description) == (Progress.SUCCESS, OVERTAKEN)
        await house.rest(600)
        assert progress(house, B) is Progress.SUCCESS

    async def test_what_is_closed_on_its_way_doesnt_wait(self, house: Harness) -> None:
        house.engine.delays["start"] = 100
        event = await opened(house, A, seconds=5)
        await told(house, house.forge.close(event))

        assert_all_end(house)

    async def test_what_is_killed_on_its_way_doesnt_wait(self, house: Harness) -> None:
        house.engine.delays["start"] = 100
        await opened(house, A, seconds=5)
        await house.stop("feature-x")
        await house.rest()

        assert_all_end(house)
        assert "stopped manually" in statuses(house)[-1].description

    async def test_closing_changes_nothing_of_what_was_true(self, house: Harness) -> None:
        event = await opened(house)
        before = statuses(house)
        await told(house, house.forge.close(event))

        assert statuses(house) == before

    async def test_a_failure_stays_one_when_it_is_killed(self, house: Harness) -> None:
        house.engine.add_image(IMAGE, Program(exit_code=1))
        await opened(house)
        await house.stop("feature-x")
        await house.rest()

        assert progress(house) is Progress.FAILURE

    async def test_a_force_push_back(self, house: Harness) -> None:
        house.engine.delays["start"] = 10
        event = await opened(house, A, seconds=5)
        await told(house, house.forge.push(event, B), seconds=5)
        await told(house, house.forge.push(event, A))

        assert_all_end(house)
        assert statuses(house, A)[-1].url == URL


class WithoutDeployments(FakeForge):
    """A forge whose account may not deploy."""

    async def deployment(self, change: ChangeLink, announcement: Announcement, known: str) -> str:
        raise Refused("The token may not deploy.", reason="forge-refused", status=403)


class TestTrouble:
    @pytest.fixture
    async def quiet(self) -> AsyncIterator[Harness]:
        async with Harness(reports=False).open() as opened:
            yield opened

    @pytest.mark.parametrize("mood", [FaultMode.FAILING, FaultMode.REFUSING, FaultMode.NEVER, FaultMode.SLOW])
    async def test_costs_nobody_the_preview(self, quiet: Harness, mood: FaultMode) -> None:
        event = quiet.forge.open(quiet.forge.add_repository("acme", "shop"), "feature-x", A)
        await quiet.tell(event)
        while not await quiet.environments():
            await quiet.rest(0.001)
        quiet.forge.mood = mood
        await quiet.rest()

        await quiet.assert_live()

    async def test_one_that_is_refused_keeps_no_other_from_being_said(self) -> None:
        async with Harness(forge=WithoutDeployments()).open() as house:
            await opened(house)

            assert house.forge.deployments == []
            assert progress(house) is Progress.SUCCESS
            assert len(house.forge.comments) == 1

    async def test_is_said_once_the_forge_is_back(self, house: Harness) -> None:
        event = await opened(house)
        await house.tell(house.forge.push(event, B))
        house.forge.mood = FaultMode.FAILING
        await house.rest(3600)
        house.forge.mood = FaultMode.WELL
        await house.rest(3600)

        assert deployment(house, B).progress is Progress.SUCCESS
        assert_all_end(house)

    async def test_an_end_that_wasnt_told_is_told_after_the_next_start(self, house: Harness) -> None:
        event = await opened(house)
        house.forge.mood = FaultMode.FAILING
        await told(house, house.forge.close(event))
        await house.kill()
        house.forge.mood = FaultMode.WELL
        await house.start()

        assert deployment(house).progress is Progress.INACTIVE

    async def test_nothing_is_said_twice(self, house: Harness) -> None:
        await opened(house)
        before = (len(deployment(house).told), len(statuses(house)))
        await house.rest(3600)
        await house.kill()
        await house.start()

        assert (len(deployment(house).told), len(statuses(house))) == before

    async def test_killed_anywhere_no_commit_is_left_waiting(self) -> None:
        """Stager is killed at every point in turn, and the head moves before its next start."""
        at, wire = 0, await killed_at(0)
        while wire.tripped.is_set():
            at += 1
            wire = await killed_at(at)

        assert at > 50


async def killed_at(at: int) -> Tripwire:
    """A pull request is opened; Stager ends at this point and is started again after a push."""
    house, wire = Harness(reports=False), Tripwire(at)
    life = await house.start(wire)
    event = house.forge.open(house.forge.add_repository("acme", "shop"), "feature-x", A)
    wire.arm()
    with suppress(TimeoutError):
        async with asyncio.timeout(300):
            await life.webhook_consumer.receive(house.forge.delivery(event))
    await house.rest()
    tripped = Tripwire(at)
    if wire.tripped.is_set():
        tripped.cut()
    await house.kill()
    pushed = house.forge.push(event, B)
    await house.start()
    await told(house, pushed, 900)
    assert_all_end(house)
    assert progress(house, B) is Progress.SUCCESS
    await house.kill()
    return tripped


class TestSwitchedOff:
    async def test_nothing_is_announced(self) -> None:
        async with Harness(announces=False).open() as house:
            await opened(house)

            assert (house.forge.deployments, house.forge.statuses) == ([], [])
            assert len(house.forge.comments) == 1

    async def test_what_was_launched_by_hand_has_no_place(self, house: Harness) -> None:
        await house.launch()
        await house.rest()

        assert (house.forge.deployments, house.forge.statuses) == ([], [])
