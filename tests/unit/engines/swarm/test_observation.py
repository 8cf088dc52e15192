"""What the rows of a Swarm manager mean."""

from __future__ import annotations

import pytest

from stager.domain.environment import InstanceState
from stager.domain.route import Endpoint
from stager.engines.swarm.observation import address_of
from tests.unit.engines.swarm.rows import Row, node, one, service, task


def test_a_service_that_was_never_started_is_created() -> None:
    found = one(service(replicas=0))

    assert found.instance.state is InstanceState.CREATED
    assert (found.instance.started_at, found.instance.endpoint) == ("", None)
    assert not found.is_gone


def test_one_that_runs_has_the_address_of_its_node_and_its_published_port() -> None:
    found = one(service(), task()).instance

    assert (found.state, found.endpoint) == (InstanceState.RUNNING, Endpoint("10.0.0.1", 20_001))
    assert found.exit_code is None


def test_one_without_a_port_has_an_address() -> None:
    assert one(service(port=0), task()).instance.endpoint == Endpoint("10.0.0.1", 0)


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [("failed", 3, 3), ("complete", 0, 0), ("shutdown", 143, 143), ("failed", 0, 0)],
)
def test_one_that_ended_has_its_exit_code(state: str, code: int, expected: int) -> None:
    found = one(service(), task(state=state, code=code, desired="shutdown")).instance

    assert (found.state, found.exit_code, found.endpoint) == (InstanceState.STOPPED, expected, None)


def test_one_whose_container_was_never_created_did_not_succeed() -> None:
    rejected = task(state="rejected", desired="shutdown")
    rejected["Status"]["ContainerStatus"] = None

    assert one(service(), rejected).instance.exit_code == 128


def test_the_newest_task_counts() -> None:
    """Docker omits the final zeros of a fraction, so the texts don't sort."""
    earlier = task(state="failed", created="2026-12-01T05:10:21.5Z", desired="shutdown")
    later = task(created="2026-12-01T05:10:21.535968563Z")

    for tasks in ((earlier, later), (later, earlier)):
        assert one(service(), *tasks).is_running


def test_one_that_is_started_again_has_another_run() -> None:
    first = one(service(), task()).instance
    second = one(service(), task(), task(created="2026-12-01T06:00:00Z")).instance

    assert first.run != second.run


@pytest.mark.parametrize(
    ("at", "is_gone"),
    [
        (node(), False),
        (node(state="unknown"), False),  # a manager that was restarted hasn't heard of its nodes yet
        (node(state="down"), True),
        (node(id_="other"), True),
        (node(availability="pause"), False),
        (node(ready="no"), False),
    ],
)
def test_one_that_runs_is_gone_with_its_node(at: Row, is_gone: bool) -> None:
    assert one(service(), task(), at=at).is_gone is is_gone


@pytest.mark.parametrize(
    ("at", "is_gone"),
    [(node(), False), (node(availability="drain"), True), (node(ready="no"), True)],
)
def test_one_that_ended_is_gone_if_its_node_takes_none(at: Row, is_gone: bool) -> None:
    ended = task(state="shutdown", desired="shutdown")

    assert one(service(), ended, at=at).is_gone is is_gone


def test_one_that_is_pending_has_no_node_to_lose() -> None:
    pending = one(service(), task(state="pending", node_id=""))

    assert pending.is_on_the_way
    assert not pending.is_gone
    assert pending.instance.state is InstanceState.CREATED


def test_a_manager_may_not_know_its_own_address() -> None:
    manager = node()
    manager["Status"]["Addr"] = "0.0.0.0"
    manager["ManagerStatus"] = {"Addr": "10.0.0.7:2377"}

    assert address_of(manager) == "10.0.0.7"
