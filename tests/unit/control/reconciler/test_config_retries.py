"""What failed is tried once more at a start, where its entry or what it needs has changed since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from stager.control.reconciler.config_retries import ABSENT
from stager.domain.application import Application
from stager.domain.errors import Fault
from stager.domain.recipe import Recipe
from stager.domain.status import State
from stager.ports.store import Transaction
from stager.testing import Program
from stager.testing.fakes.builder import Result
from tests.unit.control.builds.test_images import BUILT, EXPOSED, Works
from tests.unit.control.harness import IMAGE, SHOP, Harness

BROKEN = Program(exit_code=3)
FIXED = replace(SHOP, variables={"PORT": "3000"})


async def restarted(harness: Harness, *applications: Application) -> None:
    await harness.kill()
    harness.applications = applications
    await harness.start()


async def failed(*applications: Application) -> Harness:
    """A harness with a preview that ended at boot."""
    harness = Harness(applications or [SHOP])
    harness.engine.add_image(IMAGE, BROKEN)
    await harness.start()
    await harness.launch()
    await harness.rest()
    assert (await harness.status()).state is State.FAILED
    return harness


async def test_another_entry_brings_another_try() -> None:
    harness = await failed()
    harness.engine.add_image(IMAGE)
    await restarted(harness, FIXED)
    assert (await harness.assert_live()).generation == 2

    await restarted(harness, FIXED)
    assert (await harness.the()).desired.generation == 2
    await harness.kill()


async def test_the_same_entry_brings_none() -> None:
    harness = await failed()
    harness.engine.add_image(IMAGE)
    await restarted(harness, SHOP)
    assert (await harness.the()).desired.generation == 1
    await harness.kill()


async def test_one_try_for_one_change() -> None:
    harness = await failed()
    await restarted(harness, FIXED)
    await restarted(harness, FIXED)
    assert (await harness.the()).desired.generation == 2
    assert (await harness.status()).state is State.FAILED
    await harness.kill()


@pytest.mark.parametrize("meanwhile", [(), (replace(SHOP, name="blog"),)])
async def test_an_entry_that_was_gone_and_came_back(meanwhile: Sequence[Application]) -> None:
    harness = await failed()
    await restarted(harness, *meanwhile)
    assert (await harness.the()).desired.generation == 1
    harness.engine.add_image(IMAGE)
    await restarted(harness, SHOP)
    await harness.assert_live()
    await harness.kill()


@pytest.mark.parametrize("sleeps", [False, True])
async def test_a_failed_update_is_tried_again_too(sleeps: bool) -> None:
    async with Harness().open() as harness:
        await harness.launch()
        await harness.rest()
        harness.engine.add_image(IMAGE, BROKEN)
        await harness.launch()
        await harness.rest()
        assert (await harness.status()).state is State.FAILED_UPDATE
        if sleeps:
            await harness.running.control_plane.environments.power.sleep((await harness.the()).id)
            await harness.rest()
        harness.engine.add_image(IMAGE)
        await restarted(harness, FIXED)
        assert (await harness.assert_live()).generation == 3


@pytest.mark.parametrize("others", ["live", "killed"])
async def test_others_stay_as_they_are(others: str) -> None:
    async with Harness().open() as harness:
        await harness.launch()
        await harness.rest()
        if others == "killed":
            await harness.stop()
            await harness.rest()
        before = await harness.the()
        await restarted(harness, FIXED)
        assert await harness.the() == before


async def test_another_secret_is_another_entry_and_isnt_in_the_database() -> None:
    first = replace(BUILT, build=Recipe(secrets={"npm": "wrong-token"}))
    async with Works([first]).open() as works:
        works.builder.default = Result(failure=Fault("401.", reason="build-failed"))
        await works.opened()
        assert (await works.status()).state is State.FAILED
        works.builder.default = Result(facts=EXPOSED)
        await restarted(works, replace(first, build=Recipe(secrets={"npm": "right-token"})))
        await works.assert_live()
        assert "-token" not in repr(works.store._tables)


async def test_without_credentials_at_first() -> None:
    async with Works([BUILT], credentials=False).open() as works:
        await works.opened()
        assert (await works.status()).reason == "forge-missing"
        works.credentials = True
        await restarted(works, BUILT)
        await works.assert_live()


async def test_the_first_start_changes_nothing() -> None:
    harness = await failed()

    def forget(tx: Transaction) -> None:
        tx.save_fact("entry:shop", "")

    await harness.store.write(forget)
    await restarted(harness, FIXED)
    assert (await harness.the()).desired.generation == 1
    assert await harness.store.read(lambda tx: tx.fact("entry:shop")) not in ("", ABSENT)
    await harness.kill()
