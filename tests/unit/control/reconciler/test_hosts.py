"""At which host a preview answers after the domain, or the way in which hosts are made, was changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stager.domain.source import Trust
from stager.testing import Program
from tests.unit.control.harness import IMAGE, SHOP, Harness

CHANGES = pytest.mark.parametrize(
    ("changed", "host"),
    [
        ({"domain": "new.test"}, "feature-x.new.test"),
        ({"template": "{slug}--{app}.{domain}"}, "feature-x--shop.preview.test"),
    ],
    ids=["domain", "template"],
)
OLD = "feature-x.preview.test"


async def restarted(house: Harness, changed: dict[str, Any]) -> None:
    await house.kill()
    for name, value in changed.items():
        setattr(house, name, value)
    await house.start()


@CHANGES
@pytest.mark.parametrize("killed_before", [True, False])
async def test_what_was_killed_comes_back_at_the_new_host(
    house: Harness, changed: dict[str, Any], host: str, killed_before: bool
) -> None:
    await house.launch("feature-x")
    await house.rest()
    if killed_before:
        await house.stop("feature-x")
        await house.rest()
    await restarted(house, changed)
    await house.stop("feature-x")
    await house.rest()
    await house.launch("feature-x")
    await house.rest()

    await house.assert_live()
    assert (await house.the()).host == host
    assert house.target(OLD) is None


@CHANGES
async def test_what_runs_keeps_its_host(house: Harness, changed: dict[str, Any], host: str) -> None:
    await house.launch("feature-x")
    await house.rest()
    await restarted(house, changed)
    await house.launch("feature-x")
    await house.rest()

    await house.assert_live()
    assert (await house.the()).host == OLD
    assert house.target(host) is None


@CHANGES
async def test_what_failed_is_launched_at_the_new_host(
    house: Harness, changed: dict[str, Any], host: str
) -> None:
    house.engine.add_image(IMAGE, Program(exit_code=1))
    await house.launch("feature-x")
    await house.rest()
    await restarted(house, changed)
    house.engine.add_image(IMAGE)
    await house.launch("feature-x")
    await house.rest()

    await house.assert_live()
    assert (await house.the()).host == host


@CHANGES
async def test_a_pull_request_that_was_reopened_or_killed_and_launched(
    changed: dict[str, Any], host: str
) -> None:
    async with Harness([replace(SHOP, owner="acme")]).open() as house:
        event = house.forge.open(house.forge.add_repository("acme", "shop"), "feature-x", "a1")
        await house.tell(event)
        await house.rest()
        await house.stop("feature-x")
        await restarted(house, changed)
        await house.launch("feature-x")
        await house.rest()
        await house.assert_live()
        assert (await house.the()).host == host

        await house.tell(house.forge.close(event))
        await house.rest()
        await restarted(house, {"domain": "third.test", "template": "{slug}.{domain}"})
        await house.tell(house.forge.reopen(event))
        await house.rest()
        await house.assert_live()
        assert (await house.the()).host == "feature-x.third.test"


async def test_the_second_best_host_is_kept_where_nothing_changed(house: Harness) -> None:
    await house.launch("feature-x")
    await house.launch("feature/x")
    await house.rest()
    second = next(e for e in await house.environments() if e.name == "feature/x")
    assert second.host != OLD
    await house.stop("feature-x")
    await house.stop("feature/x")
    await house.rest()
    await house.launch("feature/x")
    await house.rest()
    assert (await house.the(second)).host == second.host
    assert second.desired.trust is Trust.TRUSTED
