"""Which changes get a preview, from delivery to page: rules, forks, checks, and what people let run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from stager.control.pull_requests.change_events import PAUSE_AFTER_FAILURE
from stager.domain.environment import UNAPPROVED, SuspensionReason
from stager.domain.errors import Refused
from stager.domain.pull_requests.events import ChangeAction, ChangeEvent
from stager.domain.pull_requests.rules import Rules
from stager.domain.route import Page
from stager.domain.source import Repository
from stager.domain.status import State
from stager.ports.forge import Checks, Progress
from stager.settings.values.patterns import Pattern
from stager.testing import FaultMode
from tests.unit.control.harness import ANN, SHOP, Harness

SHA = "a1b2c3d4e5f6a1b2c3d4e5f6a1b2c3d4e5f6a1b2"
OTHER = "f6e5d4c3b2a1f6e5d4c3b2a1f6e5d4c3b2a1f6e5"
APP = replace(SHOP, owner="acme")
RESYNC = 301.0
"""Seconds after which the forge was asked for everything once more."""


class Gate(Harness):
    """A harness with a repository, whose forge notes what it is asked."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.repository: Repository = self.forge.add_repository("acme", "shop")
        self.asked: list[str] = []
        for name in ("paths", "checks"):
            self._note(name)

    def _note(self, name: str) -> None:
        method = getattr(self.forge, name)

        async def noting(*arguments: Any, **named: Any) -> Any:
            self.asked.append(name)
            return await method(*arguments, **named)

        setattr(self.forge, name, noting)

    async def opened(self, sha: str = SHA, ref: str = "feature-x", **given: Any) -> ChangeEvent:
        event = self.forge.open(self.repository, ref, sha, **given)
        await self.deliver(event)
        await self.rest(30)
        return event

    async def opened_by_fork(self, sha: str = SHA, **given: Any) -> ChangeEvent:
        return await self.opened(sha, fork=self.forge.add_repository("mallory", "shop"), **given)

    async def happened(self, event: ChangeEvent) -> ChangeEvent:
        """This happened, was delivered, and came to rest."""
        await self.deliver(event)
        await self.rest(30)
        return event

    async def assert_refused(self, reason: SuspensionReason, *said: str) -> None:
        """Nothing runs; page, status and API give the reason, and a comment if a user has to do something."""
        environment, status = await self.the(), await self.status()
        suspension, page = environment.desired.suspension, self.target(environment.host)
        assert suspension is not None, status
        assert (suspension.reason, status.state) == (reason, State.REFUSED)
        for text in said:
            assert text in f"{suspension.message} {suspension.hint}"
        assert self.engine.there(environment.id) == []
        assert isinstance(page, Page)
        shown = reason.value if reason in (SuspensionReason.APPROVAL, SuspensionReason.CHECKS) else "refused"
        assert (page.state, page.message, page.hint) == (shown, suspension.message, suspension.hint)
        told = self.forge.statuses[-1]
        assert (told.sha, told.announcement.description) == (
            environment.desired.revision.sha,
            suspension.message,
        )
        assert told.announcement.progress is Progress.SUCCESS, "a required check mustn't wait for ever"
        comments = [c.body for c in self.forge.comments if c.ours]
        assert len(comments) == (1 if reason in UNAPPROVED or environment.comment_id else 0)
        assert all(
            suspension.message.partition("`")[0].rstrip() in body.replace("\\", "") for body in comments
        )


def rules_of(**given: Any) -> Rules:
    """Rules, with a title's pattern as it is written."""
    said: dict[str, Any] = {k: Pattern(v) if k == "title" else v for k, v in given.items()}
    return Rules(**said)


def ruled(**rules: Any) -> Gate:
    """A harness with these rules."""
    return Gate([replace(APP, rules=rules_of(**rules))])


def forked(mode: Any, **rules: Any) -> Gate:
    """A harness with this mode for forks."""
    return Gate([replace(APP, forks=mode, rules=rules_of(**rules))])


class TestRefusals:
    @pytest.mark.parametrize(
        ("rules", "given", "said"),
        [
            ({"labels": ("preview",)}, {}, 'No preview: it doesn\'t have the label "preview".'),
            ({"without_labels": ("wip",)}, {"labels": ("WIP",)}, 'No preview: it has the label "WIP".'),
            ({"title": "^feat"}, {"title": "Typo"}, "No preview: its title doesn't match `^feat`."),
            ({"authors": ("ann",)}, {"author": "bob"}, "No preview: its author isn't on the list"),
            ({"bases": ("release/*",)}, {}, 'No preview: only pull requests into "release/*" get one.'),
            ({"drafts": False}, {"draft": True}, "No preview: this is a draft."),
            ({}, {"author_is_bot": True}, "No preview: a bot opened this pull request."),
            ({}, {"title": "x [skip preview]"}, "No preview: its author opted out"),
            ({}, {"description": "x [no preview]"}, "No preview: its author opted out"),
            (
                {"paths": ("web/*",)},
                {},
                'No preview: this pull request changes no file that matches "web/*".',
            ),
        ],
    )
    async def test_each_has_its_sentence(
        self, rules: dict[str, Any], given: dict[str, Any], said: str
    ) -> None:
        async with ruled(**rules).open() as gate:
            await gate.opened(**given)

            await gate.assert_refused(SuspensionReason.RULES, said)
            assert (await gate.the()).desired.generation == 1

    @pytest.mark.parametrize(
        ("rules", "given"),
        [
            ({"labels": ("preview",)}, {"labels": ("Preview",)}),
            ({"bots": True}, {"author_is_bot": True}),
            ({"authors": ("Octocat",), "bases": ("main",), "title": "change", "drafts": False}, {}),
        ],
    )
    async def test_what_fits_runs(self, rules: dict[str, Any], given: dict[str, Any]) -> None:
        async with ruled(**rules).open() as gate:
            await gate.opened(**given)

            await gate.assert_live()

    async def test_last_through_pushes_and_comparisons(self) -> None:
        async with ruled(drafts=False).open() as gate:
            event = await gate.opened(draft=True)
            await gate.happened(gate.forge.push(event, OTHER))
            await gate.rest(2 * RESYNC)

            await gate.assert_refused(SuspensionReason.RULES, "this is a draft")
            assert (await gate.the()).desired.revision.sha == OTHER

    async def test_a_closed_one_is_gone(self) -> None:
        async with ruled(drafts=False).open() as gate:
            event = await gate.opened(draft=True)
            await gate.happened(gate.forge.close(event))

            await gate.assert_gone()
            assert (await gate.status()).state is State.GONE

    async def test_the_delivery_counts_if_the_forge_cant_be_asked(self) -> None:
        async with Gate([replace(APP, rules=Rules(labels=("preview",)))], credentials=False).open() as gate:
            event = await gate.opened()
            assert (await gate.status()).state is State.REFUSED
            await gate.happened(gate.forge.edit(event, labels=("preview",)))

            await gate.assert_live()


class TestEdits:
    async def test_a_label_brings_it_and_takes_it(self) -> None:
        async with ruled(labels=("preview",)).open() as gate:
            event = await gate.opened()
            await gate.assert_refused(SuspensionReason.RULES)
            for labels in (("preview",), ("bug",), ("bug", "preview")):
                await gate.happened(gate.forge.edit(event, labels=labels))
                if "preview" in labels:
                    await gate.assert_live()
                else:
                    await gate.assert_refused(SuspensionReason.RULES)

    @pytest.mark.parametrize(
        ("rules", "given", "edit"),
        [
            ({"without_labels": ("wip",)}, {"labels": ("wip",)}, {"labels": ()}),
            ({"drafts": False}, {"draft": True}, {"draft": False}),
            ({"title": "^feat"}, {"title": "wip"}, {"title": "feat: x"}),
            ({}, {"title": "x [skip preview]"}, {"title": "x"}),
            ({}, {"description": "[skip preview]"}, {"description": ""}),
        ],
    )
    async def test_whatever_was_in_the_way(
        self, rules: dict[str, Any], given: dict[str, Any], edit: dict[str, Any]
    ) -> None:
        async with ruled(**rules).open() as gate:
            event = await gate.opened(**given)
            await gate.assert_refused(SuspensionReason.RULES)
            await gate.happened(gate.forge.edit(event, **edit))

            await gate.assert_live()

    async def test_a_label_without_a_rule_restarts_nothing(self) -> None:
        async with ruled(labels=("preview",), without_labels=("wip",)).open() as gate:
            event = await gate.opened(labels=("preview",))
            before = await gate.assert_live()
            await gate.happened(gate.forge.edit(event, labels=("preview", "bug")))
            await gate.rest(RESYNC)

            assert (await gate.assert_live()).id == before.id
            assert (await gate.the()).desired.generation == 1

    async def test_that_takes_one_away_whose_edit_got_lost_is_found_in_time(self) -> None:
        async with ruled(labels=("preview",)).open() as gate:
            event = await gate.opened(labels=("preview",))
            gate.forge.edit(event, labels=())
            await gate.rest(RESYNC)

            await gate.assert_refused(SuspensionReason.RULES)

    async def test_another_sentence_takes_the_place_of_the_one_before(self) -> None:
        async with ruled(labels=("preview",), drafts=False).open() as gate:
            event = await gate.opened(draft=True)
            await gate.assert_refused(SuspensionReason.RULES, "this is a draft")
            await gate.happened(gate.forge.edit(event, draft=False))

            await gate.assert_refused(SuspensionReason.RULES, "doesn't have the label")

    async def test_a_new_title_is_stored_and_nothing_else_happens(self) -> None:
        async with ruled().open() as gate:
            event = await gate.opened()
            before = await gate.assert_live()
            await gate.happened(gate.forge.edit(event, title="Another"))

            change = (await gate.the()).change
            assert change is not None
            assert change.title == "Another"
            assert (await gate.assert_live()).id == before.id


class TestPaths:
    async def test_are_requested_once_for_a_commit(self) -> None:
        async with ruled(paths=("web/*",)).open() as gate:
            event = gate.forge.open(gate.repository, "feature-x", SHA)
            gate.forge.touch(event, "README", "web/a.css")
            await gate.rest(1)  # not at the very moment of a comparison
            await gate.happened(event)
            await gate.happened(gate.forge.edit(event, labels=("bug",)))
            await gate.rest(3 * RESYNC)

            await gate.assert_live()
            assert gate.asked == ["paths"]

    async def test_a_push_that_touches_one_brings_it(self) -> None:
        async with ruled(paths=("web/*",)).open() as gate:
            event = gate.forge.open(gate.repository, "feature-x", SHA)
            gate.forge.touch(event, "README")
            await gate.happened(event)
            await gate.assert_refused(SuspensionReason.RULES, "changes no file")
            gate.forge.touch(event, "README", "web/a.css")
            await gate.happened(gate.forge.push(event, OTHER))

            await gate.assert_live()

    async def test_arent_requested_if_it_is_refused_anyhow(self) -> None:
        async with ruled(paths=("web/*",), drafts=False).open() as gate:
            await gate.opened(draft=True)

            assert gate.asked == []

    @pytest.mark.parametrize("mode", [FaultMode.FAILING, FaultMode.PARTIAL])
    async def test_a_silent_forge_is_waited_for(self, mode: FaultMode) -> None:
        async with ruled(paths=("web/*",)).open() as gate:
            event = gate.forge.open(gate.repository, "feature-x", SHA)
            gate.forge.touch(event, "web/a.css")
            gate.forge.fault_mode = mode
            await gate.deliver(event)
            await gate.rest(60)
            status = await gate.status()
            assert (status.state, status.reason) == (State.REFUSED, "rules")
            assert status.message == "No preview yet: the forge doesn't answer."
            assert gate.engine.there() == []
            gate.forge.fault_mode = FaultMode.WELL
            await gate.rest(RESYNC)

            await gate.assert_live()

    async def test_without_credentials_paths_are_unknown(self) -> None:
        async with Gate([replace(APP, rules=Rules(paths=("web/*",)))], credentials=False).open() as gate:
            await gate.opened()

            assert "Configure credentials" in (await gate.status()).hint


class TestChecks:
    @pytest.mark.parametrize(
        ("outcome", "said"),
        [
            (None, "No preview yet: the commit has no checks yet."),
            ("pending", "No preview yet: the commit's checks are running."),
            ("failure", "No preview yet: the commit's checks failed."),
        ],
    )
    async def test_arent_passed(self, outcome: Checks | None, said: str) -> None:
        async with ruled(wait_for_checks=True).open() as gate:
            if outcome:
                gate.forge.check(gate.repository, SHA, outcome)
            await gate.opened()

            await gate.assert_refused(SuspensionReason.CHECKS, said)

    async def test_that_passed_before(self) -> None:
        async with ruled(wait_for_checks=True).open() as gate:
            gate.forge.check(gate.repository, SHA)
            await gate.opened()

            await gate.assert_live()

    async def test_their_end_is_received(self) -> None:
        async with ruled(wait_for_checks=True).open() as gate:
            gate.forge.check(gate.repository, SHA, "pending")
            await gate.opened()
            await gate.deliver(gate.forge.check(gate.repository, SHA))
            await gate.rest(30)

            await gate.assert_live()

    async def test_the_end_of_one_of_two_isnt_enough(self) -> None:
        async with ruled(wait_for_checks=True).open() as gate:
            gate.forge.check(gate.repository, SHA, "pending", context="slow")
            await gate.opened()
            await gate.deliver(gate.forge.check(gate.repository, SHA, context="quick"))
            await gate.rest(30)
            await gate.assert_refused(SuspensionReason.CHECKS)
            ended = gate.forge.check(gate.repository, SHA, context="slow")
            await gate.running.inbox.receive(gate.forge.delivery(ended, "d-slow"))
            await gate.rest(30)

            await gate.assert_live()

    async def test_of_another_commit_change_nothing(self) -> None:
        async with ruled(wait_for_checks=True).open() as gate:
            await gate.opened()
            asked = len(gate.asked)
            await gate.deliver(gate.forge.check(gate.repository, OTHER))
            await gate.rest(30)

            await gate.assert_refused(SuspensionReason.CHECKS)
            assert len(gate.asked) == asked

    async def test_our_own_status_isnt_one(self) -> None:
        async with ruled(wait_for_checks=True).open() as gate:
            gate.forge.check(gate.repository, SHA, "pending", context="stager/shop")
            gate.forge.check(gate.repository, SHA)
            await gate.opened()

            await gate.assert_live()

    async def test_an_end_that_got_lost_is_found_in_time(self) -> None:
        async with ruled(wait_for_checks=True).open() as gate:
            await gate.opened()
            gate.forge.check(gate.repository, SHA)
            await gate.rest(RESYNC)

            await gate.assert_live()

    async def test_a_new_commit_has_checks_of_its_own(self) -> None:
        async with ruled(wait_for_checks=True).open() as gate:
            gate.forge.check(gate.repository, SHA)
            event = await gate.opened()
            gate.forge.check(gate.repository, OTHER, "pending")
            await gate.happened(gate.forge.push(event, OTHER))
            await gate.assert_refused(SuspensionReason.CHECKS)
            await gate.deliver(gate.forge.check(gate.repository, OTHER))
            await gate.rest(30)

            instance = await gate.assert_live()
            assert gate.engine.spec(instance.id).labels.revision.sha == OTHER

    async def test_that_fail_later_take_nothing_away(self) -> None:
        """The commit was let run; its checks aren't asked for again."""
        async with ruled(wait_for_checks=True).open() as gate:
            gate.forge.check(gate.repository, SHA)
            await gate.opened()
            await gate.deliver(gate.forge.check(gate.repository, SHA, "failure", context="late"))
            await gate.rest(2 * RESYNC)

            await gate.assert_live()

    async def test_an_end_for_several_changes_with_one_commit(self) -> None:
        async with ruled(wait_for_checks=True).open() as gate:
            for ref in ("feature-x", "feature-y"):
                await gate.opened(ref=ref)
            await gate.deliver(gate.forge.check(gate.repository, SHA))
            await gate.rest(30)

            for environment in await gate.environments():
                await gate.assert_live(environment)

    async def test_one_that_was_closed_meanwhile_stays_away(self) -> None:
        async with ruled(wait_for_checks=True).open() as gate:
            event = await gate.opened()
            await gate.happened(gate.forge.close(event))
            await gate.deliver(gate.forge.check(gate.repository, SHA))
            await gate.rest(30)

            await gate.assert_gone()

    async def test_a_silent_forge_is_waited_for(self) -> None:
        async with ruled(wait_for_checks=True).open() as gate:
            event = gate.forge.open(gate.repository, "feature-x", SHA)
            gate.forge.check(gate.repository, SHA)
            gate.forge.fault_mode = FaultMode.FAILING
            await gate.deliver(event)
            await gate.rest(60)
            assert (await gate.status()).message == "No preview yet: the forge doesn't answer."
            gate.forge.fault_mode = FaultMode.WELL
            await gate.rest(PAUSE_AFTER_FAILURE.total_seconds())
            await gate.deliver(gate.forge.check(gate.repository, SHA, context="another"))
            await gate.rest(30)

            await gate.assert_live()


class TestForks:
    async def test_off_is_never(self) -> None:
        async with forked("off").open() as gate:
            event = await gate.opened_by_fork()
            await gate.assert_refused(
                SuspensionReason.FORK, "comes from a fork, and previews of forks are off"
            )
            with pytest.raises(Refused) as caught:
                await gate.running.commands.approve((await gate.the()).id, SHA, ANN)
            assert caught.value.reason == "fork"
            await gate.happened(gate.forge.push(event, OTHER))

            await gate.assert_refused(SuspensionReason.FORK)

    async def test_switched_off_later_ends_what_was_approved(self) -> None:
        async with forked("approve").open() as gate:
            await gate.opened_by_fork()
            await self.approve(gate)
            await gate.assert_live()
            await gate.kill()
            gate.applications = [replace(APP, forks="off")]
            await gate.start()
            await gate.rest(RESYNC)

            await gate.assert_refused(SuspensionReason.FORK)

    async def test_open_is_always(self) -> None:
        async with forked("open").open() as gate:
            await gate.opened_by_fork()

            instance = await gate.assert_live()
            assert gate.engine.spec(instance.id).variables["STAGER_TRUST"] == "fork"

    async def test_open_has_rules_all_the_same(self) -> None:
        async with forked("open", drafts=False).open() as gate:
            await gate.opened_by_fork(draft=True)

            await gate.assert_refused(SuspensionReason.RULES)

    async def test_waits_for_approval(self) -> None:
        async with forked("approve").open() as gate:
            await gate.opened_by_fork()
            await gate.assert_refused(
                SuspensionReason.APPROVAL, "its newest commit isn't approved", f"`/stager approve {SHA}`"
            )
            await gate.rest(2 * RESYNC)
            await gate.assert_refused(SuspensionReason.APPROVAL)
            await self.approve(gate)
            await gate.assert_live()
            await gate.rest(2 * RESYNC)

            await gate.assert_live()
            assert (await gate.the()).desired.generation == 2

    async def test_a_push_needs_another_approval(self) -> None:
        async with forked("approve").open() as gate:
            event = await gate.opened_by_fork()
            await self.approve(gate)
            await gate.happened(gate.forge.push(event, OTHER))
            await gate.assert_refused(SuspensionReason.APPROVAL, OTHER)
            await self.approve(gate, OTHER)

            instance = await gate.assert_live()
            assert gate.engine.spec(instance.id).labels.revision.sha == OTHER

    async def test_a_push_back_to_what_was_approved_last_needs_nothing(self) -> None:
        async with forked("approve").open() as gate:
            event = await gate.opened_by_fork()
            await self.approve(gate)
            await gate.happened(gate.forge.push(event, OTHER))
            await gate.happened(gate.forge.push(event, SHA))

            await gate.assert_live()

    @pytest.mark.attack(
        "A second commit whose id begins with the same digits as the reviewed one",
        profile="author of a fork",
        result="the approval names the full id, so it is refused for another commit",
    )
    @pytest.mark.parametrize("sha", [OTHER, "0" * 40, SHA[:39] + "0", SHA[:7] + OTHER[7:], "a" * 64])
    async def test_another_commit_than_the_one_that_waits(self, sha: str) -> None:
        """Also one that shares its first digits."""
        async with forked("approve").open() as gate:
            await gate.opened_by_fork()
            with pytest.raises(Refused) as caught:
                await gate.running.commands.approve((await gate.the()).id, sha, ANN)

            assert (caught.value.reason, caught.value.status) == ("commit-outdated", 409)
            assert SHA in caught.value.message
            await gate.assert_refused(SuspensionReason.APPROVAL)

    @pytest.mark.attack(
        "An approval that names only a part of a commit id",
        profile="author of a fork",
        result="refused, with the full id of the commit that waits",
    )
    @pytest.mark.parametrize(
        "sha", ["", "a", SHA[:7], SHA[:12], SHA[:39], SHA + "0", f"{SHA}\n", "z" * 40, "١" * 40, "HEAD"]
    )
    async def test_anything_but_a_whole_id(self, sha: str) -> None:
        """Two commits with the same first digits are made in no time."""
        async with forked("approve").open() as gate:
            await gate.opened_by_fork()
            with pytest.raises(Refused) as caught:
                await gate.running.commands.approve((await gate.the()).id, sha, ANN)

            assert (caught.value.reason, caught.value.status) == ("commit-incomplete", 400)
            assert SHA in caught.value.message
            await gate.assert_refused(SuspensionReason.APPROVAL)

    async def test_the_commit_before_the_last_push(self) -> None:
        """The approval is for another commit than the one that would run."""
        async with forked("approve").open() as gate:
            event = await gate.opened_by_fork()
            await gate.happened(gate.forge.push(event, OTHER))
            with pytest.raises(Refused, match=OTHER):
                await gate.running.commands.approve((await gate.the()).id, SHA, ANN)

            await gate.assert_refused(SuspensionReason.APPROVAL)

    async def test_in_capital_letters(self) -> None:
        async with forked("approve").open() as gate:
            await gate.opened_by_fork()
            await self.approve(gate, SHA.upper())

            await gate.assert_live()

    async def test_of_a_closed_one(self) -> None:
        async with forked("approve").open() as gate:
            event = await gate.opened_by_fork()
            await gate.happened(gate.forge.close(event))
            with pytest.raises(Refused) as caught:
                await gate.running.commands.approve((await gate.the()).id, SHA, ANN)
            assert caught.value.reason == "closed"
            assert (await gate.the()).approved_sha == ""
            await gate.happened(gate.forge.reopen(event))

            await gate.assert_refused(SuspensionReason.APPROVAL)

    async def test_holds_back_what_rules_exclude_as_well(self) -> None:
        """Or a stranger could trade the one no for the other, which anybody may launch against."""
        async with forked("approve", drafts=False).open() as gate:
            event = await gate.opened_by_fork(draft=True, title="x [skip preview]")
            environment = await gate.the()
            await gate.assert_refused(SuspensionReason.APPROVAL)
            for tried in (gate.running.commands.override_policy, gate.running.commands.redeploy):
                with pytest.raises(Refused) as caught:
                    await tried(environment.id, ANN)
                assert caught.value.reason == "approval"
            await gate.happened(gate.forge.edit(event, title="y [skip preview]"))
            await gate.stop("feature-x")
            await gate.launch("feature-x")
            await gate.rest(30)

            assert all(i.environment != environment.id for i in gate.engine.there())

    async def test_an_approved_one_isnt_held_back_by_rules(self) -> None:
        async with forked("approve", drafts=False, wait_for_checks=True).open() as gate:
            await gate.opened_by_fork(draft=True)
            await self.approve(gate)
            await gate.rest(RESYNC)

            await gate.assert_live()
            assert gate.asked == []

    async def test_killed_manually_it_may_be_launched_again_until_the_next_push(self) -> None:
        async with forked("approve").open() as gate:
            event = await gate.opened_by_fork()
            await self.approve(gate)
            environment = await gate.the()
            await gate.running.commands.kill_by_id(environment.id, ANN)
            await gate.rest(30)
            assert (await gate.status()).state is State.STOPPED
            await gate.happened(gate.forge.push(event, OTHER))
            await gate.assert_refused(SuspensionReason.APPROVAL)

            with pytest.raises(Refused):
                await gate.running.commands.redeploy(environment.id, ANN)

    async def approve(self, gate: Gate, sha: str = SHA) -> None:
        await gate.running.commands.approve((await gate.the()).id, sha, ANN)
        await gate.rest(30)


class TestManualLaunch:
    """What people launch against the rules stays, for this very commit."""

    @pytest.fixture
    async def gate(self) -> AsyncIterator[Gate]:
        async with ruled(labels=("preview",)).open() as opened:
            yield opened

    @pytest.mark.parametrize("how", ["override_policy", "redeploy", "launch"])
    async def test_launched(self, gate: Gate, how: str) -> None:
        event = await gate.opened()
        await gate.assert_refused(SuspensionReason.RULES)
        if how == "launch":
            await gate.launch("feature-x")
        else:
            await getattr(gate.running.commands, how)((await gate.the()).id, ANN)
        await gate.rest(30)
        await gate.assert_live()
        await gate.happened(gate.forge.edit(event, labels=("bug",)))
        await gate.rest(2 * RESYNC)
        await gate.assert_live()
        await gate.happened(gate.forge.push(event, OTHER))

        await gate.assert_refused(SuspensionReason.RULES)

    async def test_killed_it_stays_away_whatever_the_rules_say(self, gate: Gate) -> None:
        event = await gate.opened(labels=("preview",))
        await gate.stop("feature-x")
        await gate.happened(gate.forge.edit(event, labels=()))
        await gate.happened(gate.forge.edit(event, labels=("preview",)))
        await gate.rest(RESYNC)

        assert (await gate.status()).state is State.STOPPED

    async def test_a_manual_refresh_doesnt_override_the_rules(self, gate: Gate) -> None:
        event = await gate.opened(labels=("preview",))
        await gate.running.commands.redeploy((await gate.the()).id, ANN)
        await gate.happened(gate.forge.edit(event, labels=()))

        await gate.assert_refused(SuspensionReason.RULES)


class TestRenamed:
    """A repository's id outlives its name."""

    async def test_keeps_its_previews_under_the_new_name(self) -> None:
        async with Gate([replace(APP, owner="")]).open() as gate:
            event = await gate.opened()
            before = await gate.assert_live()
            renamed = replace(gate.repository, owner="acme-corp", name="Shop")
            change = replace(
                event.change,
                repository=renamed,
                head_repository=renamed,
                url="https://forge.test/acme-corp/Shop/pull/1",
            )
            gate.forge._changes[gate.repository.id, 1] = change
            await gate.happened(ChangeEvent(ChangeAction.EDITED, change))

            link = (await gate.the()).change
            assert link is not None
            assert (link.owner, link.repository, link.url) == ("acme-corp", "Shop", change.url)
            assert (await gate.assert_live()).id == before.id
            assert len(await gate.environments()) == 1
            pushed = gate.forge.push(ChangeEvent(ChangeAction.EDITED, change), OTHER)
            await gate.happened(pushed)
            instance = await gate.assert_live()
            assert gate.engine.spec(instance.id).variables["STAGER_REPOSITORY"] == "acme-corp/Shop"
