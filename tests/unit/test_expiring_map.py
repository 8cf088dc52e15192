"""The map whose entries expire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from stager.expiring_map import ExpiringMap

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds


def test_an_entry_is_there_until_its_time() -> None:
    clock = Clock()
    entries: ExpiringMap[str, int, float] = ExpiringMap(clock.now, 9)
    entries.put("a", 1, 10.0)
    assert entries.get("a") == 1
    assert entries.get("b") is None
    clock.seconds = 9.9
    assert (entries.get("a"), entries.items()) == (1, [("a", 1)])
    clock.seconds = 10.0
    assert (entries.get("a"), entries.pop("a"), entries.items()) == (None, None, [])


def test_an_entry_is_taken_once() -> None:
    entries: ExpiringMap[str, int, float] = ExpiringMap(Clock().now, 9)
    entries.put("a", 1, 10.0)
    assert [entries.pop("a"), entries.pop("a")] == [1, None]


def test_putting_again_replaces_value_and_time() -> None:
    clock = Clock()
    entries: ExpiringMap[str, int, float] = ExpiringMap(clock.now, 9)
    entries.put("a", 1, 10.0)
    entries.put("a", 2, 20.0)
    clock.seconds = 15.0
    assert entries.get("a") == 2


def test_the_oldest_is_removed_at_the_limit() -> None:
    entries: ExpiringMap[str, int, float] = ExpiringMap(Clock().now, 2)
    for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        entries.put(key, value, 10.0)
        entries.get("b")
    assert entries.items() == [("a", 3), ("c", 4)]


def test_expired_entries_leave_no_memory_behind() -> None:
    clock = Clock()
    entries: ExpiringMap[str, int, float] = ExpiringMap(clock.now, 9)
    entries.put("a", 1, 10.0)
    clock.seconds = 10.0
    assert entries.items() == []
    clock.seconds = 0.0
    assert entries.get("a") is None


def test_times_may_be_datetimes() -> None:
    entries: ExpiringMap[str, int, datetime] = ExpiringMap(lambda: NOON, 9)
    entries.put("a", 1, NOON)
    entries.put("b", 2, NOON + timedelta(seconds=1))
    assert entries.items() == [("b", 2)]
