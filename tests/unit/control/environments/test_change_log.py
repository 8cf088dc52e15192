"""The log of changes: positions, and what a reader finds after one."""

from __future__ import annotations

import pytest

from stager.control.environments.change_log import ChangeLog


def changed(log: ChangeLog, position: str) -> list[str] | None:
    found = log.since(position)
    return None if found is None else [change.environment for change in found]


def test_has_each_environment_once_by_its_latest_change() -> None:
    log = ChangeLog("run")
    start = log.position
    for environment in "abab":
        log.record(environment)
    middle = log.position
    log.record("c")

    assert changed(log, start) == ["a", "b", "c"]
    assert changed(log, middle) == ["c"]
    assert changed(log, log.position) == []


def test_positions_of_changes_can_be_resumed_from() -> None:
    log = ChangeLog("run")
    start = log.position
    for environment in "abc":
        log.record(environment)
    first, *others = log.since(start) or []

    assert log.since(first.position) == others


def test_forgets_the_oldest_changes_and_says_so() -> None:
    log = ChangeLog("run", capacity=2)
    start = log.position
    for environment in "abc":
        log.record(environment)

    assert changed(log, start) is None
    assert changed(log, "run-1") == ["b", "c"]


@pytest.mark.parametrize(
    "position", ["", "other-0", "run-4", "run--1", "run-x", "run-²", "run", "run-" + "9" * 30]
)
def test_knows_only_its_own_positions(position: str) -> None:
    assert ChangeLog("run").since(position) is None


async def test_waits_for_a_change_but_not_for_one_that_was() -> None:
    log = ChangeLog("run")
    start = log.position

    assert not await log.wait(start, 5)
    log.record("a")
    assert await log.wait(start, 5)


async def test_ends_the_waits_when_it_is_closed() -> None:
    log = ChangeLog("run")
    log.close()

    assert not await log.wait(log.position, 5)
