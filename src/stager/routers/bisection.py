"""Finds the parts of a configuration that a proxy rejects."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def rejected(names: Sequence[str], test: Callable[[Sequence[str]], str]) -> dict[str, str]:
    """Return the names that are rejected, with the errors.

    Args:
        names: the names to test.
        test: tests several names at once; returns an error, or an empty string if all are accepted.
    """
    error = test(names) if names else ""
    if not error:
        return {}
    if len(names) == 1:
        return {names[0]: error}
    half = len(names) // 2
    return rejected(names[:half], test) | rejected(names[half:], test)
