"""When a container must be inspected again."""

from __future__ import annotations

from typing import Any

import pytest

from stager.domain.environment import Instance, InstanceState
from stager.engines.docker import labels
from stager.engines.docker.inspections import Inspections
from tests.contracts.engines import instance_labels

INSTANCE = Instance("c1", "e1", "web", "d1", 1, InstanceState.RUNNING, started_at="t1", network="n1")


def row(container: str = "c1", state: str = "running", *networks: str) -> dict[str, Any]:
    own = {labels.NETWORK: "n1", labels.INPUTS: "x", labels.ADDRESS: "10.0.0.2"}
    return {
        "Id": container,
        "State": state,
        "Labels": {**labels.encode(instance_labels()), **own},
        "NetworkSettings": {"Networks": {network: {} for network in networks}},
    }


@pytest.fixture
def inspections() -> Inspections:
    followed = Inspections()
    followed.on_event("another")
    return followed


def test_an_answer_is_kept_while_the_container_is_unchanged(inspections: Inspections) -> None:
    assert inspections.get(row()) is None
    inspections.add(row(), INSTANCE, inspections.changes)
    assert inspections.get(row()) == INSTANCE
    assert inspections.get(row("c2")) is None


@pytest.mark.parametrize("change", ["event", "own call", "stop", "state"])
def test_it_isnt_after_a_change(inspections: Inspections, change: str) -> None:
    inspections.add(row(), INSTANCE, inspections.changes)
    if change == "event":
        inspections.on_event("c1")
    elif change == "own call":
        inspections.forget("c1")
    elif change == "stop":
        inspections.stop()

    assert inspections.get(row(state="exited" if change == "state" else "running")) is None


def test_it_isnt_where_the_container_changed_meanwhile(inspections: Inspections) -> None:
    before = inspections.changes
    inspections.on_event("c1")
    inspections.add(row(), INSTANCE, before)

    assert inspections.get(row()) is None


def test_none_is_kept_before_events_arrive_or_after_they_ended() -> None:
    inspections = Inspections()
    inspections.add(row(), INSTANCE, inspections.changes)
    assert inspections.get(row()) is None
    inspections.on_event("c2")
    inspections.stop()
    inspections.add(row(), INSTANCE, inspections.changes)
    assert inspections.get(row()) is None


def test_networks_are_those_of_the_list(inspections: Inspections) -> None:
    inspections.add(row(), INSTANCE, inspections.changes)
    found = inspections.get(row("c1", "running", "n1", "stager-x-g2"))

    assert found
    assert found.joined == {"stager-x-g2"}
    assert found.generations == {2}
