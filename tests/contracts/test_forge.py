"""What every forge promises of changes and comments. Each test runs against every forge of `forges`."""

from __future__ import annotations

import asyncio

import pytest

from stager.domain.errors import Refused, Retry
from stager.testing import FakeForge, FaultMode
from tests.contracts.forges import A, B, Forge, link, the

MARKER, OTHER_MARKER = "<!-- stager:one -->", "<!-- stager:two -->"


class TestChange:
    async def test_is_reported_unchanged(self, forge: Forge) -> None:
        change = await the(forge, forge.open("feature/x", A))

        assert (change.repository, change.number) == (forge.repository, 1)
        assert (change.head_ref, change.head_sha, change.base_ref) == ("feature/x", forge.sha(A), "main")
        assert change.head_repository == forge.repository
        assert (change.is_open, change.merged, change.title, change.author) == (
            True,
            False,
            "A change",
            "octocat",
        )
        assert change.url.endswith(forge.page)
        assert change.updated_at.microsecond == 0
        assert change.updated_at.tzinfo

    async def test_as_it_is_now(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        opened = await the(forge, at)
        forge.push(at, B)
        pushed = await the(forge, at)
        forge.close(at)
        closed = await the(forge, at)
        forge.reopen(at)
        reopened = await the(forge, at)

        assert (pushed.head_sha, pushed.is_open) == (forge.sha(B), True)
        assert (closed.is_open, closed.merged, reopened.is_open) == (False, False, True)
        stamps = [change.updated_at for change in (opened, pushed, closed, reopened)]
        assert stamps == sorted(set(stamps))
        assert opened.is_older_than(pushed)
        assert not reopened.is_older_than(closed)

    async def test_merged(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        forge.close(at, merged=True)

        assert ((await the(forge, at)).is_open, (await the(forge, at)).merged) == (False, True)

    async def test_with_all_that_rules_look_at(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        opened = await the(forge, at)
        forge.edit(at, labels=["preview", "größer"], draft=True, description="Adds a button.")
        edited = await the(forge, at)

        assert (opened.labels, opened.draft, opened.description) == ((), False, "")
        assert (edited.labels, edited.draft) == (("preview", "größer"), True)
        assert (edited.description, edited.author_is_bot) == ("Adds a button.", False)
        assert edited.head_sha == opened.head_sha
        assert opened.is_older_than(edited)
        [listed] = await forge.changes.open_changes(forge.repository)
        assert listed == edited

    async def test_of_a_fork(self, forge: Forge) -> None:
        change = await the(forge, forge.open("feature/x", A, fork=True))

        assert change.head_repository
        assert change.head_repository.owner == "mallory"

    async def test_whose_head_repository_was_deleted(self, forge: Forge) -> None:
        at = forge.open("feature/x", A, fork=True)
        forge.delete_head(at)

        assert (await the(forge, at)).head_repository is None

    async def test_that_isnt_there(self, forge: Forge) -> None:
        assert await forge.changes.change(forge.repository, 404) is None

    async def test_that_cant_be_requested(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        forge.fail()
        with pytest.raises(Retry):
            await forge.changes.change(forge.repository, at)


class TestOpenChanges:
    async def test_none(self, forge: Forge) -> None:
        assert await forge.changes.open_changes(forge.repository) == []

    async def test_only_those(self, forge: Forge) -> None:
        stays, closed, reopened = (forge.open(ref, A) for ref in ("stays", "closed", "reopened"))
        for at in (closed, reopened):
            forge.close(at)
        forge.reopen(reopened)
        found = await forge.changes.open_changes(forge.repository)

        assert sorted(change.number for change in found) == [stays, reopened]
        assert await the(forge, stays) in found

    async def test_all_of_them(self, forge: Forge) -> None:
        every = {forge.open(f"branch-{number}", A) for number in range(230)}

        found = await forge.changes.open_changes(forge.repository)
        assert {change.number for change in found} == every
        assert len(found) == 230

    async def test_a_part_is_no_answer(self, forge: Forge) -> None:
        forge.open("feature/x", A)
        forge.break_off_lists()
        with pytest.raises(Retry):
            await forge.changes.open_changes(forge.repository)

    async def test_that_cant_be_requested(self, forge: Forge) -> None:
        forge.fail()
        with pytest.raises(Retry):
            await forge.changes.open_changes(forge.repository)


class TestRepository:
    async def test_by_its_name(self, forge: Forge) -> None:
        assert await forge.changes.repository(forge.repository.owner, "shop") == forge.repository

    async def test_that_isnt_there(self, forge: Forge) -> None:
        assert await forge.changes.repository(forge.repository.owner, "blog") is None

    async def test_that_cant_be_requested(self, forge: Forge) -> None:
        forge.fail()
        with pytest.raises(Retry):
            await forge.changes.repository(forge.repository.owner, "shop")


class TestComment:
    @pytest.fixture(autouse=True)
    def _where_there_are_any(self, forge: Forge) -> None:
        if not forge.has_places:
            pytest.skip("this forge has no place for comments")

    async def say(self, forge: Forge, at: int, body: str, known: str = "", marker: str = MARKER) -> str:
        return await forge.reports.comment(
            await link(forge, at), marker=marker, body=f"{marker}\n{body}", known=known
        )

    async def test_is_made_and_edited(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        made = await self.say(forge, at, "starting")
        edited = await self.say(forge, at, "live", known=made)

        assert made == edited != ""
        assert forge.comments(at) == [f"{MARKER}\nlive"]

    async def test_always_has_its_marker(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        await forge.reports.comment(await link(forge, at), marker=MARKER, body="live", known="")

        [body] = forge.comments(at)
        assert body.startswith("live")
        assert MARKER in body

    @pytest.mark.parametrize("known", ["", "999999"])
    async def test_is_found_again_when_its_id_is_lost(self, forge: Forge, known: str) -> None:
        at = forge.open("feature/x", A)
        made = await self.say(forge, at, "starting")

        assert await self.say(forge, at, "live", known=known) == made
        assert forge.comments(at) == [f"{MARKER}\nlive"]

    async def test_is_found_again_among_many(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        for number in range(120):
            forge.add_comment(at, f"Nice ({number}).")
        made = await self.say(forge, at, "starting")
        assert await self.say(forge, at, "live") == made

        assert len(forge.comments(at)) == 121

    async def test_is_created_again_after_it_was_deleted(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        made = await self.say(forge, at, "starting")
        forge.delete_comments(at)
        again = await self.say(forge, at, "live", known=made)

        assert again != made
        assert forge.comments(at) == [f"{MARKER}\nlive"]

    async def test_two_at_once_are_one(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        ids = await asyncio.gather(*(self.say(forge, at, f"{number}") for number in range(4)))

        assert len(set(ids)) == 1
        assert len(forge.comments(at)) == 1

    async def test_with_another_marker_is_another(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        await self.say(forge, at, "mine")
        await self.say(forge, at, "theirs", marker=OTHER_MARKER)
        await self.say(forge, at, "mine still")

        assert forge.comments(at) == [f"{MARKER}\nmine still", f"{OTHER_MARKER}\ntheirs"]

    async def test_on_another_change_is_another(self, forge: Forge) -> None:
        one, two = forge.open("one", A), forge.open("two", A)
        await self.say(forge, one, "one")
        await self.say(forge, two, "two")

        assert (forge.comments(one), forge.comments(two)) == ([f"{MARKER}\none"], [f"{MARKER}\ntwo"])

    async def test_with_our_marker_by_another_user_is_left_alone(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        forge.add_comment(at, f"{MARKER} I am Stager.")
        await self.say(forge, at, "live")

        assert forge.comments(at) == [f"{MARKER} I am Stager.", f"{MARKER}\nlive"]

    @pytest.mark.parametrize("known", [True, False])
    async def test_that_cant_be_made_now(self, forge: Forge, known: bool) -> None:
        at = forge.open("feature/x", A)
        where = await link(forge, at)
        made = await self.say(forge, at, "starting") if known else ""
        forge.fail()
        with pytest.raises(Retry):
            await forge.reports.comment(where, marker=MARKER, body="live", known=made)

    @pytest.mark.parametrize("known", [True, False])
    async def test_that_is_refused(self, forge: Forge, known: bool) -> None:
        at = forge.open("feature/x", A)
        where = await link(forge, at)
        made = await self.say(forge, at, "starting") if known else ""
        forge.refuse_to_write()
        with pytest.raises(Refused):
            await forge.reports.comment(where, marker=MARKER, body="live", known=made)


class TestFakeForge:
    """What the one in memory does besides."""

    async def test_its_deliveries_are_read_as_what_happened(self) -> None:
        forge = FakeForge(secret="hush")
        event = forge.open(forge.add_repository("acme", "shop"), "feature/x", A)
        delivery = forge.delivery(event)
        [received] = await forge.receive(
            {"authorization": "hush", "x-fake-delivery": delivery.id}, delivery.payload.encode()
        )

        assert received == delivery == forge.delivery(event)
        assert forge.read(received) == event
        with pytest.raises(Refused):
            await forge.receive({"authorization": "loud"}, b"0")

    async def test_a_slow_one_answers_in_the_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("stager.testing.fakes.faults.SLOW_SECONDS", 0.05)
        forge = FakeForge()
        forge.fault_mode = FaultMode.SLOW
        started = asyncio.get_running_loop().time()

        assert await forge.repository("acme", "shop") is None
        assert asyncio.get_running_loop().time() - started >= 0.05

    async def test_one_that_never_answers(self) -> None:
        forge = FakeForge()
        forge.fault_mode = FaultMode.NEVER
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(forge.repository("acme", "shop"), 0.05)
