"""Nodes for administrators, and a drain that moves one preview after another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from stager.control.nodes import MOVE_PATIENCE, NodeAdministration
from stager.domain.commands import Launch
from stager.domain.errors import Refused
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.ports.nodes import NodeState
from stager.testing.fakes.nodes import FakeNodes
from tests.unit.control.harness import ANN, Harness


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    async with Harness().open() as harness:
        yield harness


def fake(harness: Harness) -> FakeNodes:
    nodes = harness.running.control_plane.ports.nodes
    assert isinstance(nodes, FakeNodes)
    return nodes


def administration(harness: Harness) -> NodeAdministration:
    return harness.running.control_plane.nodes


async def launched(harness: Harness, *names: str) -> list[str]:
    """Launch these previews, as if on the second node; their ids."""
    commands = harness.running.control_plane.environments.commands
    ids = [(await commands.launch(Launch("shop", name), ANN)).id for name in names]
    await harness.rest()
    place(harness, *ids)
    return ids


def place(harness: Harness, *ids: str, staying: tuple[str, ...] = ()) -> None:
    nodes = fake(harness)
    nodes.known["node-2"] = replace(nodes.known["node-2"], environments=ids, staying=staying)


async def generation(harness: Harness, environment_id: str) -> int:
    store = harness.running.control_plane.ports.store
    environment = await store.read(lambda tx: tx.environment(environment_id))
    assert environment is not None
    return environment.desired.generation


async def test_the_report_names_the_previews_of_each_node(harness: Harness) -> None:
    one, two = await launched(harness, "one", "two")
    place(harness, one, two, "unknown", staying=(two,))

    first, second = await administration(harness).report(ANN)

    assert (first.node.name, first.node.is_manager, first.previews) == ("node-1", True, ())
    assert second.previews == ("shop/one", "shop/two", "unknown")
    assert second.staying == ("shop/two",)


async def test_a_drain_moves_one_after_another(harness: Harness) -> None:
    one, two = await launched(harness, "one", "two")
    nodes = administration(harness)

    report = await nodes.drain(ANN, "node-2")
    assert report.node.state is NodeState.DRAINING
    await nodes.move_next()
    await nodes.move_next()
    assert [await generation(harness, each) for each in (one, two)] == [2, 1]

    place(harness, two)  # the first has moved
    await nodes.move_next()
    assert [await generation(harness, each) for each in (one, two)] == [2, 2]


async def test_a_preview_that_doesnt_move_holds_the_others_up_for_a_while_only(harness: Harness) -> None:
    one, two = await launched(harness, "one", "two")
    nodes = administration(harness)
    await nodes.drain(ANN, "node-2")
    await nodes.move_next()

    await asyncio.sleep(MOVE_PATIENCE.total_seconds() + 1)
    await nodes.move_next()

    assert [await generation(harness, each) for each in (one, two)] == [2, 2]


async def test_what_has_volumes_stays(harness: Harness) -> None:
    one, two = await launched(harness, "one", "two")
    place(harness, one, two, staying=(one,))
    nodes = administration(harness)
    await nodes.drain(ANN, "node-2")

    await nodes.move_next()

    assert [await generation(harness, each) for each in (one, two)] == [1, 2]


async def test_nothing_moves_without_a_drain(harness: Harness) -> None:
    (one,) = await launched(harness, "one")
    nodes = administration(harness)
    await nodes.drain(ANN, "node-2")
    await nodes.activate(ANN, "node-2")

    await nodes.move_next()

    assert await generation(harness, one) == 1


async def test_a_node_is_named_by_its_name_or_its_id(harness: Harness) -> None:
    nodes = administration(harness)

    assert (await nodes.drain(ANN, "id-of-node-2")).node.name == "node-2"
    with pytest.raises(Refused) as caught:
        await nodes.drain(ANN, "node-9")
    assert caught.value.reason == "node-unknown"


async def test_only_administrators_see_and_drain_nodes(harness: Harness) -> None:
    developer = Actor("dev", "test", role=Role.DEVELOPER)
    nodes = administration(harness)

    for refused in (
        nodes.report(developer),
        nodes.drain(developer, "node-2"),
        nodes.activate(developer, "x"),
    ):
        with pytest.raises(Refused) as caught:
            await refused
        assert caught.value.status == 403
    assert fake(harness).known["node-2"].state is NodeState.READY


async def test_an_engine_without_nodes_says_so(harness: Harness) -> None:
    control = harness.running.control_plane
    ports = replace(control.ports, nodes=None)
    nodes = NodeAdministration(ports, control.identity.authorizer, control.environments.commands)

    with pytest.raises(Refused) as caught:
        await nodes.report(ANN)

    assert caught.value.reason == "nodes-none"
    assert nodes.loops() == []
