"""A bounded map whose entries expire."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T", float, datetime)


class ExpiringMap(Generic[K, V, T]):
    """A map in memory; each entry has a time at which it expires.

    Args:
        now: the clock, which the times of entries are compared with.
        limit: the maximum number of entries; beyond it, the entries that were put first are removed.
    """

    def __init__(self, now: Callable[[], T], limit: int) -> None:
        self._now: Callable[[], T] = now
        self._limit = limit
        self._entries: OrderedDict[K, tuple[V, T]] = OrderedDict()

    def put(self, key: K, value: V, until: T) -> None:
        """Insert or replace an entry, which expires at `until`."""
        self._entries[key] = (value, until)
        self._entries.move_to_end(key)
        while len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def get(self, key: K) -> V | None:
        """The value; None when there is none, or it has expired."""
        entry = self._entries.get(key)
        return entry[0] if entry is not None and self._now() < entry[1] else None

    def pop(self, key: K) -> V | None:
        """Remove an entry. Returns what `get` would."""
        value = self.get(key)
        self._entries.pop(key, None)
        return value

    def items(self) -> list[tuple[K, V]]:
        """The entries that haven't expired, the oldest first; removes the others."""
        now = self._now()
        for key in [key for key, (_, until) in self._entries.items() if now >= until]:
            del self._entries[key]
        return [(key, value) for key, (value, _) in self._entries.items()]
