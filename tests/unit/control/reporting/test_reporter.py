"""One comment, kept up to date; never a second one, and none without need."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stager.domain.pull_requests.events import ChangeEvent
from stager.domain.pull_requests.rules import Rules
from stager.domain.source import Access
from stager.domain.status import State
from stager.testing import FaultMode, Program
from stager.testing.fakes.forge_reports import Comment
from tests.unit.control.harness import IMAGE, SHOP, Harness

URL = "http://feature-x.preview.test"
SHA = "c0ffee1234" * 4


async def opened(harness: Harness, ref: str = "feature-x") -> ChangeEvent:
    event = harness.forge.open(harness.forge.add_repository("acme", "shop"), ref, SHA)
    await harness.deliver(event)
    await harness.rest()
    return event


def ours(harness: Harness) -> Comment:
    """Our comment among others'."""
    [comment] = [c for c in harness.forge.comments if c.ours]
    return comment


def the_comment(harness: Harness) -> Comment:
    [comment] = harness.forge.comments
    return comment


class TestOneComment:
    @pytest.mark.requirement("R66")
    async def test_has_the_url_when_it_is_live(self, harness: Harness) -> None:
        event = await opened(harness)

        comment = the_comment(harness)
        assert (comment.repository_id, comment.number) == (event.change.repository.id, event.change.number)
        assert f"**{URL}**" in comment.body
        assert "The preview is live" in comment.body
        assert "`c0ffee1`" in comment.body

    async def test_nothing_is_written_before_there_is_something_to_see(self, harness: Harness) -> None:
        harness.engine.delays["start"] = 100
        event = harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", "a")
        await harness.deliver(event)
        await harness.rest(50)

        assert harness.forge.comments == []

    async def test_is_edited_through_its_whole_life(self, harness: Harness) -> None:
        event = await opened(harness)
        first = the_comment(harness).id

        assert await self.told(harness, harness.forge.push(event, "b2"), "is live") == first
        harness.engine.add_image(IMAGE, Program(exit_code=1, output="no such table"))
        pushed = harness.forge.push(event, "c3")
        assert await self.told(harness, pushed, "The newest commit failed") == first
        assert await self.told(harness, harness.forge.close(event), "was removed") == first
        harness.engine.add_image(IMAGE)
        assert await self.told(harness, harness.forge.reopen(event), "is live") == first

    async def told(self, harness: Harness, event: ChangeEvent, says: str) -> str:
        """Deliver this. Returns the id of the one comment, which says so then."""
        await harness.deliver(event)
        await harness.rest()
        assert says in the_comment(harness).body
        return the_comment(harness).id

    async def test_a_failure_shows_the_last_lines_and_no_url(self, harness: Harness) -> None:
        harness.engine.add_image(IMAGE, Program(exit_code=1, output="reading\nno such table"))
        await opened(harness)

        body = the_comment(harness).body
        assert "The preview failed" in body
        assert "reading\nno such table\n```" in body
        assert URL not in body

    async def test_a_refusal_says_why(self, harness: Harness) -> None:
        base, fork = (
            harness.forge.add_repository("acme", "shop"),
            harness.forge.add_repository("mallory", "shop"),
        )
        await harness.deliver(harness.forge.open(base, "feature-x", "a", fork=fork))
        await harness.rest()

        assert "comes from a fork" in the_comment(harness).body

    async def test_is_found_again_by_its_marker(self, harness: Harness) -> None:
        event = await opened(harness)
        forgetful = replace(await harness.the(), comment_id="")
        await harness.store.write(lambda tx: tx.save_environment(forgetful))
        await harness.deliver(harness.forge.push(event, "b2"))
        await harness.rest()

        assert (await harness.the()).comment_id == the_comment(harness).id

    async def test_another_users_comment_is_left_alone(self, harness: Harness) -> None:
        event = harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", "a")
        theirs = harness.forge.add_comment(event, "Nice. <!-- stager:other:id0001 -->")
        await harness.deliver(event)
        await harness.rest()

        assert theirs.edits == 0
        assert len(harness.forge.comments) == 2

    async def test_one_that_was_deleted_is_created_again(self, harness: Harness) -> None:
        event = await opened(harness)
        harness.forge.comments.clear()
        await harness.deliver(harness.forge.push(event, "b2"))
        await harness.rest()

        assert "is live" in the_comment(harness).body

    async def test_the_same_text_isnt_written_twice(self, harness: Harness) -> None:
        await opened(harness)
        edits = the_comment(harness).edits
        await harness.rest(3600)
        await harness.kill()
        await harness.start()

        assert the_comment(harness).edits == edits

    async def test_each_change_has_its_own(self, harness: Harness) -> None:
        repository = harness.forge.add_repository("acme", "shop")
        await harness.deliver(
            *(harness.forge.open(repository, f"branch-{number}", "a") for number in range(5))
        )
        await harness.rest()

        assert sorted(c.number for c in harness.forge.comments) == [1, 2, 3, 4, 5]

    @pytest.mark.requirement("R66")
    async def test_a_manual_launch_has_none(self, harness: Harness) -> None:
        await harness.launch()
        await harness.rest()

        assert harness.forge.comments == []


class TestRefusals:
    """A user who has to do something is notified; one who can know already isn't."""

    async def opened(self, harness: Harness, **how: Any) -> ChangeEvent:
        repository = harness.forge.add_repository("acme", "shop")
        event = harness.forge.open(repository, "feature-x", SHA, **how)
        await harness.deliver(event)
        await harness.rest()
        return event

    async def test_a_fork_gets_the_reason_for_waiting(self, harness: Harness) -> None:
        fork = harness.forge.add_repository("mallory", "shop")
        await self.opened(harness, fork=fork)

        body = the_comment(harness).body
        assert "waits for approval" in body
        assert f"`/stager approve {SHA}`" in body
        assert "/stager redeploy" not in body

    @pytest.mark.parametrize(
        ("rules", "how"),
        [
            (Rules(), {"author_is_bot": True}),
            (Rules(), {"title": "Work in progress [skip preview]"}),
            (Rules(labels=("preview",)), {}),
            (Rules(drafts=False), {"draft": True}),
            (Rules(wait_for_checks=True), {}),
        ],
    )
    async def test_a_rule_causes_no_notification(self, rules: Rules, how: dict[str, Any]) -> None:
        async with Harness([replace(SHOP, rules=rules)]).open() as harness:
            await self.opened(harness, **how)
            assert (await harness.status()).state is State.REFUSED

            assert harness.forge.comments == []

    async def test_a_comment_that_is_there_says_so(self) -> None:
        async with Harness([replace(SHOP, rules=Rules(labels=("preview",)))]).open() as harness:
            event = await self.opened(harness, labels=("preview",))
            await harness.deliver(harness.forge.edit(event, labels=()))
            await harness.rest()

            assert 'doesn\'t have the label "preview"' in the_comment(harness).body

    async def test_a_question_is_answered(self) -> None:
        async with Harness([replace(SHOP, rules=Rules(drafts=False))]).open() as harness:
            event = await self.opened(harness, draft=True)
            harness.forge.allow(event.change.repository, "octocat", Access.WRITE)
            await harness.deliver(harness.forge.say(event, "/stager help"))
            await harness.rest()

            assert "Commands, for people with push access" in ours(harness).body

    async def test_an_answer_is_removed_with_its_subject(self, harness: Harness) -> None:
        event = await self.opened(harness)
        harness.forge.allow(event.change.repository, "octocat", Access.WRITE)
        await harness.deliver(harness.forge.say(event, "/stager frobnicate"))
        await harness.rest()
        assert 'Unknown command "frobnicate"' in ours(harness).body.replace("\\", "")
        await harness.deliver(harness.forge.push(event, "b2"))
        await harness.rest()

        assert "frobnicate" not in ours(harness).body

    async def test_what_was_killed_manually_at_once_is_no_news(self, harness: Harness) -> None:
        harness.engine.delays["start"] = 100
        event = harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", "a")
        await harness.deliver(event)
        await harness.rest(10)
        await harness.stop("feature-x")
        await harness.rest()

        assert harness.forge.comments == []


class TestEnds:
    async def test_an_end_that_wasnt_written_is_written_after_the_next_start(self, harness: Harness) -> None:
        event = await opened(harness)
        harness.forge.fault_mode = FaultMode.FAILING
        await harness.deliver(harness.forge.close(event))
        await harness.rest(400)
        await harness.kill()
        harness.forge.fault_mode = FaultMode.WELL
        await harness.start()

        assert "was removed" in the_comment(harness).body


class TestFailures:
    @pytest.mark.parametrize("mode", [FaultMode.FAILING, FaultMode.REFUSING, FaultMode.NEVER, FaultMode.SLOW])
    async def test_doesnt_prevent_the_preview(self, harness: Harness, mode: FaultMode) -> None:
        event = harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", "a")
        await harness.deliver(event)
        await harness.rest(0)  # the delivery was worked through while the forge still answered
        while not await harness.environments():
            await harness.rest(0.001)
        harness.forge.fault_mode = mode
        await harness.rest()

        await harness.assert_live()

    async def test_is_written_once_the_forge_is_back(self, harness: Harness) -> None:
        event = await opened(harness)
        await harness.deliver(harness.forge.push(event, "b2"))
        harness.forge.fault_mode = FaultMode.FAILING
        await harness.rest(20)
        harness.forge.fault_mode = FaultMode.WELL
        await harness.rest(60)

        assert "`b2`" in the_comment(harness).body

    async def test_what_was_given_up_is_written_after_the_next_start(self, harness: Harness) -> None:
        event = await opened(harness)
        await harness.deliver(harness.forge.push(event, "b2"))
        harness.forge.fault_mode = FaultMode.FAILING
        await harness.rest(1000)
        await harness.kill()
        harness.forge.fault_mode = FaultMode.WELL
        await harness.start()

        assert "`b2`" in the_comment(harness).body

    async def test_a_forge_that_was_away_for_long_is_updated_when_it_is_back(self, harness: Harness) -> None:
        event = await opened(harness)
        await harness.deliver(harness.forge.push(event, "b2"))
        harness.forge.fault_mode = FaultMode.FAILING
        await harness.rest(3600)
        harness.forge.fault_mode = FaultMode.WELL
        await harness.rest(3600)

        assert "`b2`" in the_comment(harness).body
