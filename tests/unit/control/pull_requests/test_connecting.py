"""A forge that is connected while Stager runs is used at once."""

from __future__ import annotations

from dataclasses import replace

from stager.domain.status import State
from stager.testing import FakeForge
from stager.testing.fakes.forge import as_forge
from tests.unit.control.harness import SHOP, Harness

SECONDS = 20.0
"""Less than the interval of the resync."""


async def test_its_open_changes_get_previews() -> None:
    async with Harness([replace(SHOP, owner="acme")], credentials=False).open() as harness:
        forge = FakeForge()
        repository = forge.add_repository("acme", "shop")
        forge.open(repository, "feature", "feature1")
        await harness.rest(SECONDS)
        assert await harness.environments() == []

        harness.running.control_plane.ports.forges.use(as_forge(forge))
        await harness.rest(SECONDS)

        [environment] = await harness.environments()
        assert (await harness.status(environment)).state is State.LIVE
