"""What people ask for directly, and what they are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace

import pytest

from stager.control.environments.launch_parameters import MAX_VALUE_LENGTH, RESERVED
from stager.control.environments.lookup import MAX_NAME_LENGTH
from stager.domain.commands import Kill
from stager.domain.environment import SuspensionReason
from stager.domain.errors import Refused, Retry
from stager.domain.pull_requests.events import ChangeEvent
from stager.domain.status import State
from stager.testing import Program
from tests.unit.control.harness import ANN, IMAGE, SHOP, Harness

OUTSIDE = [
    *("refs/pull/34/head", "REFS/pull/34/head", "pull/34/head", "pull/34/merge", "pull//34/head", "pull/34/"),
    *("refs/changes/34/34/1", "changes/34/34/1", "refs/merge-requests/3/head", "merge-requests/3/head"),
    *("refs/pull-requests/3/from", "pull-requests/3/from", "refs/notes/x", "refs/x", "remotes/mallory/x"),
    *(
        "refs/heads/../pull/34/head",
        "keep-around/0123",
        "pipelines/7",
        "HEAD",
        "@",
        "FETCH_HEAD",
        "MERGE_HEAD",
    ),
    *("+refs/pull/34/head", "refs/pull/34/head:x", "main:refs/pull/34/head", "main refs/pull/34/head"),
    *("main pull/34/head", "+pull/34/head:refs/heads/main"),
]
"""Names by which git finds what is in no branch and no tag."""

INSIDE = [
    "feature/x",
    "refs/heads/main",
    "refs/tags/v1",
    "pull/request",
    "changes/august",
    "head",
    "My Demo: 2",
]
INSIDE += ["notes/34", "a1b2c3d", "a" * 39, "refs", "HEADER", "pull", "x@y"]


async def refusal(asked: Awaitable[object]) -> tuple[str, int]:
    """The reason and the status with which this is refused."""
    with pytest.raises(Refused) as caught:
        await asked
    return caught.value.reason, caught.value.status


async def opened(
    harness: Harness, ref: str = "feature-x", owner: str = "acme", name: str = "shop"
) -> ChangeEvent:
    event = harness.forge.open(harness.forge.add_repository(owner, name), ref, "a1")
    await harness.deliver(event)
    await harness.rest()
    return event


class TestLaunch:
    @pytest.mark.parametrize(
        ("app", "name", "reason"),
        [
            ("shop", "", "name-missing"),
            ("shop", " \t", "name-missing"),
            ("shop", "default", "name-reserved"),
            ("shop", "Default", "name-reserved"),
            ("shop", "-default-", "name-reserved"),
            ("shop", "défault", "name-reserved"),
            ("shop", "x" * (MAX_NAME_LENGTH + 1), "name-invalid"),
            ("shop", "a\nb", "name-invalid"),
            ("shop", "a\x00b", "name-invalid"),
            ("", "x", "image-unknown"),
            ("shopp", "x", "image-unknown"),
        ],
    )
    async def test_what_is_refused_changes_nothing(
        self, harness: Harness, app: str, name: str, reason: str
    ) -> None:
        assert await refusal(harness.launch(name, app)) == (reason, 400)
        assert await harness.environments() == []

    @pytest.mark.attack(
        "A launch of refs/pull/34/head, HEAD, a refspec or a pull request's commit id",
        profile="signed-in user",
        result="400; a launch names a branch or a tag",
    )
    @pytest.mark.parametrize("name", [*OUTSIDE, "a" * 40, "A" * 40, "b" * 64, f"+{'a' * 40}:x"])
    async def test_what_may_mean_strangers_code(self, harness: Harness, name: str) -> None:
        """A prebuilt image's boot script hands the name to git."""
        assert await refusal(harness.launch(name)) == ("name-not-branch", 400)
        assert await harness.environments() == []
        assert harness.engine.there() == []

    @pytest.mark.parametrize("name", INSIDE)
    async def test_other_names_may_be_given(self, harness: Harness, name: str) -> None:
        assert (await harness.launch(name)).name == name

    async def test_nor_is_it_redeployed(self, harness: Harness) -> None:
        """An environment of such a name may be there from before."""
        environment = await harness.launch("x")
        await harness.store.write(
            lambda tx: tx.save_environment(replace(environment, name="refs/pull/34/head"))
        )
        asked = harness.running.commands.redeploy(environment.id, ANN)

        assert await refusal(asked) == ("name-not-branch", 400)

    async def test_a_wrong_name_of_an_image_gets_a_hint(self, harness: Harness) -> None:
        with pytest.raises(Refused, match=r'(?i)did you mean "shop"\?'):
            await harness.launch("x", "shopp")

    async def test_the_same_name_again_is_the_same_environment(self, harness: Harness) -> None:
        first, second = await harness.launch("x"), await harness.launch("x")

        assert (first.id, first.host) == (second.id, second.host)
        assert second.desired.generation == 2

    async def test_the_same_name_of_another_app_is_another(self) -> None:
        async with Harness([SHOP, replace(SHOP, name="blog")]).open() as harness:
            first, second = await harness.launch("x", "shop"), await harness.launch("x", "blog")

            assert (first.host, second.host) == ("x.preview.test", "x-blog.preview.test")

    async def test_parameters_are_those_of_the_last_launch(self, harness: Harness) -> None:
        await harness.launch("x", FIRST="1")
        again = await harness.launch("x", SECOND="2")

        assert dict(again.desired.parameters) == {"SECOND": "2"}


class TestParameters:
    @pytest.mark.parametrize(
        "name",
        [
            *("PATH", "LD_PRELOAD", "LD_LIBRARY_PATH", "BASH_ENV", "ENV", "IFS", "NODE_OPTIONS"),
            *("PYTHONPATH", "PYTHONSTARTUP", "RUBYOPT", "PERL5OPT", "JAVA_TOOL_OPTIONS", "GIT_SSH_COMMAND"),
            *("STAGER_URL", "STAGER_TRUST", "STAGER_ANYTHING"),
        ],
    )
    @pytest.mark.requirement("R126")
    async def test_what_would_decide_what_runs_is_refused(self, harness: Harness, name: str) -> None:
        assert await refusal(harness.launch("x", **{name: "1"})) == ("parameter-refused", 400)

    @pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "Ä", "A\nB", "A\x00"])
    async def test_what_cant_be_a_variable_is_refused(self, harness: Harness, name: str) -> None:
        assert await refusal(harness.launch("x", **{name: "1"})) == ("parameter-invalid", 400)

    @pytest.mark.parametrize("value", ["a\x00b", "x" * (MAX_VALUE_LENGTH + 1)])
    async def test_what_cant_be_a_value_is_refused(self, harness: Harness, value: str) -> None:
        assert await refusal(harness.launch("x", A=value)) == ("parameter-invalid", 400)

    @pytest.mark.requirement("R126")
    async def test_ours_never_reach_the_instance_as_given(self, harness: Harness) -> None:
        await harness.launch("x", **dict.fromkeys(RESERVED, "forged"))
        await harness.rest()

        spec = harness.engine.spec((await harness.assert_live()).id)
        assert "forged" not in spec.variables.values()
        assert "github_token" not in spec.variables

    @pytest.mark.parametrize("value", ["", "a b", "ä", "line\nbreak", "$(reboot)", "x" * MAX_VALUE_LENGTH])
    async def test_values_arrive_untouched(self, harness: Harness, value: str) -> None:
        await harness.launch("x", lower_Case9=value)
        await harness.rest()

        assert harness.engine.spec((await harness.assert_live()).id).variables["lower_Case9"] == value


class TestKill:
    async def test_of_an_unknown_name_is_fine(self, harness: Harness) -> None:
        assert await harness.stop("nobody") is None

    async def test_needs_no_application_if_the_name_is_unique(self, harness: Harness) -> None:
        await harness.launch("x")
        await harness.rest()
        await harness.running.commands.kill(Kill("", "x"), ANN)
        await harness.rest()

        await harness.assert_gone()

    async def test_of_an_unknown_image_is_refused(self, harness: Harness) -> None:
        assert await refusal(harness.stop("x", "blog")) == ("image-unknown", 400)

    @pytest.mark.parametrize(("name", "reason"), [("", "name-missing"), ("default", "name-reserved")])
    async def test_of_a_name_that_cant_be(self, harness: Harness, name: str, reason: str) -> None:
        assert await refusal(harness.stop(name)) == (reason, 400)

    async def test_of_an_unknown_id(self, harness: Harness) -> None:
        assert await refusal(harness.running.commands.kill_by_id("nobody", ANN)) == (
            "environment-unknown",
            404,
        )

    async def test_twice(self, harness: Harness) -> None:
        await harness.launch("x")
        await harness.rest()
        await harness.stop("x")
        await harness.stop("x")
        await harness.rest()

        await harness.assert_gone()


class TestKillOfAChange:
    """It holds until the preview is requested again."""

    async def held(self, harness: Harness) -> ChangeEvent:
        event = await opened(harness)
        await harness.stop("feature-x")
        await harness.rest()
        await harness.assert_gone()
        status = await harness.status()
        assert (status.state, status.reason) == (State.STOPPED, SuspensionReason.KILLED.value)
        return event

    async def test_until_a_push(self, harness: Harness) -> None:
        event = await self.held(harness)
        await harness.deliver(harness.forge.push(event, "b2"))
        await harness.rest()

        await harness.assert_live()

    async def test_until_it_is_reopened(self, harness: Harness) -> None:
        event = await self.held(harness)
        closed = harness.forge.close(event)
        await harness.deliver(closed, harness.forge.reopen(event))
        await harness.rest()

        await harness.assert_live()

    async def test_until_it_is_launched(self, harness: Harness) -> None:
        await self.held(harness)
        launched = await harness.launch("feature-x")
        await harness.rest()

        await harness.assert_live()
        assert launched.change is not None
        assert launched.desired.revision.sha == "a1"

    async def test_until_it_is_redeployed(self, harness: Harness) -> None:
        await self.held(harness)
        await harness.running.commands.redeploy((await harness.the()).id, ANN)
        await harness.rest()

        await harness.assert_live()

    async def test_not_until_its_delivery_is_repeated(self, harness: Harness) -> None:
        event = await self.held(harness)
        await harness.running.inbox.receive(harness.forge.delivery(event, "another-id"))
        await harness.rest(1000)

        await harness.assert_gone()

    async def test_closing_it_is_the_end(self, harness: Harness) -> None:
        event = await self.held(harness)
        await harness.deliver(harness.forge.close(event))
        await harness.rest()

        assert (await harness.status()).state is State.GONE


class TestNames:
    async def test_of_the_branch_of_one_open_change_means_that_change(self, harness: Harness) -> None:
        await opened(harness)
        launched = await harness.launch("feature-x", GREETING="hallo")
        await harness.rest()

        assert len(await harness.environments()) == 1
        assert launched.change is not None
        assert harness.engine.spec((await harness.assert_live()).id).variables["GREETING"] == "hallo"

    async def test_of_several_changes_is_ambiguous(self, harness: Harness) -> None:
        first = await opened(harness)
        await harness.deliver(harness.forge.open(first.change.repository, "feature-x", "a2"))
        await harness.rest()

        assert await refusal(harness.launch("feature-x")) == ("name-ambiguous", 409)
        with pytest.raises(Refused, match=r"shop \(pull request #1\), shop \(pull request #2\)"):
            await harness.stop("feature-x")
        for environment in await harness.environments():
            await harness.assert_live(environment)

    async def test_of_several_apps_is_ambiguous_without_the_image(self) -> None:
        async with Harness([SHOP, replace(SHOP, name="blog")]).open() as harness:
            await harness.launch("x", "shop")
            await harness.launch("x", "blog")

            assert await refusal(harness.running.commands.kill(Kill("", "x"), ANN)) == ("name-ambiguous", 409)
            killed = await harness.running.commands.kill(Kill("blog", "x"), ANN)
            assert killed
            assert killed.app == "blog"

    async def test_one_launched_manually_before_the_change_is_removed_first(self, harness: Harness) -> None:
        by_hand = await harness.launch("feature-x")
        await opened(harness)

        assert len(await harness.environments()) == 2
        again = await harness.launch("feature-x")
        assert again.id == by_hand.id

    async def test_of_a_closed_change_is_free_again(self, harness: Harness) -> None:
        event = await opened(harness)
        await harness.deliver(harness.forge.close(event))
        await harness.rest()
        launched = await harness.launch("feature-x")

        assert launched.change is None


class TestRedeploy:
    async def test_is_the_same_again(self, harness: Harness) -> None:
        environment = await harness.launch("x", GREETING="hallo")
        await harness.rest()
        again = await harness.running.commands.redeploy(environment.id, ANN)
        await harness.rest()

        assert again.desired == replace(environment.desired, generation=2)
        await harness.assert_live()

    async def test_of_an_unknown_id(self, harness: Harness) -> None:
        assert await refusal(harness.running.commands.redeploy("nobody", ANN)) == ("environment-unknown", 404)

    async def test_of_a_closed_change(self, harness: Harness) -> None:
        event = await opened(harness)
        await harness.deliver(harness.forge.close(event))
        await harness.rest()

        redeploy = harness.running.commands.redeploy((await harness.the()).id, ANN)
        assert await refusal(redeploy) == ("closed", 409)

    async def test_of_a_fork(self, harness: Harness) -> None:
        base, fork = (
            harness.forge.add_repository("acme", "shop"),
            harness.forge.add_repository("mallory", "shop"),
        )
        await harness.deliver(harness.forge.open(base, "feature-x", "a", fork=fork))
        await harness.rest()

        redeploy = harness.running.commands.redeploy((await harness.the()).id, ANN)
        assert await refusal(redeploy) == ("approval", 409)

    async def test_of_a_fork_that_was_killed(self, harness: Harness) -> None:
        """A manual kill isn't an approval."""
        base, fork = (
            harness.forge.add_repository("acme", "shop"),
            harness.forge.add_repository("mallory", "shop"),
        )
        await harness.deliver(harness.forge.open(base, "feature-x", "a", fork=fork))
        await harness.rest()
        environment = await harness.running.commands.kill_by_id((await harness.the()).id, ANN)
        await harness.rest()

        redeploy = harness.running.commands.redeploy(environment.id, ANN)
        assert await refusal(redeploy) == ("approval", 409)
        assert harness.engine.there() == []

    async def test_of_one_that_was_removed(self, harness: Harness) -> None:
        environment = await harness.launch("x")
        await harness.rest()
        await harness.stop("x")
        await harness.rest()
        await harness.running.commands.redeploy(environment.id, ANN)
        await harness.rest()

        await harness.assert_live()


class TestWaiting:
    async def test_ends_when_it_is_live(self, harness: Harness) -> None:
        harness.engine.delays["start"] = 20
        environment = await harness.launch("x")
        ending = await harness.running.waiters.until_settled(environment, 60)

        assert ending.is_live
        assert harness.served(environment.host)
        assert 20 <= asyncio.get_running_loop().time() - 300 < 22

    async def test_ends_when_it_failed(self, harness: Harness) -> None:
        harness.engine.add_image(IMAGE, Program(exit_code=1))
        ending = await harness.running.waiters.until_settled(await harness.launch("x"), 60)

        assert not ending.is_live
        assert ending.deployment
        assert ending.deployment.attempt.final

    async def test_a_failed_refresh_isnt_live_although_the_old_one_serves(self, harness: Harness) -> None:
        await harness.launch("x")
        await harness.rest()
        harness.engine.add_image(IMAGE, Program(exit_code=1))
        ending = await harness.running.waiters.until_settled(await harness.launch("x"), 60)

        assert ending.environment.serving == 1
        assert not ending.is_live

    async def test_is_satisfied_with_something_newer(self, harness: Harness) -> None:
        harness.engine.delays["start"] = 5
        first = await harness.launch("x")
        waiting = asyncio.create_task(harness.running.waiters.until_settled(first, 60))
        await harness.rest(1)
        await harness.launch("x")

        ending = await waiting
        assert ending.is_live
        assert ending.environment.serving == 2

    async def test_ends_when_it_is_killed(self, harness: Harness) -> None:
        harness.engine.delays["start"] = 50
        waiting = asyncio.create_task(harness.running.waiters.until_settled(await harness.launch("x"), 100))
        await harness.rest(1)
        await harness.stop("x")

        assert not (await waiting).is_live
        assert asyncio.get_running_loop().time() < 310

    async def test_has_an_end_of_its_own(self, harness: Harness) -> None:
        harness.engine.delays["start"] = 50
        environment = await harness.launch("x")
        with pytest.raises(Retry, match="isn't up after 10 s"):
            await harness.running.waiters.until_settled(environment, 10)
        await harness.rest()

        await harness.assert_live()

    async def test_for_the_removal(self, harness: Harness) -> None:
        environment = await harness.launch("x")
        await harness.rest()
        async with harness.router.visit(environment.host):
            killed = await harness.stop("x")
            assert killed
            await harness.running.waiters.until_removed(killed, 60)

        await harness.assert_gone()

    async def test_for_the_removal_of_nothing(self, harness: Harness) -> None:
        await harness.launch("x")
        await harness.rest()
        await harness.stop("x")
        await harness.rest()
        await harness.running.waiters.until_removed(await harness.the(), 1)

    async def test_for_the_removal_has_an_end_of_its_own(self, harness: Harness) -> None:
        harness.engine.delays["remove"] = 50
        await harness.launch("x")
        await harness.rest()
        killed = await harness.stop("x")
        assert killed
        with pytest.raises(Retry, match="wasn't removed within 10 s"):
            await harness.running.waiters.until_removed(killed, 10)

    async def test_for_the_removal_ends_when_it_is_launched_again(self, harness: Harness) -> None:
        harness.engine.delays["remove"] = 50
        await harness.launch("x")
        await harness.rest()
        killed = await harness.stop("x")
        assert killed
        waiting = asyncio.create_task(harness.running.waiters.until_removed(killed, 40))
        await harness.rest(1)
        await harness.launch("x")
        await waiting
