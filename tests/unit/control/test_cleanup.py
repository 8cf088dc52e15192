"""Garbage collection on request: what it finds, with reasons, and that it removes only that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from stager.control.cleanup import Found
from stager.domain.errors import Refused
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.domain.leftovers import LeftoverKind
from tests.unit.control.builds.test_images import READER, Works
from tests.unit.control.harness import ANN

A, B, C, D = "a" * 40, "b" * 40, "c" * 40, "d" * 40
LONG_DRAIN = replace(READER, drain_timeout=1_000.0)


class Dirty(Works):
    """A harness with a preview that had three commits."""

    async def begin(self) -> None:
        event = await self.opened(A)
        for sha in (B, C):
            event = self.forge.push(event, sha)
            await self.deliver(event)
            await self.rest(60)

    async def look(self) -> list[Found]:
        return await self.running.control_plane.cleanup.look(ANN)

    async def run(self) -> list[Found]:
        return await self.running.control_plane.cleanup.run(ANN)


@pytest.fixture
async def dirty() -> AsyncIterator[Dirty]:
    async with Dirty([LONG_DRAIN]).open() as opened:
        await opened.begin()
        yield opened


def kinds(found: list[Found]) -> list[LeftoverKind]:
    return [each.leftover.kind for each in found]


async def test_what_was_just_built_is_kept(dirty: Dirty) -> None:
    assert await dirty.look() == []


async def test_an_image_that_no_preview_may_be_rolled_back_to(dirty: Dirty) -> None:
    # The periodic collection would remove it, too: look before its next run.
    await dirty.rest(595)
    found = await dirty.look()
    assert {dirty.builder.made_by(each.leftover.name).sha for each in found} <= {A}
    await dirty.rest(3600)
    assert {dirty.builder.made_by(image).sha for image in dirty.builder.images} == {B, C}
    assert await dirty.look() == []


async def test_a_network_without_containers(dirty: Dirty) -> None:
    await dirty.rest(7)
    dirty.engine._networks.add("left-over")  # the full reconciliation would remove it within a minute
    [found] = await dirty.look()
    assert (found.leftover.kind, found.leftover.name) == (LeftoverKind.NETWORK, "left-over")
    assert "left-over" in dirty.engine._networks, "a look removes nothing"

    assert await dirty.run() == [found]
    assert "left-over" not in dirty.engine._networks
    await dirty.assert_live()
    assert await dirty.look() == []


async def test_the_containers_of_a_preview_that_is_being_removed(dirty: Dirty) -> None:
    environment = await dirty.the()
    dirty.engine.delays["remove"] = 100.0
    await dirty.running.commands.kill_by_id(environment.id, ANN)
    await dirty.rest(20)
    [container] = [each for each in await dirty.look() if each.leftover.kind is LeftoverKind.CONTAINER]
    assert container.leftover.why == "its preview is stopped (killed)"
    assert container.preview == "shop, feature-x"


async def test_what_serves_and_what_comes_up_is_never_listed(dirty: Dirty) -> None:
    dirty.engine.delays["start"] = 100.0
    event = dirty.forge.open(dirty.repository, "other", D)
    await dirty.deliver(event)
    await dirty.rest(30)
    assert LeftoverKind.CONTAINER not in kinds(await dirty.look())


async def test_only_administrators(dirty: Dirty) -> None:
    developer = Actor("dev", "test", role=Role.DEVELOPER)
    for call in (dirty.running.control_plane.cleanup.look, dirty.running.control_plane.cleanup.run):
        with pytest.raises(Refused) as refused:
            await call(developer)
        assert refused.value.status == 403
