"""What every forge promises of deployments, statuses and reactions."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from stager.domain.errors import Refused, Retry
from stager.ports.forge import Announcement, Progress
from tests.contracts.forges import A, B, Forge, ShownDeployment, link

SHOP, BLOG = "preview/shop/pr-1", "preview/blog/pr-1"
OURS = "stager/shop"
URL = "https://feature-x.preview.test/"
QUEUED = Announcement(SHOP, A, Progress.QUEUED, "It is waiting for its turn.")
LIVE = Announcement(SHOP, A, Progress.SUCCESS, "It is live.", URL)


@pytest.fixture(autouse=True)
def _where_there_are_places(forge: Forge) -> None:
    if not forge.has_places:
        pytest.skip("this forge has no places for deployments, statuses and reactions")


async def announce(forge: Forge, at: int, announcement: Announcement, known: str = "") -> str:
    return await forge.announcements.deployment(await link(forge, at), announcement, known)


class TestDeployment:
    @pytest.mark.parametrize(
        ("progress", "state"),
        [
            (Progress.WAITING, "queued"),
            (Progress.QUEUED, "queued"),
            (Progress.IN_PROGRESS, "in_progress"),
            (Progress.SUCCESS, "success"),
            (Progress.FAILURE, "failure"),
        ],
    )
    async def test_is_made_in_any_state(self, forge: Forge, progress: Progress, state: str) -> None:
        at = forge.open("feature/x", A)
        known = await announce(forge, at, Announcement(SHOP, A, progress, "So it is.", URL))

        assert known
        assert forge.deployments() == [ShownDeployment(SHOP, A, state, URL)]

    async def test_is_one_that_changes_its_state(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        first = await announce(forge, at, QUEUED)
        second = await announce(forge, at, LIVE, first)
        again = await announce(forge, at, LIVE, second)

        assert first == second == again
        assert forge.deployments() == [ShownDeployment(SHOP, A, "success", URL)]

    async def test_of_a_new_commit_is_another_and_ends_the_old_one(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        first = await announce(forge, at, LIVE)
        forge.push(at, B)
        second = await announce(forge, at, replace(QUEUED, sha=B), first)

        assert second != first
        assert [(d.sha, d.state) for d in forge.deployments()] == [(A, "inactive"), (B, "queued")]

    async def test_of_another_environment_is_another(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        await announce(forge, at, LIVE)
        await announce(forge, at, replace(LIVE, environment=BLOG))

        assert [(d.environment, d.state) for d in forge.deployments()] == [
            (SHOP, "success"),
            (BLOG, "success"),
        ]

    async def test_ends(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        known = await announce(forge, at, LIVE)
        await announce(forge, at, replace(LIVE, progress=Progress.INACTIVE, url=""), known)

        assert forge.deployments() == [ShownDeployment(SHOP, A, "inactive", "")]

    async def test_that_never_was_need_not_end(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)

        assert await announce(forge, at, replace(LIVE, progress=Progress.INACTIVE)) == ""
        assert forge.deployments() == []

    async def test_is_found_again_when_it_is_lost(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        known = await announce(forge, at, QUEUED)

        assert await announce(forge, at, LIVE) == known
        assert [d.state for d in forge.deployments()] == ["success"]

    async def test_ends_the_old_one_when_that_is_lost(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        await announce(forge, at, LIVE)
        forge.push(at, B)
        await announce(forge, at, replace(LIVE, sha=B))

        assert [(d.sha, d.state) for d in forge.deployments()] == [(A, "inactive"), (B, "success")]

    async def test_is_created_again_after_it_was_deleted(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        known = await announce(forge, at, QUEUED)
        forge.delete_deployments()

        assert await announce(forge, at, LIVE, known) != known
        assert [d.state for d in forge.deployments()] == ["success"]

    async def test_two_at_once_are_one(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        known = await asyncio.gather(*(announce(forge, at, QUEUED) for _ in range(3)))

        assert len(set(known)) == 1
        assert len(forge.deployments()) == 1

    async def test_a_long_description_is_no_obstacle(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        await announce(forge, at, replace(LIVE, description="It is\nlive. " * 100))

        assert [d.state for d in forge.deployments()] == ["success"]

    @pytest.mark.parametrize("known", [True, False])
    async def test_that_cant_be_made_now(self, forge: Forge, known: bool) -> None:
        at = forge.open("feature/x", A)
        where = await link(forge, at)
        made = await announce(forge, at, QUEUED) if known else ""
        forge.fail()
        with pytest.raises(Retry):
            await forge.announcements.deployment(where, LIVE, made)

    @pytest.mark.parametrize("known", [True, False])
    async def test_that_is_refused(self, forge: Forge, known: bool) -> None:
        at = forge.open("feature/x", A)
        made = await announce(forge, at, QUEUED) if known else ""
        forge.refuse_to_write()
        with pytest.raises(Refused):
            await announce(forge, at, LIVE, made)


class TestStatus:
    async def say(self, forge: Forge, at: int, announcement: Announcement, context: str = OURS) -> None:
        await forge.announcements.status(await link(forge, at), announcement, context)

    async def test_is_borne_by_the_commit(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        await self.say(forge, at, LIVE)

        assert forge.statuses(A) == [("stager/shop", "success", URL)]
        assert forge.statuses(B) == []

    @pytest.mark.parametrize(
        ("progress", "state"),
        [
            (Progress.WAITING, "pending"),
            (Progress.QUEUED, "pending"),
            (Progress.IN_PROGRESS, "pending"),
            (Progress.FAILURE, "failure"),
        ],
    )
    async def test_says_how_it_stands(self, forge: Forge, progress: Progress, state: str) -> None:
        at = forge.open("feature/x", A)
        await self.say(forge, at, replace(LIVE, progress=progress, url="", log_url=URL + "log"))

        assert forge.statuses(A) == [("stager/shop", state, URL + "log")]

    async def test_is_sent_once(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        for announcement in (QUEUED, QUEUED, LIVE, LIVE, QUEUED):
            await self.say(forge, at, announcement)

        assert [state for _, state, _ in forge.statuses(A)] == ["pending", "success", "pending"]

    async def test_of_another_context_is_another(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        await self.say(forge, at, LIVE)
        await self.say(forge, at, LIVE, "stager/blog")

        assert [context for context, _, _ in forge.statuses(A)] == ["stager/shop", "stager/blog"]

    async def test_a_preview_that_is_gone_says_nothing_of_its_commit(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        await self.say(forge, at, LIVE)
        await self.say(forge, at, replace(LIVE, progress=Progress.INACTIVE))

        assert [state for _, state, _ in forge.statuses(A)] == ["success"]

    async def test_that_cant_be_made_now(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        where = await link(forge, at)
        forge.fail()
        with pytest.raises(Retry):
            await forge.announcements.status(where, LIVE, "stager/shop")

    async def test_that_is_refused(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        forge.refuse_to_write()
        with pytest.raises(Refused):
            await self.say(forge, at, LIVE)


class TestReaction:
    async def test_is_there_once(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        comment = forge.add_comment(at, "/stager restart")
        for reaction in ("eyes", "eyes", "+1"):
            await forge.announcements.react(forge.repository, comment, reaction)

        assert list(forge.reactions(at, comment)) == ["eyes", "+1"]

    async def test_at_a_comment_that_is_gone_is_none(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        comment = forge.add_comment(at, "/stager restart")
        forge.delete_comments(at)
        await forge.announcements.react(forge.repository, comment, "eyes")

        assert forge.comments(at) == []

    async def test_that_cant_be_made_now(self, forge: Forge) -> None:
        comment = forge.add_comment(forge.open("feature/x", A), "/stager restart")
        forge.fail()
        with pytest.raises(Retry):
            await forge.announcements.react(forge.repository, comment, "eyes")
