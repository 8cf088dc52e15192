"""A cache for the results of pure functions that are called with the same arguments on each request."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

V = TypeVar("V")


class LruCache(dict[bytes, V]):
    """`cache[key]` is `function(key)`, computed once. Exceptions of the function aren't cached.

    Clients choose the keys, so number and length of the entries are limited: long keys aren't cached, and a
    full cache is cleared.

    Args:
        function: computes the value of a key.
        max_entries: the maximum number of entries.
        max_key_bytes: the maximum length of a cached key.
    """

    __slots__ = ("_function", "_max_entries", "_max_key_bytes")

    def __init__(
        self, function: Callable[[bytes], V], max_entries: int = 2048, max_key_bytes: int = 128
    ) -> None:
        super().__init__()
        self._function = function
        self._max_entries = max_entries
        self._max_key_bytes = max_key_bytes

    def __missing__(self, key: bytes) -> V:
        value = self._function(key)
        if len(key) <= self._max_key_bytes:
            if len(self) >= self._max_entries:
                self.clear()
            self[key] = value
        return value
