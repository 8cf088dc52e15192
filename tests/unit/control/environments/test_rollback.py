"""Roll backs, from the command to what serves: without a build, from images that are kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from stager.control.builds.gc import GarbageCollection
from stager.control.environments.records import note_of
from stager.domain.allocation import Limit, Limits
from stager.domain.errors import Refused
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.domain.source import Access
from stager.domain.status import State, summary_of
from stager.ports.forge import Progress
from stager.testing import Program
from stager.testing.fakes.builder import Result
from tests.unit.control.builds.test_images import BROKEN, READER, Works
from tests.unit.control.harness import ANN

A, B, C = "a" * 40, "b" * 40, "c" * 40


class History(Works):
    """A pull request with two commits, both of which were live."""

    async def begin(self) -> None:
        self.event = await self.opened(A)
        await self.push(B)

    async def push(self, sha: str) -> None:
        self.event = self.forge.push(self.event, sha)
        await self.deliver(self.event)
        await self.rest(30)

    async def roll_back(self, to: str = "") -> str:
        """The revision; at rest afterwards."""
        rollback = self.running.control_plane.environments.rollback
        done = await rollback.roll_back((await self.the()).id, ANN, to)
        await self.rest(30)
        return done.revision

    async def refusal(self, to: str = "") -> str:
        with pytest.raises(Refused) as refused:
            await self.roll_back(to)
        return refused.value.reason

    async def serves(self) -> str:
        """The commit that visitors see."""
        return self.engine.spec((await self.assert_live()).id).labels.revision.sha

    async def collect(self) -> None:
        gc = self.running.control_plane.builds.gc
        assert isinstance(gc, GarbageCollection)
        await self.rest(3600)  # what was just built isn't removed
        await gc.collect()


@pytest.fixture
async def history() -> AsyncIterator[History]:
    async with History([READER]).open() as opened:
        await opened.begin()
        yield opened


async def test_the_last_good_revision_serves_again_without_a_build(history: History) -> None:
    assert await history.roll_back() == f"commit {A[:7]}"

    assert await history.serves() == A
    assert history.builds == [A, B]
    spec = history.engine.spec((await history.assert_live()).id)
    assert spec.per_commit["STAGER_SHA"] == A


async def test_its_image_is_kept_until_then(history: History) -> None:
    await history.push(C)
    await history.collect()
    kept = {history.builder.made_by(image).sha for image in history.builder.images}

    assert kept == {B, C}
    assert await history.refusal(A) == "rollback-image-missing"
    await history.roll_back()
    assert await history.serves() == B


async def test_the_image_that_it_brings_back_is_kept_before_it_is_prepared(history: History) -> None:
    environment = await history.the()
    history.engine.delays["find"] = 5.0  # the worker is slow to begin
    rollback = history.running.control_plane.environments.rollback
    await rollback.roll_back(environment.id, ANN)
    gc = history.running.control_plane.builds.gc
    assert gc is not None
    await gc.collect()
    history.engine.delays.clear()
    await history.rest(60)

    assert await history.serves() == A


async def test_the_image_that_it_brings_back_is_kept_while_it_waits_for_room() -> None:
    async with History([READER], limits=Limits(host=Limit(running=1))).open() as history:
        await history.begin()
        environment = await history.the()
        [instance] = history.engine.there(environment.id)
        history.engine.change(instance.id, Program(exit_code=1))
        history.engine.end(instance.id, 1)
        await history.rest(120)
        assert (await history.status(environment)).state is State.FAILED
        other = history.forge.open(history.repository, "other", C)
        await history.deliver(other)
        await history.rest(60)
        await history.running.control_plane.environments.rollback.roll_back(environment.id, ANN)
        await history.rest(30)
        assert (await history.status(environment)).state is State.QUEUED

        await history.collect()
        await history.deliver(history.forge.close(other))
        await history.rest(60)
        live = await history.assert_live(environment)
        assert history.engine.spec(live.id).labels.revision.sha == A


async def test_neither_a_resync_nor_an_edit_undoes_it(history: History) -> None:
    await history.roll_back()
    await history.running.resync.run()
    await history.rest(600)
    assert await history.serves() == A


async def test_the_next_push_goes_on_normally(history: History) -> None:
    await history.roll_back()
    await history.push(C)
    assert await history.serves() == C


async def test_a_redeployment_deploys_the_newest_commit(history: History) -> None:
    await history.roll_back()
    await history.running.commands.redeploy((await history.the()).id, ANN)
    await history.rest(60)
    assert await history.serves() == B


async def test_after_a_failed_push_the_one_before_becomes_the_desired_one(history: History) -> None:
    history.builder.results[C] = Result(failure=BROKEN)
    await history.push(C)
    assert (await history.status()).state is State.FAILED_UPDATE
    assert await history.roll_back() == f"commit {B[:7]}"

    assert await history.serves() == B
    assert history.builds.count(B) == 1


async def test_two_clicks_are_one_roll_back(history: History) -> None:
    rollback = history.running.control_plane.environments.rollback
    environment = await history.the()
    await rollback.roll_back(environment.id, ANN)
    with pytest.raises(Refused) as refused:
        await rollback.roll_back(environment.id, ANN)
    assert refused.value.reason == "rollback-none"
    await history.rest(30)
    assert await history.serves() == A


async def test_it_is_reported_for_the_commit_that_serves(history: History) -> None:
    await history.roll_back()
    environment, deployment = await history.the(), await history.deployment()
    text = summary_of(environment, await history.status(), deployment, None)

    assert text == f"Commit {A[:7]} is live. It was rolled back from {B[:7]}."
    [comment] = history.forge.comments
    assert f"Commit `{A[:7]}` · rolled back from `{B[:7]}`" in comment.body
    [active] = [d for d in history.forge.deployments if d.progress is Progress.SUCCESS]
    assert active.sha == A


async def test_it_survives_a_restart_in_the_middle(history: History) -> None:
    history.engine.delays["start"] = 20
    rollback = history.running.control_plane.environments.rollback
    await rollback.roll_back((await history.the()).id, ANN)
    await history.rest(1)
    await history.kill()
    await history.start()
    assert await history.serves() == A
    assert history.builds == [A, B]


class TestRefused:
    async def test_nothing_was_live_before(self) -> None:
        async with History([READER]).open() as history:
            await history.opened(A)
            assert await history.refusal() == "rollback-none"

    async def test_it_was_killed(self, history: History) -> None:
        await history.running.commands.kill_by_id((await history.the()).id, ANN)
        assert await history.refusal() == "rollback-not-running"

    async def test_it_is_closed(self, history: History) -> None:
        await history.deliver(history.forge.close(history.event))
        await history.rest(60)
        assert await history.refusal() == "rollback-not-running"

    async def test_the_role_isnt_enough(self, history: History) -> None:
        rollback = history.running.control_plane.environments.rollback
        viewer = Actor("vi", "test", role=Role.VIEWER)
        with pytest.raises(Refused) as refused:
            await rollback.roll_back((await history.the()).id, viewer)
        assert refused.value.status == 403
        assert await history.serves() == B

    async def test_the_image_is_gone_and_nothing_changed(self, history: History) -> None:
        before = await history.the()
        key = next(order.key for order in history.builder.orders if order.sha == A)
        history.builder.lose(key)
        assert await history.refusal() == "rollback-image-missing"
        assert await history.the() == before

    async def test_the_newest_commit_of_a_fork_waits_for_approval(self) -> None:
        async with History([replace(READER, forks="approve")]).open() as history:
            history.event = await history.opened_by_fork(A)
            await history.running.commands.approve((await history.the()).id, A, ANN)
            await history.rest(60)
            assert await history.serves() == A
            await history.push(B)
            assert await history.refusal() == "rollback-not-running"
            await history.assert_gone()

    async def test_a_viewer_by_a_comment(self, history: History) -> None:
        comment = history.forge.say(history.event, "/stager rollback", "mallory")
        await history.deliver(comment)
        await history.rest(60)
        assert await history.serves() == B


async def test_by_a_comment(history: History) -> None:
    history.forge.allow(history.repository, "ann", Access.WRITE)
    await history.deliver(history.forge.say(history.event, f"/stager rollback {A[:7]}", "ann"))
    await history.rest(60)
    assert await history.serves() == A
    environment = await history.the()
    note = await history.store.read(lambda tx: note_of(tx, environment))
    assert note is not None
    assert note.text == f"The preview is rolled back to commit {A[:7]}."


async def test_one_that_sleeps_is_woken_by_it(history: History) -> None:
    await history.running.control_plane.environments.power.sleep_by((await history.the()).id, ANN)
    await history.rest(60)
    assert (await history.the()).desired.is_asleep
    await history.roll_back()
    assert await history.serves() == A
    assert history.builds == [A, B]
