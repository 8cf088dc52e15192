"""One comment, kept up to date; never a second one, and none that nobody wants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stager.domain.pull_requests.events import ChangeSeen
from stager.domain.pull_requests.rules import Rules
from stager.domain.source import Access
from stager.domain.status import State
from stager.testing import FaultMode, Program
from stager.testing.fakes.forge_places import Comment
from tests.unit.control.harness import IMAGE, SHOP, Harness

URL = "http://feature-x.preview.test"
SHA = "c0ffee1234" * 4


async def opened(house: Harness, ref: str = "feature-x") -> ChangeSeen:
    event = house.forge.open(house.forge.add_repository("acme", "shop"), ref, SHA)
    await house.tell(event)
    await house.rest()
    return event


def ours(house: Harness) -> Comment:
    """Our comment among others'."""
    [comment] = [c for c in house.forge.comments if c.ours]
    return comment


def the_comment(house: Harness) -> Comment:
    [comment] = house.forge.comments
    return comment


class TestOneComment:
    @pytest.mark.requirement("R66")
    async def test_has_the_url_when_it_is_live(self, house: Harness) -> None:
        event = await opened(house)

        comment = the_comment(house)
        assert (comment.repository_id, comment.number) == (event.change.repository.id, event.change.number)
        assert f"**{URL}**" in comment.body
        assert "The preview is live" in comment.body
        assert "`c0ffee1`" in comment.body

    async def test_nothing_is_said_before_there_is_something_to_see(self, house: Harness) -> None:
        house.engine.delays["start"] = 100
        event = house.forge.open(house.forge.add_repository("acme", "shop"), "feature-x", "a")
        await house.tell(event)
        await house.rest(50)

        assert house.forge.comments == []

    async def test_is_edited_through_its_whole_life(self, house: Harness) -> None:
        event = await opened(house)
        first = the_comment(house).id

        assert await self.told(house, house.forge.push(event, "b2"), "is live") == first
        house.engine.add_image(IMAGE, Program(exit_code=1, output="no such table"))
        pushed = house.forge.push(event, "c3")
        assert await self.told(house, pushed, "The newest commit failed") == first
        assert await self.told(house, house.forge.close(event), "was removed") == first
        house.engine.add_image(IMAGE)
        assert await self.told(house, house.forge.reopen(event), "is live") == first

    async def told(self, house: Harness, event: ChangeSeen, says: str) -> str:
        """Deliver this. Returns the id of the one comment, which says so then."""
        await house.tell(event)
        await house.rest()
        assert says in the_comment(house).body
        return the_comment(house).id

    async def test_a_failure_shows_the_last_lines_and_no_url(self, house: Harness) -> None:
        house.engine.add_image(IMAGE, Program(exit_code=1, output="reading\nno such table"))
        await opened(house)

        body = the_comment(house).body
        assert "The preview failed" in body
        assert "reading\nno such table\n```" in body
        assert URL not in body

    async def test_a_refusal_says_why(self, house: Harness) -> None:
        base, fork = house.forge.add_repository("acme", "shop"), house.forge.add_repository("mallory", "shop")
        await house.tell(house.forge.open(base, "feature-x", "a", fork=fork))
        await house.rest()

        assert "comes from a fork" in the_comment(house).body

    async def test_is_found_again_by_its_marker(self, house: Harness) -> None:
        event = await opened(house)
        forgetful = replace(await house.the(), comment_id="")
        await house.store.write(lambda tx: tx.save_environment(forgetful))
        await house.tell(house.forge.push(event, "b2"))
        await house.rest()

        assert (await house.the()).comment_id == the_comment(house).id

    async def test_somebody_elses_comment_is_left_alone(self, house: Harness) -> None:
        event = house.forge.open(house.forge.add_repository("acme", "shop"), "feature-x", "a")
        theirs = house.forge.add_comment(event, "Nice. <!-- stager:other:id0001 -->")
        await house.tell(event)
        await house.rest()

        assert theirs.edits == 0
        assert len(house.forge.comments) == 2

    async def test_one_that_somebody_deleted_is_made_again(self, house: Harness) -> None:
        event = await opened(house)
        house.forge.comments.clear()
        await house.tell(house.forge.push(event, "b2"))
        await house.rest()

        assert "is live" in the_comment(house).body

    async def test_the_same_words_arent_said_twice(self, house: Harness) -> None:
        await opened(house)
        edits = the_comment(house).edits
        await house.rest(3600)
        await house.kill()
        await house.start()

        assert the_comment(house).edits == edits

    async def test_each_change_has_its_own(self, house: Harness) -> None:
        repository = house.forge.add_repository("acme", "shop")
        await house.tell(*(house.forge.open(repository, f"branch-{number}", "a") for number in range(5)))
        await house.rest()

        assert sorted(c.number for c in house.forge.comments) == [1, 2, 3, 4, 5]

    @pytest.mark.requirement("R66")
    async def test_a_launch_by_hand_has_none(self, house: Harness) -> None:
        await house.launch()
        await house.rest()

        assert house.forge.comments == []


class TestRefusals:
    """Whoever has to do something is notified; whoever can know already isn't."""

    async def opened(self, house: Harness, **how: Any) -> ChangeSeen:
        repository = house.forge.add_repository("acme", "shop")
        event = house.forge.open(repository, "feature-x", SHA, **how)
        await house.tell(event)
        await house.rest()
        return event

    async def test_a_fork_is_told_what_it_waits_for(self, house: Harness) -> None:
        fork = house.forge.add_repository("mallory", "shop")
        await self.opened(house, fork=fork)

        body = the_comment(house).body
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
    async def test_nobody_is_notified_of_a_rule(self, rules: Rules, how: dict[str, Any]) -> None:
        async with Harness([replace(SHOP, rules=rules)]).open() as house:
            await self.opened(house, **how)
            assert (await house.status()).state is State.REFUSED

            assert house.forge.comments == []

    async def test_a_comment_that_is_there_says_so(self) -> None:
        async with Harness([replace(SHOP, rules=Rules(labels=("preview",)))]).open() as house:
            event = await self.opened(house, labels=("preview",))
            await house.tell(house.forge.edit(event, labels=()))
            await house.rest()

            assert 'doesn\'t have the label "preview"' in the_comment(house).body

    async def test_who_asks_is_answered(self) -> None:
        async with Harness([replace(SHOP, rules=Rules(drafts=False))]).open() as house:
            event = await self.opened(house, draft=True)
            house.forge.allow(event.change.repository, "octocat", Access.WRITE)
            await house.tell(house.forge.say(event, "/stager help"))
            await house.rest()

            assert "Commands, for people with push access" in ours(house).body

    async def test_an_answer_goes_with_what_it_was_about(self, house: Harness) -> None:
        event = await self.opened(house)
        house.forge.allow(event.change.repository, "octocat", Access.WRITE)
        await house.tell(house.forge.say(event, "/stager frobnicate"))
        await house.rest()
        assert 'Unknown command "frobnicate"' in ours(house).body.replace("\\", "")
        await house.tell(house.forge.push(event, "b2"))
        await house.rest()

        assert "frobnicate" not in ours(house).body

    async def test_what_was_killed_by_hand_at_once_is_no_news(self, house: Harness) -> None:
        house.engine.delays["start"] = 100
        event = house.forge.open(house.forge.add_repository("acme", "shop"), "feature-x", "a")
        await house.tell(event)
        await house.rest(10)
        await house.stop("feature-x")
        await house.rest()

        assert house.forge.comments == []


class TestEnds:
    async def test_an_end_that_wasnt_told_is_told_after_the_next_start(self, house: Harness) -> None:
        event = await opened(house)
        house.forge.mood = FaultMode.FAILING
        await house.tell(house.forge.close(event))
        await house.rest(400)
        await house.kill()
        house.forge.mood = FaultMode.WELL
        await house.start()

        assert "was removed" in the_comment(house).body


class TestTrouble:
    @pytest.mark.parametrize("mood", [FaultMode.FAILING, FaultMode.REFUSING, FaultMode.NEVER, FaultMode.SLOW])
    async def test_costs_nobody_the_preview(self, house: Harness, mood: FaultMode) -> None:
        event = house.forge.open(house.forge.add_repository("acme", "shop"), "feature-x", "a")
        await house.tell(event)
        await house.rest(0)  # the delivery was worked through while the forge still answered
        while not await house.environments():
            await house.rest(0.001)
        house.forge.mood = mood
        await house.rest()

        await house.assert_live()

    async def test_is_said_once_the_forge_is_back(self, house: Harness) -> None:
        event = await opened(house)
        await house.tell(house.forge.push(event, "b2"))
        house.forge.mood = FaultMode.FAILING
        await house.rest(20)
        house.forge.mood = FaultMode.WELL
        await house.rest(60)

        assert "`b2`" in the_comment(house).body

    async def test_what_was_given_up_is_said_after_the_next_start(self, house: Harness) -> None:
        event = await opened(house)
        await house.tell(house.forge.push(event, "b2"))
        house.forge.mood = FaultMode.FAILING
        await house.rest(1000)
        await house.kill()
        house.forge.mood = FaultMode.WELL
        await house.start()

        assert "`b2`" in the_comment(house).body

    async def test_a_forge_away_for_long_is_told_when_it_is_back(self, house: Harness) -> None:
        event = await opened(house)
        await house.tell(house.forge.push(event, "b2"))
        house.forge.mood = FaultMode.FAILING
        await house.rest(3600)
        house.forge.mood = FaultMode.WELL
        await house.rest(3600)

        assert "`b2`" in the_comment(house).body
