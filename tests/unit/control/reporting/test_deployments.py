"""Deployments and statuses: each says how the preview stands, and none is left waiting for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from stager.control.reporting.commit_status import OVERTAKEN
from stager.control.reporting.deployments import PROGRESS
from stager.domain.environment import ChangeLink
from stager.domain.errors import Refused
from stager.domain.pull_requests.events import ChangeEvent
from stager.domain.pull_requests.rules import Rules
from stager.domain.status import State
from stager.ports.forge import Announcement, Progress
from stager.testing import FakeForge, FaultMode, Program
from stager.testing.fakes.forge_reports import Deployment
from tests.unit.control.harness import IMAGE, SHOP, Harness
from tests.unit.control.tripwire import Tripwire

A, B, C = ("a" * 40, "b" * 40, "c" * 40)
URL = "http://feature-x.preview.test"
PLACE = "preview/shop/pr-1"


async def opened(harness: Harness, sha: str = A, seconds: float = 300, **how: Any) -> ChangeEvent:
    """A pull request, and so much time after it."""
    event = harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", sha, **how)
    await harness.deliver(event)
    await harness.rest(seconds)
    return event


async def told(harness: Harness, event: ChangeEvent, seconds: float = 300) -> None:
    await harness.deliver(event)
    await harness.rest(seconds)


def deployment(harness: Harness, sha: str = A) -> Deployment:
    """The one deployment of a commit."""
    [found] = [d for d in harness.forge.deployments if d.sha == sha]
    return found


def statuses(harness: Harness, sha: str = A) -> list[Announcement]:
    """The statuses of a commit, oldest first."""
    return [s.announcement for s in harness.forge.statuses if s.sha == sha]


def progress(harness: Harness, sha: str = A) -> Progress:
    """How a commit's status stands."""
    return statuses(harness, sha)[-1].progress


def assert_all_end(harness: Harness) -> None:
    """No commit waits, and at most one deployment shows something."""
    assert all(progress(harness, s.sha) is not Progress.IN_PROGRESS for s in harness.forge.statuses)
    shown = [d for d in harness.forge.deployments if d.progress is not Progress.INACTIVE]
    assert len(shown) <= 1
    assert all(d.progress is not Progress.IN_PROGRESS for d in shown)


def test_every_state_has_its_progress() -> None:
    assert PROGRESS.keys() == set(State)


class TestDeployments:
    async def test_of_a_preview_that_comes_up(self, harness: Harness) -> None:
        await opened(harness)
        found = deployment(harness)

        assert (found.environment, found.number) == (PLACE, 1)
        assert [t.progress for t in found.statuses] == [Progress.IN_PROGRESS, Progress.SUCCESS]
        first, last = found.statuses
        assert (first.url, last.url) == ("", URL)
        assert last.description == "The preview is live."
        assert last.log_url == f"http://preview.test/previews/{(await harness.the()).id}"

    async def test_the_previous_one_ends_when_a_newer_one_begins(self, harness: Harness) -> None:
        event = await opened(harness)
        await told(harness, harness.forge.push(event, B))

        assert deployment(harness, A).progress is Progress.INACTIVE
        assert deployment(harness, B).progress is Progress.SUCCESS

    async def test_of_a_push_that_fails(self, harness: Harness) -> None:
        event = await opened(harness)
        harness.engine.add_image(IMAGE, Program(exit_code=1))
        await told(harness, harness.forge.push(event, B))

        assert deployment(harness, B).progress is Progress.FAILURE
        assert deployment(harness, B).statuses[-1].url == "", "what answers there is another commit"

    async def test_is_cleaned_up_on_close(self, harness: Harness) -> None:
        event = await opened(harness)
        await told(harness, harness.forge.close(event, merged=True))

        assert deployment(harness).progress is Progress.INACTIVE
        assert "is closed" in deployment(harness).statuses[-1].description

    async def test_comes_back_on_reopening(self, harness: Harness) -> None:
        event = await opened(harness)
        await told(harness, harness.forge.close(event))
        await told(harness, harness.forge.reopen(event))

        assert deployment(harness).progress is Progress.SUCCESS

    async def test_there_is_none_of_what_was_refused(self, harness: Harness) -> None:
        await opened(harness, fork=harness.forge.add_repository("mallory", "shop"))

        assert harness.forge.deployments == []

    async def test_ends_when_the_preview_is_refused_later(self) -> None:
        async with Harness([replace(SHOP, rules=Rules(labels=("preview",)))]).open() as harness:
            event = await opened(harness, labels=("preview",))
            await told(harness, harness.forge.edit(event, labels=()))

            assert deployment(harness).progress is Progress.INACTIVE

    async def test_is_found_again_after_the_database_was_lost(self, harness: Harness) -> None:
        event = await opened(harness)
        await harness.kill()
        harness.store = type(harness.store)()
        await harness.start()
        await harness.rest(600)

        assert deployment(harness).progress is Progress.SUCCESS
        await told(harness, harness.forge.close(event))
        assert deployment(harness).progress is Progress.INACTIVE


class TestStatuses:
    async def test_of_a_preview_that_comes_up(self, harness: Harness) -> None:
        await opened(harness)

        [status] = {s.context for s in harness.forge.statuses}
        assert status == "stager/shop"
        assert [s.progress for s in statuses(harness)] == [Progress.IN_PROGRESS, Progress.SUCCESS]
        assert statuses(harness)[-1].url == URL

    async def test_of_one_that_fails(self, harness: Harness) -> None:
        harness.engine.add_image(IMAGE, Program(exit_code=1, output="no such table"))
        await opened(harness)

        assert progress(harness) is Progress.FAILURE
        assert statuses(harness)[-1].description.startswith("Failed while")

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
        async with Harness([replace(SHOP, rules=rules)]).open() as harness:
            await opened(harness, **how)
            await harness.rest(3600)

            [status] = statuses(harness)
            assert (status.progress, status.description) == (Progress.SUCCESS, why)

    async def test_a_fork_that_isnt_approved(self, harness: Harness) -> None:
        await opened(harness, fork=harness.forge.add_repository("mallory", "shop"))

        [status] = statuses(harness)
        assert status.progress is Progress.SUCCESS
        assert "newest commit isn't approved" in status.description

    async def test_a_commit_that_was_overtaken_doesnt_wait(self, harness: Harness) -> None:
        harness.engine.delays["start"] = 100
        event = await opened(harness, A, seconds=5)
        assert progress(harness, A) is Progress.IN_PROGRESS
        await told(harness, harness.forge.push(event, B), seconds=5)

        assert (progress(harness, A), statuses(harness, A)[-1].description) == (Progress.SUCCESS, OVERTAKEN)
        await harness.rest(600)
        assert progress(harness, B) is Progress.SUCCESS

    async def test_what_is_closed_on_its_way_doesnt_wait(self, harness: Harness) -> None:
        harness.engine.delays["start"] = 100
        event = await opened(harness, A, seconds=5)
        await told(harness, harness.forge.close(event))

        assert_all_end(harness)

    async def test_what_is_killed_on_its_way_doesnt_wait(self, harness: Harness) -> None:
        harness.engine.delays["start"] = 100
        await opened(harness, A, seconds=5)
        await harness.stop("feature-x")
        await harness.rest()

        assert_all_end(harness)
        assert "stopped manually" in statuses(harness)[-1].description

    async def test_closing_changes_nothing_of_what_was_true(self, harness: Harness) -> None:
        event = await opened(harness)
        before = statuses(harness)
        await told(harness, harness.forge.close(event))

        assert statuses(harness) == before

    async def test_a_failure_stays_one_when_it_is_killed(self, harness: Harness) -> None:
        harness.engine.add_image(IMAGE, Program(exit_code=1))
        await opened(harness)
        await harness.stop("feature-x")
        await harness.rest()

        assert progress(harness) is Progress.FAILURE

    async def test_a_force_push_back(self, harness: Harness) -> None:
        harness.engine.delays["start"] = 10
        event = await opened(harness, A, seconds=5)
        await told(harness, harness.forge.push(event, B), seconds=5)
        await told(harness, harness.forge.push(event, A))

        assert_all_end(harness)
        assert statuses(harness, A)[-1].url == URL


class WithoutDeployments(FakeForge):
    """A forge whose account may not deploy."""

    async def deployment(self, change: ChangeLink, announcement: Announcement, known: str) -> str:
        raise Refused("The token may not deploy.", reason="forge-refused", status=403)


class TestFailures:
    @pytest.fixture
    async def quiet(self) -> AsyncIterator[Harness]:
        async with Harness(reports=False).open() as opened:
            yield opened

    @pytest.mark.parametrize("mode", [FaultMode.FAILING, FaultMode.REFUSING, FaultMode.NEVER, FaultMode.SLOW])
    async def test_doesnt_prevent_the_preview(self, quiet: Harness, mode: FaultMode) -> None:
        event = quiet.forge.open(quiet.forge.add_repository("acme", "shop"), "feature-x", A)
        await quiet.deliver(event)
        while not await quiet.environments():
            await quiet.rest(0.001)
        quiet.forge.fault_mode = mode
        await quiet.rest()

        await quiet.assert_live()

    async def test_one_that_is_refused_blocks_no_other(self) -> None:
        async with Harness(forge=WithoutDeployments()).open() as harness:
            await opened(harness)

            assert harness.forge.deployments == []
            assert progress(harness) is Progress.SUCCESS
            assert len(harness.forge.comments) == 1

    async def test_is_sent_once_the_forge_is_back(self, harness: Harness) -> None:
        event = await opened(harness)
        await harness.deliver(harness.forge.push(event, B))
        harness.forge.fault_mode = FaultMode.FAILING
        await harness.rest(3600)
        harness.forge.fault_mode = FaultMode.WELL
        await harness.rest(3600)

        assert deployment(harness, B).progress is Progress.SUCCESS
        assert_all_end(harness)

    async def test_an_end_that_wasnt_sent_is_sent_after_the_next_start(self, harness: Harness) -> None:
        event = await opened(harness)
        harness.forge.fault_mode = FaultMode.FAILING
        await told(harness, harness.forge.close(event))
        await harness.kill()
        harness.forge.fault_mode = FaultMode.WELL
        await harness.start()

        assert deployment(harness).progress is Progress.INACTIVE

    async def test_nothing_is_sent_twice(self, harness: Harness) -> None:
        await opened(harness)
        before = (len(deployment(harness).statuses), len(statuses(harness)))
        await harness.rest(3600)
        await harness.kill()
        await harness.start()

        assert (len(deployment(harness).statuses), len(statuses(harness))) == before

    async def test_killed_anywhere_no_commit_is_left_waiting(self) -> None:
        """Stager is killed at every point that leaves another state; the head moves before its next start."""
        points = (await killed_at(None)).distinct

        assert len(points) > 25
        for at in points:
            await killed_at(at)


async def killed_at(at: int | None) -> Tripwire:
    """A pull request is opened; Stager ends at this point and is started again after a push."""
    harness, wire = Harness(reports=False), Tripwire(at)
    if at is None:
        wire.watch(lambda: harness.outside)
    running = await harness.start(wire)
    event = harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", A)
    wire.arm()
    with suppress(TimeoutError):
        async with asyncio.timeout(300):
            await running.inbox.receive(harness.forge.delivery(event))
    await harness.rest()
    await harness.kill()
    pushed = harness.forge.push(event, B)
    await harness.start()
    await told(harness, pushed, 900)
    assert_all_end(harness)
    assert progress(harness, B) is Progress.SUCCESS
    await harness.kill()
    return wire


class TestSwitchedOff:
    async def test_nothing_is_announced(self) -> None:
        async with Harness(announces=False).open() as harness:
            await opened(harness)

            assert (harness.forge.deployments, harness.forge.statuses) == ([], [])
            assert len(harness.forge.comments) == 1

    async def test_what_was_launched_manually_has_no_place(self, harness: Harness) -> None:
        await harness.launch()
        await harness.rest()

        assert (harness.forge.deployments, harness.forge.statuses) == ([], [])
