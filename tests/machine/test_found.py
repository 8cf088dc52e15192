"""Histories that the machines found, each of which once ended badly; as short as they could make them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stager.domain.pull_requests.rules import Rules
from tests.machine.base import Terms
from tests.machine.installation import Installation, OutOfTouch, WithServices
from tests.machine.pulls import Sent


@pytest.fixture
def state() -> Iterator[Installation]:
    machine = Installation()
    machine.begin()
    yield machine
    machine.teardown()


@pytest.fixture
def out_of_touch() -> Iterator[OutOfTouch]:
    machine = OutOfTouch()
    machine.begin()
    yield machine
    machine.teardown()


@pytest.fixture
def with_services() -> Iterator[WithServices]:
    machine = WithServices()
    machine.begin(terms=Terms(services=True))
    yield machine
    machine.teardown()


def test_database_and_container_lost_together(state: Installation) -> None:
    """There was a second comment: the first one had the id of an environment that no longer existed."""
    state.open(ref="red")
    state.faults_stop()
    state.engine.leave()
    state.control_plane_dies(database_lost=True, fuse=None, passing=0.5)
    state.container_removed(which=0)
    state.engine_comes_back()


def test_container_removed_during_its_health_check(state: Installation) -> None:
    """It was waited for until its time was up, and the deployment given up with it."""
    state.engine_is_slow(call="answers", seconds=5.0)
    state.open(ref="red")
    state.time_passes(0.5)
    state.container_removed(which=0)
    state.time_passes(400.0)


def test_database_lost_during_a_refresh(state: Installation) -> None:
    """The next deployment got the generation of the one that was coming up, whose container was then taken
    for it and published."""
    pull = state.open(ref="red")
    state.faults_stop()
    state.engine_is_slow(call="start", seconds=5.0)
    state.launch(name="red")
    state.time_passes(0.5)
    state.push(change=pull, sent=Sent.NO)
    state.control_plane_dies(database_lost=True, fuse=None, passing=0.0)


def test_head_repository_gone_from_an_open_pull_request(state: Installation) -> None:
    """What ran went on, because its commit was the same."""
    pull = state.open(ref="red")
    state.time_passes(45.0)
    state.close(change=pull, head_goes=True, sent=Sent.NO)
    state.reopen(change=pull, sent=Sent.NO)


def test_killed_between_clearing_what_serves_and_showing_the_page(out_of_touch: OutOfTouch) -> None:
    """The host led to a container that wasn't there any more, for ever."""
    pull = out_of_touch.open(ref="red")
    out_of_touch.faults_stop()
    out_of_touch.container_removed(which=0)
    out_of_touch.kill(name="red")
    closed = out_of_touch.close(change=pull, sent=Sent.NO)
    out_of_touch.deliver(message=closed, afresh=False)


def test_killed_at_boot_after_the_front_was_away(out_of_touch: OutOfTouch) -> None:
    """It was given up: having waited for the front so often counted as so many crashes."""
    out_of_touch.engine_is_slow(call="answers", seconds=5.0)
    out_of_touch.open(ref="red")
    out_of_touch.front_dies(passing=45.0, table_lost=False)
    out_of_touch.time_passes(20.0)
    out_of_touch.container_stopped(which=0, exit_code=137)


def test_renamed_between_two_pushes(state: Installation) -> None:
    """All that happened after that was ignored: the configuration has nothing of the new name."""
    pull = state.open(ref="red")
    state.time_passes(45.0)
    state.repository_is_renamed(owner="acme-corp", name="store")
    state.push(change=pull)


def test_renamed_before_its_first_delivery(state: Installation) -> None:
    """The old name leads to it, as a forge has it."""
    state.repository_is_renamed(owner="acme", name="store")
    state.control_plane_dies(database_lost=True, fuse=None, passing=0.0)
    state.open(ref="red", sent=Sent.NO)


def test_renamed_and_its_database_lost(state: Installation) -> None:
    """What ran was known by its old name only, so deliveries with the new name were ignored."""
    state.open(ref="red")
    state.time_passes(45.0)
    other = state.open(ref="feature-x", sent=Sent.NO)
    state.repository_is_renamed(owner="acme", name="store")
    state.control_plane_dies(database_lost=True, fuse=None, passing=0.0)
    state.push(change=other)


def test_database_lost_while_two_revisions_use_a_service(with_services: WithServices) -> None:
    """The old revision ran on beside the new one: the front leads to a service that both use."""
    with_services.launch(name="red")
    with_services.faults_stop()
    with_services.engine_is_slow(call="answers", seconds=5.0)
    with_services.launch(name="red")
    with_services.time_passes(7.0)
    with_services.control_plane_dies(database_lost=True, fuse=None, passing=3.0)


def test_database_lost_before_the_main_container_is_created(with_services: WithServices) -> None:
    """The labels of the other services tell what was launched, so it is launched after all. The machine
    expected nothing."""
    with_services.engine_is_slow(call="answers", seconds=5.0)
    with_services.launch(name="red")
    with_services.time_passes(0.5)
    assert {instance.service for instance in with_services.engine.there()} == {"db", "admin"}
    with_services.control_plane_dies(database_lost=True, fuse=None, passing=3.0)
    assert with_services.expected.versions("red") == {"1"}


def test_killed_and_launched_although_a_rule_forbids_it() -> None:
    """A manual launch overrides the rules for the commit. It did so only for what the rules had suspended: if
    it was killed then, the next event stopped it again."""
    state = Installation()
    state.begin(terms=Terms(rules=Rules(without_labels=("wip",))))
    state.open(ref="red", labels=("wip",))
    state.time_passes(5.0)
    state.kill(name="red")
    state.launch(name="red")
    launched = state._of_change(1)
    assert launched is not None
    assert launched.approved_sha == launched.desired.revision.sha
    state.teardown()
