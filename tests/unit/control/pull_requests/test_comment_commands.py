"""What people ask for in comments: who may, what comes of it, and how they are answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from stager.control.environments.pins import Pin, pin_of, save_pin
from stager.control.environments.records import Note, note_of
from stager.control.pull_requests.comment_commands import LOG_LINES
from stager.control.pull_requests.inbox import OLDEST
from stager.control.reconciler.retention import MIN_DELIVERY_RETENTION
from stager.domain.environment import Environment, SuspensionReason
from stager.domain.pull_requests.comment_command import ABOUT, Verb
from stager.domain.pull_requests.events import ChangeEvent, CommentAdded
from stager.domain.pull_requests.rules import Rules
from stager.domain.source import Access, Change, Repository
from stager.domain.status import State
from stager.ports.forge import Reaction
from stager.testing import FaultMode, Program
from stager.testing.fakes.clock import START
from tests.contracts.store_samples import environment
from tests.unit.control.harness import ANN, IMAGE, SHOP, Harness

SHA = "a1b2c3d4e5f6a1b2c3d4e5f6a1b2c3d4e5f6a1b2"
OTHER = "f6e5d4c3b2a1f6e5d4c3b2a1f6e5d4c3b2a1f6e5"
APP = replace(SHOP, owner="acme")


class Talk(Harness):
    """A harness in which ann may push, bob may read, and others are strangers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.repository: Repository = self.forge.add_repository("acme", "shop")
        self.forge.allow(self.repository, "ann", Access.WRITE)
        self.forge.allow(self.repository, "root", Access.ADMIN)
        self.forge.allow(self.repository, "bob", Access.READ)

    async def opened(self, ref: str = "feature-x", sha: str = SHA, **given: Any) -> ChangeEvent:
        event = self.forge.open(self.repository, ref, sha, **given)
        await self.deliver(event)
        await self.rest(30)
        return event

    async def opened_by_fork(self, sha: str = SHA) -> ChangeEvent:
        return await self.opened(sha=sha, fork=self.forge.add_repository("mallory", "shop"))

    async def say(self, event: ChangeEvent, text: str, author: str = "ann") -> Reaction | None:
        """A user writes this comment; our reaction to it, once all has come to rest."""
        return await self.told(self.forge.say(event, text, author))

    async def told(self, said: CommentAdded) -> Reaction | None:
        await self.deliver(said)
        await self.rest(30)
        [comment] = [c for c in self.forge.comments if c.id == said.comment]
        assert len(comment.reactions) <= 1
        return next(iter(comment.reactions), None)

    async def of(self, event: ChangeEvent) -> Environment:
        """The environment of a change."""
        every = await self.environments()
        [found] = [e for e in every if e.change and e.change.number == event.change.number]
        return found

    async def note(self, event: ChangeEvent) -> Note | None:
        environment = await self.of(event)
        return await self.store.read(lambda tx: note_of(tx, environment))

    async def state(self, event: ChangeEvent) -> State:
        return (await self.status(await self.of(event))).state


@pytest.fixture
async def talk() -> AsyncIterator[Talk]:
    async with Talk([APP]).open() as opened:
        yield opened


class TestVerbs:
    @pytest.mark.parametrize("word", ["redeploy", "restart", "launch", "deploy", "start"])
    async def test_start_it_again(self, talk: Talk, word: str) -> None:
        event = await talk.opened()
        before = await talk.assert_live()
        assert await talk.say(event, f"/stager {word}") == "rocket"

        after = await talk.assert_live()
        assert after.id != before.id
        assert after.generation == 2
        assert await talk.note(event) is None

    @pytest.mark.parametrize("word", ["kill", "stop"])
    async def test_kill_stops_it_until_the_next_push(self, talk: Talk, word: str) -> None:
        event = await talk.opened()
        assert await talk.say(event, f"/stager {word}") == "+1"
        assert await talk.state(event) is State.STOPPED
        await talk.assert_gone()
        await talk.deliver(talk.forge.push(event, OTHER))
        await talk.rest(30)

        await talk.assert_live()

    @pytest.mark.parametrize("word", ["launch", "redeploy"])
    async def test_after_a_kill_it_comes_back(self, talk: Talk, word: str) -> None:
        event = await talk.opened()
        await talk.say(event, "/stager kill")
        assert await talk.say(event, f"/stager {word}") == "rocket"

        await talk.assert_live()

    async def test_logs_shows_the_last_lines(self, talk: Talk) -> None:
        lines = [f"line {number}" for number in range(100)]
        talk.engine.add_image(IMAGE, Program(output="\n".join(lines)))
        event = await talk.opened()
        assert await talk.say(event, "/stager logs") == "+1"

        assert await talk.note(event) == Note("Last lines of the log:", tuple(lines[-LOG_LINES:]))

    async def test_logs_have_no_secrets(self) -> None:
        secret = "correct-horse-battery"
        async with Talk([replace(APP, secrets={"PASSPHRASE": secret})]).open() as talk:
            talk.engine.add_image(IMAGE, Program(output=f"starts\nwith {secret}."))
            event = await talk.opened()
            assert await talk.say(event, "/stager logs") == "+1"

            assert await talk.note(event) == Note("Last lines of the log:", ("starts", "with ***."))
            assert secret not in repr(talk.forge.comments)

    async def test_logs_where_there_are_none(self, talk: Talk) -> None:
        event = await talk.opened()
        assert await talk.say(event, "/stager logs") == "+1"

        assert await talk.note(event) == Note("The log is empty.")

    async def test_help_lists_all_of_them(self, talk: Talk) -> None:
        event = await talk.opened()
        before = await talk.assert_live()
        for text in ("/stager", "/stager help"):
            assert await talk.say(event, text) == "+1"
            note = await talk.note(event)
            assert note is not None
            assert len(note.lines) == len(Verb)
            assert all(any(about in line for line in note.lines) for about in ABOUT.values())

        assert (await talk.assert_live()).id == before.id

    @pytest.mark.parametrize(
        ("word", "said"),
        [
            ("lunch", 'Unknown command "lunch". Did you mean "launch"?'),
            ("dance", 'Unknown command "dance".'),
            ("x" * 5_000, f'Unknown command "{"x" * 40}".'),
        ],
    )
    async def test_another_word_does_nothing(self, talk: Talk, word: str, said: str) -> None:
        event = await talk.opened()
        before = await talk.assert_live()
        assert await talk.say(event, f"/stager {word}") == "confused"

        note = await talk.note(event)
        assert note is not None
        assert note.text == said
        assert len(note.lines) == len(Verb)
        assert (await talk.assert_live()).id == before.id

    async def test_a_note_lasts_until_the_next_answer(self, talk: Talk) -> None:
        event = await talk.opened()
        await talk.say(event, "/stager help")
        assert await talk.note(event)
        await talk.say(event, "/stager redeploy")

        assert await talk.note(event) is None

    async def test_what_cant_be_done_is_answered_with_the_reason(self, talk: Talk) -> None:
        event = await talk.opened()
        await talk.deliver(talk.forge.close(event))
        await talk.rest(30)
        for word in ("launch", "redeploy", f"approve {SHA}"):
            assert await talk.say(event, f"/stager {word}") == "-1"
            note = await talk.note(event)
            assert note == Note("Pull request #1 is closed. Reopen it to get its preview back.")

        await talk.assert_gone()
        assert (await talk.the()).approved_sha == ""

    async def test_while_the_engine_is_away(self, talk: Talk) -> None:
        event = await talk.opened()
        talk.engine.leave()
        assert await talk.say(event, "/stager logs") == "-1"

        assert await talk.note(event) == Note("The engine doesn't answer.")


class TestWho:
    @pytest.mark.parametrize("author", ["ann", "ANN", "root"])
    async def test_those_who_may_push(self, talk: Talk, author: str) -> None:
        event = await talk.opened()

        assert await talk.say(event, "/stager kill", author) == "+1"

    @pytest.mark.parametrize("author", ["bob", "mallory", "octocat", ""])
    @pytest.mark.parametrize("verb", list(Verb))
    async def test_all_others_are_refused(self, talk: Talk, author: str, verb: Verb) -> None:
        event = await talk.opened()
        before = await talk.assert_live()
        assert await talk.say(event, f"/stager {verb.value} {SHA}", author) == "-1"

        assert (await talk.assert_live()).id == before.id
        note = await talk.note(event)
        assert note == Note(f"{author or 'The author'} needs push access for this command.")
        environment = await talk.of(event)
        assert not await talk.store.read(lambda tx: pin_of(tx, environment.id).pinned)

    async def test_what_strangers_ask_for_is_written_down(self, talk: Talk) -> None:
        event = await talk.opened()
        for text in ("/stager kill", "/stager kill", "/stager nonsense"):
            await talk.say(event, text, "mallory")
        environment = await talk.of(event)

        lines = await talk.running.control_plane.identity.audit.entries(limit=10)
        assert {(line.actor, line.action, line.app, line.result, line.detail) for line in lines} == {
            ("mallory (comment)", "kill", "shop", "refused", "no-push-access (2 times)"),
            ("mallory (comment)", "comment", "shop", "refused", "no-push-access"),
        }
        assert {line.subject for line in lines} == {f"feature-x ({environment.id})"}

    async def test_the_author_of_a_fork_isnt_one(self, talk: Talk) -> None:
        event = await talk.opened_by_fork()
        assert await talk.say(event, f"/stager approve {SHA}", "mallory") == "-1"

        assert await talk.state(event) is State.REFUSED

    async def test_no_answer_of_the_forge_is_a_refusal(self, talk: Talk) -> None:
        event = await talk.opened()
        before = await talk.assert_live()
        said = talk.forge.say(event, "/stager kill", "ann")
        talk.forge.fault_mode = FaultMode.FAILING
        assert await talk.told(said) is None  # nor can it be told
        assert await talk.note(event) == Note(
            "The forge can't be reached. Repeat the command when the forge answers again."
        )
        assert (await talk.assert_live()).id == before.id
        talk.forge.fault_mode = FaultMode.WELL
        await talk.rest()

        assert (await talk.assert_live()).id == before.id

    async def test_one_that_takes_no_reaction_has_it_done_all_the_same(self, talk: Talk) -> None:
        event = await talk.opened()
        talk.forge.fault_mode = FaultMode.REFUSING
        assert await talk.say(event, "/stager kill") is None

        assert await talk.state(event) is State.STOPPED

    async def test_without_a_forge_commands_are_ignored(self) -> None:
        async with Talk([APP], credentials=False).open() as talk:
            event = await talk.opened()
            before = await talk.assert_live()
            assert await talk.say(event, "/stager kill") is None

            assert (await talk.assert_live()).id == before.id

    async def test_one_of_a_change_that_has_no_preview(self, talk: Talk) -> None:
        await talk.rest(1)  # not at the very moment of a comparison, which would find it
        event = talk.forge.open(talk.repository, "feature-x", SHA)

        assert await talk.say(event, "/stager launch") == "confused"
        assert await talk.environments() == []

    async def test_one_in_a_repository_that_none_is_for(self, talk: Talk) -> None:
        event = talk.forge.open(talk.forge.add_repository("acme", "blog"), "feature-x", SHA)

        assert await talk.say(event, "/stager launch") is None

    async def test_what_isnt_for_us(self, talk: Talk) -> None:
        event = await talk.opened()
        for text in ("thanks!", "> /stager kill", "see `/stager kill`"):
            assert await talk.say(event, text) is None

        await talk.assert_live()

    async def test_a_repeated_delivery_does_nothing_twice(self, talk: Talk) -> None:
        event = await talk.opened()
        said = talk.forge.say(event, "/stager redeploy", "ann")
        await talk.told(said)
        await talk.told(said)

        assert (await talk.assert_live()).generation == 2


class TestOnce:
    """A copy of a delivery may come under an id of its own, because that isn't signed."""

    async def again(self, talk: Talk, said: CommentAdded, number: int = 1) -> None:
        await talk.running.inbox.receive(talk.forge.delivery(said, f"copy-{number}"))
        await talk.rest(30)

    @pytest.mark.attack(
        "A copy of a comment's delivery under another delivery id",
        profile="sender of webhooks",
        result="no second effect: the comment is recorded by its own id",
    )
    @pytest.mark.parametrize("word", ["redeploy", "kill", "launch"])
    async def test_a_comment_is_acted_on_once(self, talk: Talk, word: str) -> None:
        event = await talk.opened()
        said = talk.forge.say(event, f"/stager {word}", "ann")
        await talk.told(said)
        if word == "kill":
            await talk.say(event, "/stager launch")
        before = await talk.assert_live()
        for number in range(3):
            await self.again(talk, said, number)

        assert (await talk.assert_live()).id == before.id
        assert await talk.say(event, f"/stager {word}") is not None, "another comment is another"
        assert (await talk.of(event)).desired.generation > before.generation or word == "kill"

    async def test_also_after_a_restart(self, talk: Talk) -> None:
        event = await talk.opened()
        said = talk.forge.say(event, "/stager redeploy", "ann")
        await talk.told(said)
        await talk.kill()
        await talk.start()
        before = await talk.assert_live()
        await self.again(talk, said)

        assert (await talk.assert_live()).id == before.id

    async def test_one_that_was_refused_is_refused_for_good(self, talk: Talk) -> None:
        event = await talk.opened()
        said = talk.forge.say(event, "/stager kill", "bob")
        assert await talk.told(said) == "-1"
        talk.forge.allow(talk.repository, "bob", Access.WRITE)
        await self.again(talk, said)

        await talk.assert_live()

    async def test_one_that_came_before_the_preview_is_not_acted_on_later(
        self, talk: Talk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def none(repository: Repository) -> list[Change]:
            return []

        monkeypatch.setattr(talk.forge, "open_changes", none)
        opened = talk.forge.open(talk.repository, "feature-x", SHA)
        said = talk.forge.say(opened, "/stager kill", "ann")
        assert await talk.told(said) == "confused"
        await talk.deliver(opened)
        await talk.rest(30)
        await self.again(talk, said)

        await talk.assert_live()

    async def test_one_that_was_put_off_is_acted_on_when_it_comes_again(self, talk: Talk) -> None:
        event = await talk.opened()
        said = talk.forge.say(event, "/stager kill", "ann")
        talk.forge.fault_mode = FaultMode.FAILING
        await talk.deliver(said)
        await talk.rest(10)
        talk.forge.fault_mode = FaultMode.WELL
        await self.again(talk, said)

        assert await talk.state(event) is State.STOPPED

    @pytest.mark.parametrize(("age", "acts"), [(timedelta(days=3), True), (timedelta(days=5), False)])
    async def test_one_that_no_forge_delivers_any_more_is_not_acted_on(
        self, talk: Talk, age: timedelta, acts: bool
    ) -> None:
        """By then it may be deleted."""
        event = await talk.opened()
        created_at = talk.running.clock.now() - age
        said = replace(talk.forge.say(event, "/stager kill", "ann"), created_at=created_at)
        await talk.told(said)

        assert (await talk.state(event) is State.STOPPED) is acts

    def test_what_was_acted_on_is_stored_for_longer_than_that(self) -> None:
        assert MIN_DELIVERY_RETENTION > OLDEST


class TestRules:
    async def test_launch_gets_round_them(self) -> None:
        async with Talk([replace(APP, rules=Rules(labels=("preview",)))]).open() as talk:
            event = await talk.opened()
            assert await talk.state(event) is State.REFUSED
            assert await talk.say(event, "/stager launch") == "rocket"
            await talk.assert_live()
            await talk.rest(700)

            await talk.assert_live()

    async def test_kill_of_one_that_they_hold_back_keeps_it_away(self) -> None:
        async with Talk([replace(APP, rules=Rules(labels=("preview",)))]).open() as talk:
            event = await talk.opened()
            await talk.say(event, "/stager kill")
            await talk.deliver(talk.forge.edit(event, labels=("preview",)))
            await talk.rest(30)

            assert await talk.state(event) is State.STOPPED

    @pytest.mark.parametrize("word", ["launch", "redeploy", "start", "restart"])
    async def test_nothing_gets_round_a_forks_approval(self, talk: Talk, word: str) -> None:
        event = await talk.opened_by_fork()
        assert await talk.say(event, f"/stager {word} {SHA}") == "-1"

        environment, note = await talk.of(event), await talk.note(event)
        assert environment.desired.suspension is not None
        assert environment.desired.suspension.reason is SuspensionReason.APPROVAL
        assert environment.approved_sha == ""
        assert note is not None
        assert f"/stager approve {SHA}" in note.text
        assert talk.engine.there() == []

    async def test_nor_kill_and_launch(self, talk: Talk) -> None:
        event = await talk.opened_by_fork()
        await talk.say(event, "/stager kill")
        assert await talk.say(event, "/stager launch") == "-1"

        assert talk.engine.there() == []


class TestApprove:
    @pytest.mark.parametrize("sha", [SHA, SHA.upper()])
    async def test_this_very_commit(self, talk: Talk, sha: str) -> None:
        event = await talk.opened_by_fork()
        assert await talk.say(event, f"/stager approve {sha}") == "rocket"

        instance = await talk.assert_live()
        assert talk.engine.spec(instance.id).labels.revision.sha == SHA
        assert (await talk.of(event)).approved_sha == SHA

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ("", "The approval doesn't name a commit."),
            ("\n" + SHA, "The approval doesn't name a commit."),
            (f" {SHA[:7]}", f'"{SHA[:7]}" isn\'t a full commit id (40 or 64 hex digits).'),
            (f" {SHA[:39]}", f'"{SHA[:39]}" isn\'t a full commit id (40 or 64 hex digits).'),
            (f" {SHA[:7]} {SHA[7:]}", f'"{SHA[:7]}" isn\'t a full commit id (40 or 64 hex digits).'),
            (f" {SHA[:7]}{OTHER[7:]}", f"{SHA[:7]}{OTHER[7:]} isn't the commit that is waiting"),
            (f" {OTHER}", f"{OTHER} isn't the commit that is waiting for approval."),
            (" please", '"please" isn\'t a full commit id (40 or 64 hex digits).'),
        ],
    )
    async def test_no_other(self, talk: Talk, words: str, said: str) -> None:
        event = await talk.opened_by_fork()
        assert await talk.say(event, f"/stager approve{words}") == "-1"

        note = await talk.note(event)
        assert note is not None
        assert note.text.startswith(said)
        assert SHA in note.text, "the id to copy"
        assert talk.engine.there() == []

    async def test_not_the_one_that_was_pushed_meanwhile(self, talk: Talk) -> None:
        event = await talk.opened_by_fork()
        said = talk.forge.say(event, f"/stager approve {SHA}", "ann")
        await talk.deliver(talk.forge.push(event, OTHER))
        assert await talk.told(said) == "-1"

        assert talk.engine.there() == []
        assert await talk.state(event) is State.REFUSED

    async def test_a_push_without_a_delivery_yet(self, talk: Talk) -> None:
        """The commit that was read is what runs, until the new one is known and waits."""
        event = await talk.opened_by_fork()
        talk.forge.push(event, OTHER)
        assert await talk.say(event, f"/stager approve {SHA}") == "rocket"
        [instance] = talk.engine.there()
        assert talk.engine.spec(instance.id).labels.revision.sha == SHA
        await talk.rest(301)

        assert await talk.state(event) is State.REFUSED
        assert talk.engine.there() == []

    async def test_of_what_needs_none_starts_it_again(self, talk: Talk) -> None:
        event = await talk.opened()
        assert await talk.say(event, f"/stager approve {SHA}") == "rocket"

        assert (await talk.assert_live()).generation == 2


class TestRoom:
    """Pinned ones survive; extended ones count as the newest."""

    @pytest.fixture
    async def talk(self) -> AsyncIterator[Talk]:
        async with Talk([APP], max_previews=2).open() as opened:
            yield opened

    async def live(self, talk: Talk) -> list[str]:
        there = await talk.environments()
        return [e.name for e in there if e.desired.should_run and e.serving is not None]

    async def test_the_oldest_is_removed(self, talk: Talk) -> None:
        for ref in ("one", "two", "three"):
            await talk.opened(ref)

        assert await self.live(talk) == ["two", "three"]

    async def test_a_pinned_one_stays(self, talk: Talk) -> None:
        event = await talk.opened("one")
        assert await talk.say(event, "/stager pin") == "+1"
        assert await talk.note(event) == Note(
            "The preview is pinned: it doesn't expire, and isn't evicted in favour of another."
        )
        for ref in ("two", "three", "four"):
            await talk.opened(ref)

        assert await self.live(talk) == ["one", "four"]

    async def test_whether_it_was_started_again_or_stager_was(self, talk: Talk) -> None:
        event = await talk.opened("one")
        await talk.say(event, "/stager pin")
        await talk.deliver(talk.forge.push(event, OTHER))
        await talk.rest(30)
        await talk.kill()
        await talk.start()
        for ref in ("two", "three"):
            await talk.opened(ref)

        assert await self.live(talk) == ["one", "three"]

    async def test_among_pinned_ones_the_newest_waits(self, talk: Talk) -> None:
        for ref in ("one", "two"):
            await talk.say(await talk.opened(ref), "/stager pin")
        event = await talk.opened("three")

        assert await self.live(talk) == ["one", "two"]
        suspension = (await talk.of(event)).desired.suspension
        assert suspension is not None
        assert suspension.reason is SuspensionReason.QUEUED
        assert await talk.say(event, "/stager launch") == "rocket"
        assert await self.live(talk) == ["one", "two"]

    async def test_an_extended_one_counts_as_the_newest(self, talk: Talk) -> None:
        first = await talk.opened("one")
        await talk.opened("two")
        assert await talk.say(first, "/stager extend") == "+1"
        await talk.opened("three")
        assert await self.live(talk) == ["one", "three"]
        await talk.opened("four")

        assert await self.live(talk) == ["three", "four"]

    async def test_a_killed_one_takes_none(self, talk: Talk) -> None:
        event = await talk.opened("one")
        await talk.say(event, "/stager pin")
        await talk.say(event, "/stager kill")
        for ref in ("two", "three"):
            await talk.opened(ref)

        assert await self.live(talk) == ["two", "three"]

    @pytest.mark.parametrize("kept", [Pin(), Pin(pinned=True), Pin(extended_at=START), Pin(True, START)])
    async def test_is_stored_as_it_was_written(self, talk: Talk, kept: Pin) -> None:
        await talk.store.write(lambda tx: tx.save_environment(environment()))
        await talk.store.write(lambda tx: save_pin(tx, "env1", kept))

        assert await talk.store.read(lambda tx: pin_of(tx, "env1")) == kept
        assert await talk.store.read(lambda tx: pin_of(tx, "e2")) == Pin()

    async def test_by_the_api_as_well(self, talk: Talk) -> None:
        await talk.launch("by-hand")
        await talk.rest(30)
        await talk.running.commands.pin((await talk.the()).id, ANN)
        for ref in ("two", "three"):
            await talk.opened(ref)

        assert await self.live(talk) == ["by-hand", "three"]
