"""Arithmetic on raw figures, and their formats."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def median(values: Sequence[float]) -> float:
    """The middle value; the mean of the two middle ones if their number is even."""
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values don't exceed (nearest rank)."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def rounded(values: Sequence[float], digits: int) -> list[float]:
    """The figures with as many digits as the clock's resolution allows."""
    return [round(value, digits) for value in values]


def seconds(value: float) -> str:
    """Format a duration, given in seconds, in a suitable unit."""
    if value < 1e-3:
        return f"{value * 1e6:.0f} µs"
    return f"{value * 1e3:.{1 if value < 0.01 else 0}f} ms" if value < 1 else f"{value:.2f} s"


def times(ratio: float) -> str:
    """Format a ratio."""
    return f"{ratio:.2f}x"
