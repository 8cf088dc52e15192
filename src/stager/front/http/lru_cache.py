"""Remembering the answers of pure functions that are asked the same thing with every request."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

V = TypeVar("V")


class LruCache(dict[bytes, V]):
    """`memo[key]` is `function(key)`, computed once. What the function raises is raised, and not remembered.

    Strangers choose the keys, so neither their number nor their length may fill the memory: long ones are
    never kept, and when there are too many all are forgotten.

    Args:
        function: computes what isn't known.
        most: how many are kept.
        longest: the bytes of a key that is kept.
    """

    __slots__ = ("_function", "_longest", "_most")

    def __init__(self, function: Callable[[bytes], V], most: int = 2048, longest: int = 128) -> None:
        super().__init__()
        self._function = function
        self._most = most
        self._longest = longest

    def __missing__(self, key: bytes) -> V:
        value = self._function(key)
        if len(key) <= self._longest:
            if len(self) >= self._most:
                self.clear()
            self[key] = value
        return value
