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


async def restarted(house: Harness, *applications: Application) -> None:
    await house.kill()
    house.applications = applications
    await house.start()


async def failed(*applications: Application) -> Harness:
    """A house with a preview that ended at boot."""
    house = Harness(applications or [SHOP])
    house.engine.add_image(IMAGE, BROKEN)
    await house.start()
    await house.launch()
    await house.rest()
    assert (await house.status()).state is State.FAILED
    return house


async def test_another_entry_brings_another_try() -> None:
    house = await failed()
    house.engine.add_image(IMAGE)
    await restarted(house, FIXED)
    assert (await house.assert_live()).generation == 2

    await restarted(house, FIXED)
    assert (await house.the()).desired.generation == 2
    await house.kill()


async def test_the_same_entry_brings_none() -> None:
    house = await failed()
    house.engine.add_image(IMAGE)
    await restarted(house, SHOP)
    assert (await house.the()).desired.generation == 1
    await house.kill()


async def test_one_try_for_one_change() -> None:
    house = await failed()
    await restarted(house, FIXED)
    await restarted(house, FIXED)
    assert (await house.the()).desired.generation == 2
    assert (await house.status()).state is State.FAILED
    await house.kill()


@pytest.mark.parametrize("meanwhile", [(), (replace(SHOP, name="blog"),)])
async def test_an_entry_that_was_gone_and_came_back(meanwhile: Sequence[Application]) -> None:
    house = await failed()
    await restarted(house, *meanwhile)
    assert (await house.the()).desired.generation == 1
    house.engine.add_image(IMAGE)
    await restarted(house, SHOP)
    await house.assert_live()
    await house.kill()


async def test_a_failed_update_is_tried_again_too() -> None:
    async with Harness().open() as house:
        await house.launch()
        await house.rest()
        house.engine.add_image(IMAGE, BROKEN)
        await house.launch()
        await house.rest()
        assert (await house.status()).state is State.FAILED_UPDATE
        house.engine.add_image(IMAGE)
        await restarted(house, FIXED)
        assert (await house.assert_live()).generation == 3


@pytest.mark.parametrize("others", ["live", "killed"])
async def test_others_stay_as_they_are(others: str) -> None:
    async with Harness().open() as house:
        await house.launch()
        await house.rest()
        if others == "killed":
            await house.stop()
            await house.rest()
        before = await house.the()
        await restarted(house, FIXED)
        assert await house.the() == before


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
    house = await failed()

    def forget(tx: Transaction) -> None:
        tx.save_fact("entry:shop", "")

    await house.store.write(forget)
    await restarted(house, FIXED)
    assert (await house.the()).desired.generation == 1
    assert await house.store.read(lambda tx: tx.fact("entry:shop")) not in ("", ABSENT)
    await house.kill()
