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


async def restarted(harness: Harness, changed: dict[str, Any]) -> None:
    await harness.kill()
    for name, value in changed.items():
        setattr(harness, name, value)
    await harness.start()


@CHANGES
@pytest.mark.parametrize("killed_before", [True, False])
async def test_what_was_killed_comes_back_at_the_new_host(
    harness: Harness, changed: dict[str, Any], host: str, killed_before: bool
) -> None:
    await harness.launch("feature-x")
    await harness.rest()
    if killed_before:
        await harness.stop("feature-x")
        await harness.rest()
    await restarted(harness, changed)
    await harness.stop("feature-x")
    await harness.rest()
    await harness.launch("feature-x")
    await harness.rest()

    await harness.assert_live()
    assert (await harness.the()).host == host
    assert harness.target(OLD) is None


@CHANGES
async def test_what_runs_keeps_its_host(harness: Harness, changed: dict[str, Any], host: str) -> None:
    await harness.launch("feature-x")
    await harness.rest()
    await restarted(harness, changed)
    await harness.launch("feature-x")
    await harness.rest()

    await harness.assert_live()
    assert (await harness.the()).host == OLD
    assert harness.target(host) is None


@CHANGES
async def test_what_failed_is_launched_at_the_new_host(
    harness: Harness, changed: dict[str, Any], host: str
) -> None:
    harness.engine.add_image(IMAGE, Program(exit_code=1))
    await harness.launch("feature-x")
    await harness.rest()
    await restarted(harness, changed)
    harness.engine.add_image(IMAGE)
    await harness.launch("feature-x")
    await harness.rest()

    await harness.assert_live()
    assert (await harness.the()).host == host


@CHANGES
async def test_a_pull_request_that_was_reopened_or_killed_and_launched(
    changed: dict[str, Any], host: str
) -> None:
    async with Harness([replace(SHOP, owner="acme")]).open() as harness:
        event = harness.forge.open(harness.forge.add_repository("acme", "shop"), "feature-x", "a1")
        await harness.deliver(event)
        await harness.rest()
        await harness.stop("feature-x")
        await restarted(harness, changed)
        await harness.launch("feature-x")
        await harness.rest()
        await harness.assert_live()
        assert (await harness.the()).host == host

        await harness.deliver(harness.forge.close(event))
        await harness.rest()
        await restarted(harness, {"domain": "third.test", "template": "{slug}.{domain}"})
        await harness.deliver(harness.forge.reopen(event))
        await harness.rest()
        await harness.assert_live()
        assert (await harness.the()).host == "feature-x.third.test"


async def test_the_second_best_host_is_kept_where_nothing_changed(harness: Harness) -> None:
    await harness.launch("feature-x")
    await harness.launch("feature/x")
    await harness.rest()
    second = next(e for e in await harness.environments() if e.name == "feature/x")
    assert second.host != OLD
    await harness.stop("feature-x")
    await harness.stop("feature/x")
    await harness.rest()
    await harness.launch("feature/x")
    await harness.rest()
    assert (await harness.the(second)).host == second.host
    assert second.desired.trust is Trust.TRUSTED


@pytest.mark.parametrize("is_serving", [True, False], ids=["serving", "removed"])
async def test_a_preview_keeps_its_host_when_the_rule_for_slugs_changes(
    harness: Harness, is_serving: bool
) -> None:
    await restarted(harness, {"slugs": "legacy"})
    await harness.launch("feature/x")
    await harness.rest()
    assert (await harness.the()).host == "featurex.preview.test"
    if not is_serving:
        await harness.stop("feature/x")
        await harness.rest()
    await restarted(harness, {"slugs": "standard"})
    await harness.launch("feature/x")
    await harness.launch("feature/y")
    await harness.rest()

    hosts = {environment.name: environment.host for environment in await harness.environments()}
    assert hosts == {"feature/x": "featurex.preview.test", "feature/y": "feature-y.preview.test"}
