"""What is stored of an application's output has no secrets, wherever they come from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stager.domain.source import Trust
from stager.testing import Program
from tests.unit.control.harness import IMAGE, SHOP, Harness

SECRET = "correct-horse-battery"
URL = "postgres://ann:staple-battery@db/shop"
CRASHES = Program(exit_code=3, output=f"with {SECRET} and {URL}")


async def failed_with(harness: Harness, **parameters: str) -> str:
    """What is stored of a launch whose application prints the secrets and ends."""
    async with harness.open():
        harness.engine.add_image(IMAGE, CRASHES)
        await harness.launch("x", **parameters)
        await harness.rest(60)
        return repr(await harness.deployment())


async def test_of_the_configuration() -> None:
    stored = await failed_with(Harness([replace(SHOP, secrets={"PASSPHRASE": SECRET})]))

    assert "with *** and" in stored
    assert SECRET not in stored


async def test_of_the_launch_by_their_names_and_in_urls() -> None:
    stored = await failed_with(Harness([SHOP]), API_TOKEN=SECRET, DATABASE_URL=URL)

    assert "with *** and ***" in stored


async def test_of_a_live_one_that_is_removed() -> None:
    harness = Harness([replace(SHOP, secrets={"PASSPHRASE": SECRET})])
    async with harness.open():
        harness.engine.add_image(IMAGE, Program(output=f"with {SECRET}"))
        environment = await harness.launch("x")
        await harness.rest(60)
        await harness.stop("x")
        await harness.rest(60)
        stored = repr(await harness.deployment(environment))

    assert "with ***" in stored
    assert SECRET not in stored


@pytest.mark.parametrize(("trust", "hidden"), [(Trust.TRUSTED, True), (Trust.FORK, False)])
async def test_guesses_of_forks_arent_confirmed(trust: Trust, hidden: bool) -> None:
    harness = Harness([replace(SHOP, owner="acme", forks="open", secrets={"PASSPHRASE": SECRET})])
    async with harness.open():
        harness.engine.add_image(IMAGE, CRASHES)
        base = harness.forge.add_repository("acme", "shop")
        fork = harness.forge.add_repository("mallory", "shop") if trust is Trust.FORK else None
        await harness.deliver(harness.forge.open(base, "feature-x", "a1", fork=fork))
        await harness.rest(60)
        stored = repr(await harness.deployment())

    assert ("with *** and" in stored) is hidden
