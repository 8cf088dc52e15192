"""The life of previews that nobody uses, on virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from stager.control.environments.expiry import TIME, notice_of
from stager.control.environments.visits import Visits, save_visits
from stager.domain.environment import SuspensionReason
from stager.domain.errors import Refused
from stager.domain.life import Notice
from stager.domain.status import State
from tests.unit.control.harness import ANN
from tests.unit.control.pull_requests.test_comment_commands import APP, OTHER, Talk

HALF, SOON = 3 * 3600.0, 1200.0
"""Seconds: half of the life of a preview, after which it is warned, and a moment."""
SHORT = replace(APP, expire_after=2 * HALF)


class Life(Talk):
    """A harness in which previews expire after six hours."""

    async def notice(self) -> Notice | None:
        environment = await self.the()
        return await self.store.read(lambda tx: notice_of(tx, environment))

    def comment(self) -> str:
        [comment] = [c for c in self.forge.comments if c.body.startswith("<!--")]
        return comment.body

    async def assert_expired(self) -> None:
        environment = await self.the()
        suspension = environment.desired.suspension
        assert suspension is not None
        assert suspension.reason is SuspensionReason.EXPIRED
        assert (await self.status()).state is State.EXPIRED
        await self.assert_gone()


@pytest.fixture
async def life() -> AsyncIterator[Life]:
    async with Life([SHORT]).open() as opened:
        yield opened


async def test_it_is_announced_in_the_one_comment_and_then_stopped(life: Life) -> None:
    await life.opened()
    await life.rest(HALF - SOON)
    assert "expires on" not in life.comment()
    await life.rest(2 * SOON)
    notice = await life.notice()
    assert notice is not None
    assert f"It expires on {notice.expires_at:%Y-%m-%d at %H:%M} UTC" in life.comment()
    await life.assert_live()

    await life.rest(HALF)
    await life.assert_expired()
    assert "there was no visit and no push for 6 hours" in life.comment()
    assert "expires on" not in life.comment()
    target = life.target((await life.the()).host)
    assert getattr(target, "state", "") == "expired"


async def test_a_push_brings_it_back(life: Life) -> None:
    event = await life.opened()
    await life.rest(3 * HALF)
    await life.assert_expired()
    await life.deliver(life.forge.push(event, OTHER))
    await life.rest(30)
    await life.assert_live()


async def test_reopening_brings_it_back_and_an_edit_doesnt(life: Life) -> None:
    event = await life.opened()
    await life.rest(3 * HALF)
    await life.running.resync.run()
    await life.rest(30)
    await life.assert_expired()
    life.forge._now = life.clock.now()  # an old event wouldn't be taken for a new one
    life.forge.close(event)  # its delivery is lost
    await life.deliver(life.forge.reopen(event))
    await life.rest(30)
    await life.assert_live()


@pytest.mark.parametrize("word", ["launch", "redeploy"])
async def test_a_command_brings_it_back(life: Life, word: str) -> None:
    event = await life.opened()
    await life.rest(3 * HALF)
    assert await life.say(event, f"/stager {word}") == "rocket"
    await life.assert_live()
    await life.rest(HALF - SOON)
    assert await life.notice() is None


async def test_extended_it_lives_on(life: Life) -> None:
    event = await life.opened()
    await life.rest(HALF + SOON)
    assert await life.say(event, "/stager extend") == "+1"
    assert await life.notice() is None
    assert "expires on" not in life.comment()
    await life.rest(2 * HALF - SOON)
    await life.assert_live()
    await life.rest(2 * SOON)
    await life.assert_expired()


async def test_pinned_it_never_expires(life: Life) -> None:
    event = await life.opened()
    await life.rest(HALF + SOON)
    await life.say(event, "/stager pin")
    await life.rest(4 * HALF)
    await life.assert_live()
    assert "expires on" not in life.comment()


async def test_once_expired_it_is_neither_pinned_nor_extended(life: Life) -> None:
    await life.opened()
    await life.rest(3 * HALF)
    for command in (life.running.commands.pin, life.running.commands.extend):
        with pytest.raises(Refused, match="expired"):
            await command((await life.the()).id, ANN)


async def test_a_manual_one_has_a_page_that_says_how_to_get_it_back(life: Life) -> None:
    environment = await life.launch("x")
    await life.rest(3 * HALF)
    await life.assert_expired()
    assert (await life.status()).hint == "Launch it again to bring it back."
    await life.launch("x")
    await life.rest(30)
    await life.assert_live(environment)


async def test_nothing_expires_by_default_in_the_domain() -> None:
    async with Life([APP]).open() as life:
        await life.opened()
        await life.rest(4 * HALF)
        await life.assert_live()


async def test_killed_while_it_is_announced_it_stays_killed(life: Life) -> None:
    await life.opened()
    await life.rest(HALF + SOON)
    await life.running.commands.kill_by_id((await life.the()).id, ANN)
    await life.rest(3 * HALF)
    suspension = (await life.the()).desired.suspension
    assert suspension is not None
    assert suspension.reason is SuspensionReason.KILLED


async def test_stager_was_off(life: Life) -> None:
    await life.opened()
    await life.rest(HALF / 2)
    await life.kill()
    await life.rest(10 * HALF)
    await life.start()
    await life.assert_live()
    assert await life.notice() is None
    await life.rest(HALF / 2 + SOON)
    assert await life.notice() is not None
    await life.rest(HALF)
    await life.assert_expired()


async def test_a_visit_counts(life: Life) -> None:
    await life.opened()
    await life.rest(HALF + SOON)
    assert await life.notice() is not None
    environment, now = await life.the(), life.clock.now()
    await life.store.write(lambda tx: save_visits(tx, environment.id, Visits(last=now)))
    await life.rest(SOON)
    assert await life.notice() is None
    assert "expires on" not in life.comment()
    await life.rest(2 * HALF - 3 * SOON)
    await life.assert_live()
    await life.rest(3 * SOON)
    await life.assert_expired()


async def test_a_visit_in_the_last_seconds_counts(life: Life) -> None:
    """It isn't stored yet when the preview would expire."""
    await life.opened()
    await life.rest(HALF + SOON)
    notice = await life.notice()
    assert notice is not None
    await life.rest((notice.expires_at - life.clock.now()).total_seconds() - 15)
    async with life.router.visit((await life.the()).host):
        pass
    await life.rest(SOON)
    await life.assert_live()
    assert await life.notice() is None


async def test_nothing_expires_while_visits_arent_known(life: Life) -> None:
    await life.opened()
    await life.rest(HALF + SOON)
    life.router.leave()
    await life.rest(2 * HALF)
    assert (await life.the()).desired.suspension is None
    life.router.come_back()
    await life.rest(SOON)
    await life.assert_live()
    await life.rest(HALF)
    await life.assert_expired()


async def test_after_an_upgrade_from_a_version_that_recorded_no_visits(life: Life) -> None:
    await life.opened()
    await life.rest(HALF / 2)
    await life.kill()
    await life.store.write(lambda tx: tx.save_fact(TIME, ""))
    await life.rest(10 * HALF)
    await life.start()
    await life.rest(HALF - SOON)
    assert await life.notice() is None
    await life.rest(2 * SOON)
    assert await life.notice() is not None
    await life.rest(HALF)
    await life.assert_expired()


async def test_one_that_sleeps_expires(life: Life) -> None:
    await life.opened()
    environment = await life.the()
    await life.running.control_plane.environments.power.sleep_by(environment.id, ANN)
    await life.rest(60)
    assert (await life.the()).desired.is_asleep
    await life.rest(3 * HALF)
    await life.assert_expired()
