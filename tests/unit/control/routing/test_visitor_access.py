"""Instances start only after the firewall has confirmed that they are guarded."""

from __future__ import annotations

from datetime import UTC, datetime

from stager.domain.environment import InstanceState
from stager.domain.route import Page
from stager.domain.status import State
from stager.ports.firewall import Blocked
from stager.testing import Program
from tests.unit.control.harness import IMAGE, Harness


async def test_each_one_is_guarded_before_it_starts(harness: Harness) -> None:
    environment = await harness.launch()
    await harness.rest()
    instance = await harness.assert_live(environment)
    assert harness.firewall.guarded == {instance.network: environment.id}


async def test_while_the_firewall_is_away_none_starts(harness: Harness) -> None:
    first = await harness.launch("first")
    await harness.rest()
    harness.firewall.leave()
    second = await harness.launch("second")
    await harness.rest()
    await harness.assert_live(first)
    assert [i.state for i in harness.engine.there(second.id)] == [InstanceState.CREATED]
    page = harness.target(second.host)
    assert isinstance(page, Page)
    assert "firewall doesn't answer" in str(page)
    assert "firewall" in harness.running.problems
    # Nor does one that ended.
    harness.engine.end(harness.engine.there(first.id)[0].id)
    await harness.rest()
    assert all(i.state is not InstanceState.RUNNING for i in harness.engine.there())

    harness.firewall.come_back()
    await harness.rest()
    for environment in (first, second):
        await harness.assert_live(environment)
    assert "firewall" not in harness.running.problems


async def test_all_are_renewed_at_the_start_and_every_minute(harness: Harness) -> None:
    await harness.launch()
    await harness.rest()
    before = harness.firewall.renewals
    await harness.rest(180)
    assert harness.firewall.renewals - before == 3
    await harness.kill()
    harness.firewall.guarded.clear()
    await harness.start()
    assert len(harness.firewall.guarded) == 1


async def test_one_that_waits_for_what_is_blocked_says_so_without_addresses(
    harness: Harness,
) -> None:
    harness.engine.add_image(IMAGE, Program(status=None))
    environment = await harness.launch()
    blocked = Blocked(environment.id, "10.0.0.5", 5432, "tcp", 9, datetime.now(UTC))
    harness.firewall.block(blocked)
    await harness.rest(2_000)
    status = await harness.status(environment)
    assert status.state is State.FAILED
    assert "The firewall blocked some of its connections" in status.hint
    assert "10.0.0.5" not in str(harness.target(environment.host)), "visitors may be anybody"
