"""Histories that the machines found, each of which once ended badly; as short as they could make them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.machine.test_fakes import Installation, OutOfTouch


@pytest.fixture
def state() -> Iterator[Installation]:
    machine = Installation()
    machine.begin(tick=1.0, fuse=None)
    yield machine
    machine.teardown()


@pytest.fixture
def out_of_touch() -> Iterator[OutOfTouch]:
    machine = OutOfTouch()
    machine.begin(tick=1.0, fuse=None)
    yield machine
    machine.teardown()


def test_database_and_container_lost_together(state: Installation) -> None:
    """There was a second comment: the first one bore the id of an environment that nobody knew any more."""
    state.open(forked=False, ref="red", told=True)
    state.faults_stop()
    state.engine.leave()
    state.control_plane_dies(database_lost=True, fuse=None, passing=0.5)
    state.container_removed(which=0)
    state.engine_comes_back()


def test_container_removed_while_it_is_asked_whether_it_serves(state: Installation) -> None:
    """It was waited for until its time was up, and the deployment given up with it."""
    state.engine_is_slow(call="answers", seconds=5.0)
    state.open(forked=False, ref="red", told=True)
    state.time_passes(0.5)
    state.container_removed(which=0)
    state.time_passes(400.0)


def test_database_lost_during_a_refresh(state: Installation) -> None:
    """The next deployment got the generation of the one that was coming up, whose container was then taken
    for it and published."""
    pull = state.open(forked=False, ref="red", told=True)
    state.faults_stop()
    state.engine_is_slow(call="start", seconds=5.0)
    state.launch(name="red")
    state.time_passes(0.5)
    state.push(change=pull, told=False)
    state.control_plane_dies(database_lost=True, fuse=None, passing=0.0)


def test_head_repository_gone_from_an_open_pull_request(state: Installation) -> None:
    """What ran went on, because its commit was the same."""
    pull = state.open(forked=False, ref="red", told=True)
    state.time_passes(45.0)
    state.close(change=pull, merged=False, head_goes=True, told=False)
    state.reopen(change=pull, told=False)


def test_died_between_forgetting_what_serves_and_showing_the_page(out_of_touch: OutOfTouch) -> None:
    """The host led to a container that wasn't there any more, for ever."""
    pull = out_of_touch.open(forked=False, ref="red", told=True)
    out_of_touch.faults_stop()
    out_of_touch.container_removed(which=0)
    out_of_touch.kill(name="red")
    closed = out_of_touch.close(change=pull, merged=False, head_goes=False, told=False)
    out_of_touch.deliver(message=closed, afresh=False)
