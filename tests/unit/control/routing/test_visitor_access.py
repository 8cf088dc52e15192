"""Instances start only after the firewall has said that they are guarded."""

from __future__ import annotations

from datetime import UTC, datetime

from stager.domain.environment import InstanceState
from stager.domain.route import Page
from stager.domain.status import State
from stager.ports.firewall import Blocked
from stager.testing import Program
from tests.unit.control.harness import IMAGE, Harness


async def test_each_one_is_guarded_before_it_starts(house: Harness) -> None:
    environment = await house.launch()
    await house.rest()
    instance = await house.assert_live(environment)
    assert house.firewall.guarded == {instance.network: environment.id}


async def test_while_the_firewall_is_away_none_starts(house: Harness) -> None:
    first = await house.launch("first")
    await house.rest()
    house.firewall.leave()
    second = await house.launch("second")
    await house.rest()
    await house.assert_live(first)
    assert [i.state for i in house.engine.there(second.id)] == [InstanceState.CREATED]
    page = house.target(second.host)
    assert isinstance(page, Page)
    assert "firewall doesn't answer" in str(page)
    assert "firewall" in house.life.controller.troubles
    # Nor does one that ended.
    house.engine.end(house.engine.there(first.id)[0].id)
    await house.rest()
    assert all(i.state is not InstanceState.RUNNING for i in house.engine.there())

    house.firewall.come_back()
    await house.rest()
    for environment in (first, second):
        await house.assert_live(environment)
    assert "firewall" not in house.life.controller.troubles


async def test_all_are_renewed_at_the_start_and_every_minute(house: Harness) -> None:
    await house.launch()
    await house.rest()
    before = house.firewall.renewals
    await house.rest(180)
    assert house.firewall.renewals - before == 3
    await house.kill()
    house.firewall.guarded.clear()
    await house.start()
    assert len(house.firewall.guarded) == 1


async def test_one_that_waits_for_what_is_blocked_says_so_without_addresses(
    house: Harness,
) -> None:
    house.engine.add_image(IMAGE, Program(status=None))
    environment = await house.launch()
    blocked = Blocked(environment.id, "10.0.0.5", 5432, "tcp", 9, datetime.now(UTC))
    house.firewall.block(blocked)
    await house.rest(2_000)
    status = await house.status(environment)
    assert status.state is State.FAILED
    assert "connections were blocked" in status.hint
    assert "10.0.0.5" not in str(house.target(environment.host)), "visitors may be anybody"
