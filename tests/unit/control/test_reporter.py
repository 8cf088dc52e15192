"""One comment, kept up to date; never a second one, and nothing in it that somebody smuggled in."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from stager.control.reporter import comment_body
from stager.domain.deployment import Deployment
from stager.domain.environment import Attempt, ChangeLink, Desired, Environment, EnvironmentKey
from stager.domain.errors import Outcome
from stager.domain.events import ChangeSeen
from stager.domain.source import Revision
from stager.domain.status import status_of
from stager.testing import Mood, Program
from stager.testing.clock import START
from stager.testing.forge_places import Comment
from tests.unit.control.house import IMAGE, House

URL = "http://feature-x.preview.test"


async def opened(house: House, ref: str = "feature-x") -> ChangeSeen:
    event = house.forge.open(house.forge.add_repository("acme", "shop"), ref, "c0ffee1234")
    await house.tell(event)
    await house.rest()
    return event


def the_comment(house: House) -> Comment:
    [comment] = house.forge.comments
    return comment


class TestOneComment:
    @pytest.mark.requirement("R66")
    async def test_has_the_url_when_it_is_live(self, house: House) -> None:
        event = await opened(house)

        comment = the_comment(house)
        assert (comment.repository_id, comment.number) == (event.change.repository.id, event.change.number)
        assert f"**{URL}**" in comment.body
        assert "The preview is live" in comment.body
        assert "`c0ffee1`" in comment.body

    async def test_nothing_is_said_before_there_is_something_to_see(self, house: House) -> None:
        house.engine.delays["start"] = 100
        event = house.forge.open(house.forge.add_repository("acme", "shop"), "feature-x", "a")
        await house.tell(event)
        await house.rest(50)

        assert house.forge.comments == []

    async def test_is_edited_through_its_whole_life(self, house: House) -> None:
        event = await opened(house)
        first = the_comment(house).id

        assert await self.told(house, house.forge.push(event, "b2"), "is live") == first
        house.engine.add_image(IMAGE, Program(exit_code=1, output="no such table"))
        pushed = house.forge.push(event, "c3")
        assert await self.told(house, pushed, "The newest commit failed") == first
        assert await self.told(house, house.forge.close(event), "was removed") == first
        house.engine.add_image(IMAGE)
        assert await self.told(house, house.forge.reopen(event), "is live") == first

    async def told(self, house: House, event: ChangeSeen, says: str) -> str:
        """Deliver this. Returns the id of the one comment, which says so then."""
        await house.tell(event)
        await house.rest()
        assert says in the_comment(house).body
        return the_comment(house).id

    async def test_a_failure_shows_the_last_lines_and_no_url(self, house: House) -> None:
        house.engine.add_image(IMAGE, Program(exit_code=1, output="reading\nno such table"))
        await opened(house)

        body = the_comment(house).body
        assert "The preview failed" in body
        assert "reading\nno such table\n```" in body
        assert URL not in body

    async def test_a_refusal_says_why(self, house: House) -> None:
        base, fork = house.forge.add_repository("acme", "shop"), house.forge.add_repository("mallory", "shop")
        await house.tell(house.forge.open(base, "feature-x", "a", fork=fork))
        await house.rest()

        assert "comes from a fork" in the_comment(house).body

    async def test_is_found_again_by_its_marker(self, house: House) -> None:
        event = await opened(house)
        forgetful = replace(await house.the(), comment_id="")
        await house.store.write(lambda tx: tx.save_environment(forgetful))
        await house.tell(house.forge.push(event, "b2"))
        await house.rest()

        assert (await house.the()).comment_id == the_comment(house).id

    async def test_somebody_elses_comment_is_left_alone(self, house: House) -> None:
        event = house.forge.open(house.forge.add_repository("acme", "shop"), "feature-x", "a")
        theirs = house.forge.add_comment(event, "Nice. <!-- stager:other:id0001 -->")
        await house.tell(event)
        await house.rest()

        assert theirs.edits == 0
        assert len(house.forge.comments) == 2

    async def test_one_that_somebody_deleted_is_made_again(self, house: House) -> None:
        event = await opened(house)
        house.forge.comments.clear()
        await house.tell(house.forge.push(event, "b2"))
        await house.rest()

        assert "is live" in the_comment(house).body

    async def test_the_same_words_arent_said_twice(self, house: House) -> None:
        await opened(house)
        edits = the_comment(house).edits
        await house.rest(3600)
        await house.kill()
        await house.start()

        assert the_comment(house).edits == edits

    async def test_each_change_has_its_own(self, house: House) -> None:
        repository = house.forge.add_repository("acme", "shop")
        await house.tell(*(house.forge.open(repository, f"branch-{number}", "a") for number in range(5)))
        await house.rest()

        assert sorted(c.number for c in house.forge.comments) == [1, 2, 3, 4, 5]

    @pytest.mark.requirement("R66")
    async def test_a_launch_by_hand_has_none(self, house: House) -> None:
        await house.launch()
        await house.rest()

        assert house.forge.comments == []


class TestTrouble:
    @pytest.mark.parametrize("mood", [Mood.FAILING, Mood.REFUSING, Mood.NEVER, Mood.SLOW])
    async def test_costs_nobody_the_preview(self, house: House, mood: Mood) -> None:
        event = house.forge.open(house.forge.add_repository("acme", "shop"), "feature-x", "a")
        await house.tell(event)
        await house.rest(0)  # the delivery was worked through while the forge still answered
        while not await house.environments():
            await house.rest(0.001)
        house.forge.mood = mood
        await house.rest()

        await house.assert_live()

    async def test_is_said_once_the_forge_is_back(self, house: House) -> None:
        event = await opened(house)
        await house.tell(house.forge.push(event, "b2"))
        house.forge.mood = Mood.FAILING
        await house.rest(20)
        house.forge.mood = Mood.WELL
        await house.rest(60)

        assert "`b2`" in the_comment(house).body

    async def test_what_was_given_up_is_said_after_the_next_start(self, house: House) -> None:
        event = await opened(house)
        await house.tell(house.forge.push(event, "b2"))
        house.forge.mood = Mood.FAILING
        await house.rest(1000)
        await house.kill()
        house.forge.mood = Mood.WELL
        await house.start()

        assert "`b2`" in the_comment(house).body

    async def test_a_forge_away_for_long_is_told_when_it_is_back(self, house: House) -> None:
        event = await opened(house)
        await house.tell(house.forge.push(event, "b2"))
        house.forge.mood = Mood.FAILING
        await house.rest(3600)
        house.forge.mood = Mood.WELL
        await house.rest(3600)

        assert "`b2`" in the_comment(house).body


NASTY = [
    "@everyone look",
    "[click](javascript:alert(1))",
    "![](https://evil.test/pixel)",
    "<img src=x onerror=alert(1)>",
    "</details><script>alert(1)</script>",
    "`code` **bold** #12 owner/repo#3",
    "-->\n# Heading",
    "~~~\n```\n````\nout of the fence",
]


def rendered(text: str) -> str:
    """What of a comment isn't code: the fence that opens it ends only at an equal one on its own line."""
    kept, fence = [], ""
    for line in text.splitlines():
        opening = re.match(r"(`{3,}|~{3,})", line)
        if fence:
            if re.fullmatch(rf"{fence[0]}{{{len(fence)},}} *", line):
                fence = ""
        elif opening:
            fence = opening[1]
        else:
            kept.append(line)
    assert not fence, "the fence is never closed"
    return "\n".join(kept)


class TestInjection:
    @pytest.mark.parametrize("nasty", NASTY)
    def test_nothing_breaks_out_of_the_comment(self, nasty: str) -> None:
        environment = Environment(
            "e1",
            EnvironmentKey.of_change("shop", "1", 7),
            nasty,
            "h.preview.test",
            Desired(True, 1, Revision(nasty, nasty)),
            START,
            START,
            ChangeLink("1", nasty, nasty, 7, nasty, nasty, nasty, nasty),
        )
        outcome = Outcome("fault", "exited", f"It ended: {nasty}.", f"Try {nasty}.", f"{nasty}\n{nasty}")
        attempt = Attempt(1, final=True, outcome=outcome)
        deployment = Deployment("d1", "e1", Revision(nasty, nasty), attempt, START, log=nasty)
        body = comment_body(
            environment, deployment, status_of(environment, deployment), "http://h.preview.test"
        )

        shown = rendered(body).replace("<details><summary>The last lines of its log</summary>", "")
        shown = shown.replace("</details>", "", 1).replace("### ❌", "")
        unescaped = re.sub(r"\\.", "", shown)
        assert not re.search(r"[<>`*\[\]#!~]", unescaped), unescaped
        assert not re.search(r"@\w", unescaped)

    async def test_a_branch_can_say_nothing(self, house: House) -> None:
        """The words of whoever opened the pull request aren't in it at all."""
        await house.tell(
            house.forge.open(
                house.forge.add_repository("acme", "shop"),
                "x](https://evil.test)",
                "a1",
                title="@everyone <b>",
                author="*mallory*",
            )
        )
        await house.rest()

        body = the_comment(house).body.replace((await house.the()).host, "")
        assert not any(word in body for word in ("evil", "everyone", "mallory"))
