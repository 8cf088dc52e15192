"""Deliveries in any order and number: what runs at the end is what is open, with its newest head."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from stager.control.plugins.invoker import HANDLER_SECONDS
from stager.control.pull_requests.inbox import LONGEST_SECONDS
from stager.control.reporting.reporter import report_state_of
from stager.domain.commands import Kill, Launch, Reply
from stager.domain.environment import Suspension, SuspensionReason
from stager.domain.errors import Retry
from stager.domain.pull_requests.events import (
    Call,
    ChangeAction,
    ChangeEvent,
    Decision,
    Ignored,
    LaunchPreview,
    RemovePreview,
    Skip,
)
from stager.domain.source import Change, Repository
from stager.domain.status import State
from stager.handlers.pull_requests import (
    KillOnGithubPullRequestClosed,
    LaunchOnGithubPullRequestOpened,
    ReLaunchOnGithubPullRequestSynchronized,
)
from stager.ports.handlers import EventListener
from stager.testing import FakeForge, FaultMode
from tests.length import LONGER
from tests.unit.control.harness import SHOP, Harness, listeners

SETTLED = 60.0
"""Seconds in which a preview comes to rest."""

Event = ChangeEvent | Call
Story = Callable[[FakeForge], list[ChangeEvent]]


def pushed_and_closed(forge: FakeForge) -> list[ChangeEvent]:
    opened = forge.open(forge.add_repository("acme", "shop"), "feature-x", "o")
    return [opened, forge.push(opened, "a"), forge.push(opened, "b"), forge.close(opened)]


def pushed(forge: FakeForge) -> list[ChangeEvent]:
    opened = forge.open(forge.add_repository("acme", "shop"), "feature-x", "o")
    return [opened, forge.push(opened, "a"), forge.push(opened, "b")]


def reopened(forge: FakeForge) -> list[ChangeEvent]:
    opened = forge.open(forge.add_repository("acme", "shop"), "feature-x", "o")
    return [opened, forge.close(opened), forge.reopen(opened)]


def pushed_while_closed(forge: FakeForge) -> list[ChangeEvent]:
    opened = forge.open(forge.add_repository("acme", "shop"), "feature-x", "o")
    return [opened, forge.close(opened), forge.push(opened, "a"), forge.reopen(opened)]


def merged(forge: FakeForge) -> list[ChangeEvent]:
    opened = forge.open(forge.add_repository("acme", "shop"), "feature-x", "o")
    return [opened, forge.push(opened, "a"), forge.close(opened, merged=True)]


def pushed_back(forge: FakeForge) -> list[ChangeEvent]:
    """A head that was pushed, replaced, and pushed again."""
    opened = forge.open(forge.add_repository("acme", "shop"), "feature-x", "a")
    return [opened, forge.push(opened, "b"), forge.push(opened, "a")]


STORIES = [pushed, pushed_and_closed, reopened, pushed_while_closed, merged, pushed_back]


def orders(events: Sequence[ChangeEvent]) -> list[Sequence[ChangeEvent]]:
    """Every order; and, where one comes twice, every order of that."""
    numbers = range(len(events))
    repeated = [[*numbers, number] for number in numbers] if len(events) < 4 else []
    every = itertools.chain(itertools.permutations(numbers), *map(itertools.permutations, repeated))
    return [[events[number] for number in order] for order in dict.fromkeys(every)]


def played(events: Sequence[ChangeEvent], pause: float) -> range:
    """The orders that are played: half of them at once, the other half one by one; with `LONGER`, all both
    ways."""
    count = len(orders(events))
    return range(count) if LONGER > 1 else range(pause > 0, count, 2)


async def assert_as_the_last_says(harness: Harness, last: ChangeEvent) -> None:
    environments = await harness.environments(present=True)
    if not last.change.is_open:
        assert environments == []
        assert harness.engine.there() == []
        return
    [environment] = environments
    assert environment.desired.revision.sha == last.change.head_sha
    instance = await harness.assert_live(environment)
    assert harness.engine.spec(instance.id).labels.revision.sha == last.change.head_sha


class TestAnyOrder:
    @pytest.mark.parametrize("pause", [0.0, 30.0], ids=["at-once", "one-by-one"])
    @pytest.mark.parametrize("story", STORIES)
    async def test_asking_the_forge(self, story: Story, pause: float) -> None:
        for order in played(story(FakeForge()), pause):
            await self.play(story, 1.0, pause, order, credentials=True)

    @pytest.mark.parametrize("pause", [0.0, 30.0], ids=["at-once", "one-by-one"])
    @pytest.mark.parametrize("story", STORIES)
    async def test_asking_the_forge_about_one_second(self, story: Story, pause: float) -> None:
        """Its stamps count whole seconds, so that they tell nothing of the order."""
        for order in played(story(FakeForge(tick=0.01)), pause):
            await self.play(story, 0.01, pause, order, credentials=True)

    @pytest.mark.parametrize("pause", [0.0, 30.0], ids=["at-once", "one-by-one"])
    @pytest.mark.parametrize("story", STORIES)
    async def test_without_requests_to_the_forge(self, story: Story, pause: float) -> None:
        for order in played(story(FakeForge()), pause):
            await self.play(story, 1.0, pause, order, credentials=False)

    @pytest.mark.parametrize("pause", [0.0, 30.0], ids=["at-once", "one-by-one"])
    async def test_two_within_one_second_without_requests_to_the_forge(self, pause: float) -> None:
        def one_push(forge: FakeForge) -> list[ChangeEvent]:
            return pushed(forge)[:2]

        def one_close(forge: FakeForge) -> list[ChangeEvent]:
            opened = forge.open(forge.add_repository("acme", "shop"), "feature-x", "o")
            return [opened, forge.close(opened)]

        for story in (one_push, one_close):
            for order in (0, 1):
                await self.play(story, 0.01, pause, order, credentials=False)

    async def play(self, story: Story, tick: float, pause: float, order: int, *, credentials: bool) -> None:
        harness = Harness(credentials=credentials, forge=FakeForge(tick=tick))
        async with harness.open(rest=False):
            await harness.rest(SETTLED)
            told = story(harness.forge)
            deliveries = orders(told)[order]
            for number, event in enumerate(deliveries):
                # A repetition with an id of its own, such as a redelivery of another hook.
                await harness.running.inbox.receive(harness.forge.delivery(event, f"d{number}"))
                await harness.rest(pause)
            await harness.rest(SETTLED)
            await assert_as_the_last_says(harness, told[-1])


class TestDeliveries:
    async def test_a_repeated_one_has_no_effect(self, harness: Harness) -> None:
        event = harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", "a")
        delivery = harness.forge.delivery(event)
        assert await harness.running.inbox.receive(delivery)
        await harness.rest()
        assert not await harness.running.inbox.receive(delivery)
        await harness.rest()

        assert (await harness.the()).desired.generation == 1

    async def test_one_that_was_not_worked_through_is_by_the_next_life(self, harness: Harness) -> None:
        event = harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", "a")
        await harness.running.inbox.receive(harness.forge.delivery(event))
        await harness.kill()
        await harness.start()

        await harness.assert_live()

    async def test_one_that_concerns_nothing(self, harness: Harness) -> None:
        await harness.running.inbox.receive(harness.forge.delivery(Ignored("it is a star")))
        await harness.rest()

        assert await harness.environments() == []
        assert await harness.store.read(lambda tx: tx.next_delivery()) is None

    async def test_a_command_and_an_end_of_checks_are_taken(self, harness: Harness) -> None:
        opened = harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", "a")
        await harness.deliver(
            harness.forge.say(opened, "/stager"), harness.forge.check(opened.change.repository, "a")
        )
        await harness.rest()

        assert await harness.store.read(lambda tx: tx.next_delivery()) is None

    async def test_one_that_trips_us_up_stops_no_other(
        self, harness: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = harness.forge.open(harness.forge.add_repository("acme", "shop"), "bad", "a")
        second = harness.forge.open(first.change.repository, "good", "b")
        original = harness.forge.read

        def read(delivery: object) -> object:
            if delivery == harness.forge.delivery(first):
                raise ZeroDivisionError
            return original(delivery)  # type: ignore[arg-type]

        monkeypatch.setattr(harness.forge, "read", read)
        await harness.deliver(first, second)
        await harness.rest(30)

        assert [e.name for e in await harness.environments()] == ["good"]

    async def test_ten_pushes_in_a_second_are_one_deployment_of_the_last(self, harness: Harness) -> None:
        opened = harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", "0")
        pushes = [harness.forge.push(opened, str(number)) for number in range(1, 11)]
        await harness.deliver(opened, *pushes)
        await harness.rest()

        instance = await harness.assert_live()
        assert harness.engine.spec(instance.id).labels.revision.sha == "10"
        assert (await harness.the()).desired.generation == 1, (
            "the forge told the newest head at the first asking"
        )

    async def test_a_forge_that_fails_is_taken_at_its_word(self, harness: Harness) -> None:
        harness.forge.fault_mode = FaultMode.FAILING
        opened = harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", "a")
        await harness.deliver(opened, harness.forge.push(opened, "b"))
        await harness.rest()

        assert harness.engine.spec((await harness.assert_live()).id).labels.revision.sha == "b"


class Hang:
    """Has a harness's forge hang when it is asked about a change whose head is `bad`."""

    def __init__(self, harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        self.lasts = True
        original = harness.forge.change

        async def change(repository: Repository, number: int) -> Change | None:
            found = await original(repository, number)
            if self.lasts and found is not None and found.head_ref == "bad":
                self.begun += 1
                await asyncio.Event().wait()
            return found

        monkeypatch.setattr(harness.forge, "change", change)


class TestWithoutAnEnd:
    """A delivery whose processing ends the process, or never ends, doesn't keep the others waiting."""

    @pytest.fixture
    def hang(self, harness: Harness, monkeypatch: pytest.MonkeyPatch) -> Hang:
        monkeypatch.setattr(harness.forge, "open_changes", _nothing)  # or the resync would repair it all
        return Hang(harness, monkeypatch)

    async def tell_both(self, harness: Harness) -> tuple[ChangeEvent, ChangeEvent]:
        bad = harness.forge.open(harness.forge.add_repository("acme", "shop"), "bad", "a")
        good = harness.forge.open(bad.change.repository, "good", "b")
        await harness.deliver(bad, good)
        await harness.rest(5)
        return bad, good

    async def again(self, harness: Harness) -> None:
        """The process ends where it stands, and the next one begins."""
        await harness.kill()
        await harness.start(rest=False)
        await harness.rest(5)

    async def test_one_that_ends_the_process_twice_is_set_aside(self, harness: Harness, hang: Hang) -> None:
        bad, _ = await self.tell_both(harness)
        await self.again(harness)
        assert (hang.begun, await harness.environments()) == (2, [])
        await self.again(harness)

        assert hang.begun == 2
        assert [e.name for e in await harness.environments()] == ["good"]
        [aside] = await harness.store.read(lambda tx: tx.deliveries_set_aside())
        assert aside.delivery == harness.forge.delivery(bad).id
        assert aside.outcome == ("set aside: Stager crashed or hung 2 times while processing this delivery")
        assert 'stager_deliveries_total{outcome="set_aside"} 1.0' in harness.running.metrics.text().decode()

    async def test_one_that_was_set_aside_is_processed_when_it_is_sent_again(
        self, harness: Harness, hang: Hang
    ) -> None:
        bad, _ = await self.tell_both(harness)
        for _ in range(2):
            await self.again(harness)
        hang.lasts = False
        await harness.deliver(bad)
        await harness.rest()

        assert {e.name for e in await harness.environments()} == {"good", "bad"}
        assert await harness.store.read(lambda tx: tx.deliveries_set_aside()) == []

    async def test_one_that_hangs_without_blocking_others_is_set_aside_after_a_while(
        self, harness: Harness, hang: Hang
    ) -> None:
        await self.tell_both(harness)
        assert await harness.environments() == []
        await harness.rest(LONGEST_SECONDS)

        assert [e.name for e in await harness.environments()] == ["good"]
        [aside] = await harness.store.read(lambda tx: tx.deliveries_set_aside())
        assert aside.outcome == "set aside: processing took longer than 300 seconds"

    async def test_an_orderly_stop_does_not_count(self, harness: Harness, hang: Hang) -> None:
        await self.tell_both(harness)
        for life in range(1, 5):
            assert hang.begun == life
            harness.running.task.cancel()
            with suppress(asyncio.CancelledError):
                await harness.running.task
            await harness.kill()
            await harness.start(rest=False)
            await harness.rest(5)

        assert await harness.store.read(lambda tx: tx.deliveries_set_aside()) == []

    async def test_trouble_of_the_store_does_not_count(
        self, harness: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original, left = harness.store.write, iter([True] * 8)

        async def write(work: Callable[[Any], Any]) -> Any:
            if next(left, False) and "seen" in {frame.function for frame in inspect.stack()}:
                raise Retry("The disk is full.", reason="database-disk-full")
            return await original(work)

        monkeypatch.setattr(harness.store, "write", write)
        await self.tell_both(harness)
        await harness.rest()

        assert {e.name for e in await harness.environments()} == {"good", "bad"}
        assert await harness.store.read(lambda tx: tx.deliveries_set_aside()) == []


async def _nothing(repository: Repository) -> list[Change]:
    return []


class TestEdits:
    """A label, a draft made ready, a new title: something for rules to look at, and nothing to build."""

    @pytest.mark.parametrize("credentials", [True, False], ids=["asked", "told"])
    async def test_a_label_restarts_nothing(self, credentials: bool) -> None:
        async with Harness(credentials=credentials).open() as harness:
            opened = harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", "a")
            await harness.deliver(opened)
            await harness.rest()
            before = await harness.assert_live()
            await harness.deliver(
                harness.forge.edit(opened, labels=("bug",)),
                harness.forge.edit(opened, draft=True, title="Other"),
            )
            await harness.rest()

            assert (await harness.assert_live()).id == before.id
            assert (await harness.the()).desired.generation == 1
            change = await harness.store.read(lambda tx: tx.change(opened.change.repository.id, 1))
            assert change is not None
            assert (change.labels, change.draft, change.title) == (("bug",), True, "Other")

    async def test_one_of_an_unknown_change_launches_it(self, harness: Harness) -> None:
        opened = harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", "a")
        await harness.deliver(harness.forge.edit(opened, labels=("preview",)))
        await harness.rest()

        await harness.assert_live()

    async def test_one_that_comes_before_its_push_hides_nothing(self, harness: Harness) -> None:
        opened = harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", "a")
        await harness.deliver(opened)
        edited, pushed = harness.forge.edit(opened, labels=("bug",)), harness.forge.push(opened, "b")
        await harness.deliver(pushed, edited)
        await harness.rest()

        assert harness.engine.spec((await harness.assert_live()).id).labels.revision.sha == "b"

    async def test_one_does_not_free_what_was_killed_manually(self, harness: Harness) -> None:
        opened = harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", "a")
        await harness.deliver(opened)
        await harness.rest()
        await harness.stop("feature-x")
        await harness.deliver(harness.forge.edit(opened, labels=("bug",)))
        await harness.rest()

        suspension = (await harness.the()).desired.suspension
        assert suspension is not None
        assert suspension.reason is SuspensionReason.KILLED


class TestReopened:
    @pytest.mark.parametrize("credentials", [True, False], ids=["asked", "told"])
    async def test_a_copy_does_not_free_what_was_killed_since(self, credentials: bool) -> None:
        async with Harness(credentials=credentials).open() as harness:
            opened = harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", "a")
            closed, reopened = harness.forge.close(opened), harness.forge.reopen(opened)
            await harness.deliver(opened, closed, reopened)
            await harness.rest()
            await harness.assert_live()
            await harness.stop("feature-x")
            await harness.running.inbox.receive(harness.forge.delivery(reopened, "copy"))
            await harness.rest()

            suspension = (await harness.the()).desired.suspension
            assert suspension is not None
            assert suspension.reason is SuspensionReason.KILLED
            await harness.deliver(harness.forge.close(opened), harness.forge.reopen(opened))
            await harness.rest()
            await harness.assert_live()


class Deaf(EventListener):
    async def handle(self, event: Event) -> Decision | None:
        return None


class Raising(EventListener):
    async def handle(self, event: Event) -> Decision | None:
        raise ZeroDivisionError


class Hanging(EventListener):
    async def handle(self, event: Event) -> Decision | None:
        await asyncio.Event().wait()
        return None


class Deciding(EventListener):
    """Returns these, one after the other, and the last one from then on."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)

    async def handle(self, event: Event) -> Any:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@asynccontextmanager
async def heard(*first: EventListener, only: bool = False) -> AsyncIterator[Harness]:
    """A harness in which these listeners come before the built-in ones, and a change was opened."""
    async with Harness(listeners=[*first, *([] if only else listeners())]).open() as harness:
        await harness.deliver(
            harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", "a")
        )
        await harness.rest(HANDLER_SECONDS + 30)
        yield harness


class TestListeners:
    @pytest.mark.parametrize("listener", [Deaf(), Raising(), Hanging()])
    async def test_one_that_takes_nothing_raises_or_hangs_is_passed_over(
        self, listener: EventListener
    ) -> None:
        async with heard(listener) as harness:
            await harness.assert_live()

    async def test_the_first_that_takes_an_event_has_it(self) -> None:
        async with heard(Deciding(RemovePreview())) as harness:
            assert await harness.environments() == []

    async def test_a_launch_may_name_the_preview_and_set_variables(self) -> None:
        async with heard(Deciding(LaunchPreview("login form", {"BY": "me"}))) as harness:
            assert (await harness.the()).name == "login form"
            instance = await harness.assert_live()
            assert harness.engine.spec(instance.id).variables["BY"] == "me"

    async def test_a_removal_removes(self) -> None:
        async with heard(Deciding(LaunchPreview(), RemovePreview())) as harness:
            await harness.assert_live()
            await self.push(harness)
            await harness.assert_gone()

    async def test_a_skip_says_why(self) -> None:
        async with heard(Deciding(Skip("only documentation changed."))) as harness:
            hold = (await harness.the()).desired.suspension
            assert hold == Suspension(
                SuspensionReason.RULES,
                "No preview: only documentation changed.",
                "The listener Deciding decided that.",
                rule="listener",
            )
            assert (await harness.status()).state is State.REFUSED
            assert harness.engine.there() == []

    async def test_a_skip_of_a_push_stops_the_preview_until_a_launch(self) -> None:
        decisions = [LaunchPreview(), Skip("docs"), LaunchPreview()]
        async with heard(Deciding(*decisions)) as harness:
            await self.push(harness)
            assert (await harness.status()).message == "No preview: docs."
            await self.push(harness)
            await harness.assert_live()

    async def test_a_skip_of_a_close_leaves_the_preview(self) -> None:
        async with heard(Deciding(LaunchPreview(), Skip("kept for a demonstration"))) as harness:
            [change] = await harness.forge.open_changes(harness.forge._repositories[0])
            with capture_logs() as logs:
                await harness.deliver(harness.forge.close(ChangeEvent(ChangeAction.OPENED, change)))
                await harness.rest(1)
            outcomes = [line["outcome"] for line in logs if line["event"] == "delivery_done"]
            assert outcomes == ["ignored: skipped by Deciding: kept for a demonstration"]
            await harness.assert_live()

    async def test_a_skip_does_not_get_a_fork_round_its_approval(self) -> None:
        async with Harness(
            listeners=[Deciding(Skip("docs"))], applications=[replace(SHOP, forks="approve")]
        ).open() as harness:
            base, fork = (
                harness.forge.add_repository("acme", "shop"),
                harness.forge.add_repository("eve", "shop"),
            )
            await harness.deliver(harness.forge.open(base, "feature-x", "a", fork=fork))
            await harness.rest()
            hold = (await harness.the()).desired.suspension
            assert hold is not None
            assert hold.reason is SuspensionReason.APPROVAL

    @pytest.mark.parametrize(
        ("answer", "what"),
        [
            (
                Launch("blog", "main", {"TOKEN": "hunter2"}),
                "returned Launch(image_name='blog', container_name='main') for a pull request event",
            ),
            (
                Kill("blog", "main"),
                "returned Kill(image_name='blog', container_name='main') for a pull request event",
            ),
            (Reply("mine"), "returned Reply for a pull request event"),
            (
                RemovePreview,
                "returned the class RemovePreview instead of an instance for a pull request event",
            ),
            (
                LaunchPreview(parameters={"PORT": 80}),  # type: ignore[dict-item]
                'returned a LaunchPreview, but parameters["PORT"] isn\'t text',
            ),
            (
                LaunchPreview(parameters={"A=B": "1"}),
                "returned a LaunchPreview, but 'A=B' isn't the name of an environment variable",
            ),
            (
                LaunchPreview("a\nb"),
                "returned a LaunchPreview, but its name isn't text of at most 255 printable characters",
            ),
            (Skip(" "), "returned a Skip, but its reason is missing"),
        ],
    )
    async def test_what_no_decision_can_say_is_refused_and_shown(self, answer: Any, what: str) -> None:
        sentence = f"The listener Deciding {what}. It may return LaunchPreview, RemovePreview, Skip or None."
        with capture_logs() as logs:
            async with heard(Deciding(answer)) as harness:
                await harness.assert_live()
                environment = await harness.the()
                picture = await harness.store.read(lambda tx: report_state_of(tx, environment.id))
                [finding] = await harness.running.control_plane.plugins.invoker.failures.run()
                notices = harness.running.control_plane.plugins.invoker.failures.notices
        assert picture is not None
        assert picture.handler_failures == (sentence,)
        assert [line["error"] for line in logs if line["event"] == "handler_failed"] == [sentence]
        assert [line["outcome"] for line in logs if line["event"] == "delivery_done"] == [
            f"launched; {sentence}"
        ]
        assert f"{finding.message} {finding.hint}" == sentence
        assert notices["handlers"].startswith("1 handler failed")
        assert "hunter2" not in str(logs)

    async def test_a_failure_is_noted_once_and_cleared_by_the_next_success(self) -> None:
        async with heard(Deciding(Reply("mine"), Reply("mine"), LaunchPreview())) as harness:
            [change] = await harness.forge.open_changes(harness.forge._repositories[0])
            await harness.deliver(ChangeEvent(ChangeAction.EDITED, change))
            await harness.rest(5)
            environment = await harness.the()
            picture = await harness.store.read(lambda tx: report_state_of(tx, environment.id))
            assert picture is not None
            assert len(picture.handler_failures) == 1
            assert harness.running.control_plane.plugins.invoker.failures.notices
            await self.push(harness)
            assert harness.running.control_plane.plugins.invoker.failures.notices == {}
            picture = await harness.store.read(lambda tx: report_state_of(tx, environment.id))
            assert picture is not None
            assert picture.handler_failures == ()

    @staticmethod
    async def push(harness: Harness) -> None:
        [change] = await harness.forge.open_changes(harness.forge._repositories[0])
        seen = ChangeEvent(ChangeAction.OPENED, change)
        await harness.deliver(harness.forge.push(seen, change.head_sha + "0"))
        await harness.rest(5)  # less than to the next resync, which asks the listeners again

    @pytest.mark.requirement("R65")
    async def test_without_any_nothing_happens(self) -> None:
        async with heard(only=True) as harness:
            assert await harness.environments() == []

    @pytest.mark.requirement("R65")
    async def test_without_the_one_that_kills_a_preview_outlives_its_change(self) -> None:
        async with heard(LaunchOnGithubPullRequestOpened(), only=True) as harness:
            [change] = await harness.forge.open_changes(harness.forge._repositories[0])
            await harness.deliver(harness.forge.close(ChangeEvent("closed", change)))  # type: ignore[arg-type]
            await harness.rest()

            await harness.assert_live()

    async def test_the_one_for_pushes_does_no_harm_beside_the_one_that_launches(self) -> None:
        async with heard(ReLaunchOnGithubPullRequestSynchronized()) as harness:
            assert (await harness.the()).desired.generation == 1
            await harness.assert_live()

    async def test_the_one_for_pushes_alone_launches_at_the_first_push(self) -> None:
        both = [ReLaunchOnGithubPullRequestSynchronized(), KillOnGithubPullRequestClosed()]
        async with Harness(listeners=both, credentials=False).open() as harness:
            opened = harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", "a")
            await harness.deliver(opened)
            await harness.rest()
            assert await harness.environments() == []
            await harness.deliver(harness.forge.push(opened, "b"))
            await harness.rest()

            await harness.assert_live()


class TestTrust:
    async def test_a_fork_is_refused_with_a_reason(self, harness: Harness) -> None:
        forge = harness.forge
        base, fork = forge.add_repository("acme", "shop"), forge.add_repository("mallory", "shop")
        opened = forge.open(base, "feature-x", "a", fork=fork)
        await harness.deliver(opened, forge.push(opened, "b"))
        await harness.rest()

        status, suspension = await harness.status(), (await harness.the()).desired.suspension
        assert (status.state, status.reason) == (State.REFUSED, "approval")
        assert suspension
        assert suspension.reason is SuspensionReason.APPROVAL
        assert harness.engine.there() == []

    async def test_its_branch_is_nobodys_name_for_anything(self, harness: Harness) -> None:
        """Or a stranger's pull request could take a branch's name and address."""
        forge = harness.forge
        base, fork = forge.add_repository("acme", "shop"), forge.add_repository("mallory", "shop")
        await harness.deliver(forge.open(base, "feature-x", "a", fork=fork))
        await harness.rest()
        launched = await harness.launch("feature-x")
        await harness.rest()

        assert launched.change is None
        assert launched.host.startswith("feature-x.")
        assert [i.environment for i in harness.engine.there()] == [launched.id]

    async def test_a_closed_fork_is_gone(self, harness: Harness) -> None:
        forge = harness.forge
        base, fork = forge.add_repository("acme", "shop"), forge.add_repository("mallory", "shop")
        opened = forge.open(base, "feature-x", "a", fork=fork)
        await harness.deliver(opened)
        await harness.rest()
        forge.delete_head(opened)
        await harness.deliver(forge.close(opened))
        await harness.rest()

        assert (await harness.status()).state is State.GONE

    async def test_closed_after_its_head_repository_was_deleted(self, harness: Harness) -> None:
        opened = harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", "a")
        await harness.deliver(opened)
        await harness.rest()
        await harness.assert_live()
        harness.forge.delete_head(opened)
        await harness.deliver(harness.forge.close(opened))
        await harness.rest()

        await harness.assert_gone()


class TestApplications:
    async def test_a_repository_that_none_is_for(self, harness: Harness) -> None:
        await harness.deliver(
            harness.forge.open(harness.forge.add_repository("acme", "blog"), "feature-x", "a")
        )
        await harness.rest()

        assert await harness.environments() == []

    @pytest.mark.parametrize(
        ("owner", "taken"), [("acme", True), ("Acme", True), ("mallory", False), ("", True)]
    )
    async def test_whose_owner_must_fit(self, owner: str, taken: bool) -> None:
        async with Harness([replace(SHOP, owner=owner)]).open() as harness:
            await harness.deliver(
                harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", "a")
            )
            await harness.rest()

            assert bool(await harness.environments()) is taken

    @pytest.mark.parametrize("credentials", [True, False], ids=["asked", "told"])
    async def test_of_two_repositories_of_one_name_the_first_has_it(self, credentials: bool) -> None:
        async with Harness(credentials=credentials).open() as harness:
            forge = harness.forge
            ours, theirs = forge.add_repository("acme", "shop"), forge.add_repository("mallory", "shop")
            opened = [forge.open(repository, "feature-x", "a") for repository in (ours, theirs)]
            with capture_logs() as logs:
                await harness.deliver(*opened)
                await harness.rest()

            [environment] = await harness.environments()
            assert environment.change
            assert environment.change.repository_id == ours.id
            [done] = [line for line in logs if line.get("delivery") == forge.delivery(opened[1]).id][1:]
            assert done["outcome"].startswith(
                "refused: images.shop is bound to acme/shop with the repository id"
            )
            assert "mallory/shop with the id fake:102. Set images.shop.repo_owner" in done["outcome"]
            assert [line["repository"] for line in logs if line["event"] == "repository_refused"] == [
                "mallory/shop"
            ]
            await harness.deliver(forge.say(opened[1], "/stager launch"))
            await harness.rest()
            assert len(await harness.environments()) == 1


class TestNames:
    async def test_names_that_look_alike_get_hosts_of_their_own(self, harness: Harness) -> None:
        repository = harness.forge.add_repository("acme", "shop")
        refs = ["feature/x", "feature-x", "Feature/X", "feature\\x", "feature@x", "féature_x"]
        for ref in refs:
            await harness.deliver(harness.forge.open(repository, ref, "a"))
        await harness.rest()

        environments = await harness.environments()
        assert [e.name for e in environments] == refs
        assert len({e.host for e in environments}) == len(refs)
        for environment in environments:
            await harness.assert_live(environment)

    @pytest.mark.parametrize("ref", ["default", "DEFAULT", "日本語", "a" * 80, "-", "xn--bcher-kva"])
    async def test_any_branch_gets_a_host(self, harness: Harness, ref: str) -> None:
        await harness.deliver(harness.forge.open(harness.forge.add_repository("acme", "shop"), ref, "a"))
        await harness.rest()

        label = (await harness.the()).host.removesuffix(".preview.test")
        assert label not in ("", "default")
        assert len(label) <= 63
        instance = await harness.assert_live()
        assert harness.engine.spec(instance.id).variables["container_name"] == ref

    async def test_one_change_keeps_its_host_when_it_is_reopened(self, harness: Harness) -> None:
        opened = harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature/x", "a")
        await harness.deliver(opened)
        await harness.rest()
        host = (await harness.the()).host
        await harness.deliver(harness.forge.close(opened))
        await harness.rest()
        await harness.deliver(harness.forge.reopen(opened))
        await harness.rest()

        assert (await harness.the()).host == host
